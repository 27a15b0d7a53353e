"""The release folder: which output has which name in it, and what is copied as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from implantflow.jobs import Job
from implantflow.release.sources import Sources

#: Output of the job -> name within ``release/``.
NAMES: Mapping[str, str] = {
    "implant": "implant.stl",
    "dicom": "implant.dcm",
    "objects": "dicom",
    "cli": "build/build.cli",
    "themes": "build/themes.json",
    "checks": "build/checks.json",
    "build": "build/build.json",
    "inspection": "inspection",
    "strength": "strength.json",
    "lattice": "lattice.json",
    "traveller": "traveller.json",
    "label": "label.html",
    "label_svg": "label.svg",
    "history": "device_history.json",
    "history_page": "device_history.html",
    "signatures": "signatures",
    "release": "release.json",
    "manifest": "manifest.json",
    "checksums": "SHA256SUMS",
}

#: The form, made by a job of its own: it goes with the part, long before the release.
FORM_NAME = "traveller.html"

#: Outputs that are copies, to the byte, of the input of the same name.
_COPIES = ("implant", "cli", "themes", "checks")

_STRENGTH_KEYS = (
    "stage",
    "safe",
    "safety_factor",
    "safety_factor_min",
    "safety_factor_with_error_bar",
    "grid_sensitivity",
    "max_von_mises_mpa",
    "governing_load_case",
    "stiffness_n_per_mm",
    "effective_modulus_gpa",
    "load_cases",
    "metal",
    "fatigue_dense",
    "fatigue_strut",
    "supports",
    "limitations",
    "solver_agreement_pct",
    "implant_stl_sha256",
)

_LATTICE_KEYS = (
    "cell",
    "cell_mm",
    "strut_mm",
    "strut_range_mm",
    "relative_density",
    "porosity",
    "pore_um",
    "throat_um",
    "by_strut",
    "dense_fraction",
    "closed_pores",
    "loose_islands",
    "modulus_gpa",
    "modulus_source",
    "solid_volume_mm3",
    "material_volume_mm3",
)


def copy_files(job: Job, revision: str) -> None:
    """Copy implant, build and inspection of the released revision as they are."""
    for name in _COPIES:
        shutil.copyfile(job.input(name), job.outputs[name])
    shutil.copyfile(of_revision(job.input_list("builds"), revision), job.outputs["build"])
    inspection = job.outputs["inspection"]
    inspection.mkdir()
    for name in ("deviations", "pictures", "machined", "machined_pictures"):
        for path in job.input_list(name):
            if path.parent.name == revision:
                shutil.copyfile(path, inspection / path.name)


def of_revision(paths: list[Path], revision: str) -> Path:
    """The path whose folder is named after the revision (``inspect/r2/deviation.png``)."""
    return next(path for path in paths if path.parent.name == revision)


def strength_summary(s: Sources) -> dict[str, Any]:
    """What of the strength check a reader of the package needs."""
    return _extract(s, "strength", _STRENGTH_KEYS)


def lattice_summary(s: Sources) -> dict[str, Any]:
    """What of the lattice a reader of the package needs; ``pore_um`` and ``throat_um`` are the nominal strut's."""
    return {**_extract(s, "lattice", _LATTICE_KEYS), "worst_strut": worst_strut(s.records["lattice"])}


def _extract(s: Sources, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """Some keys of a record, with its path in the case folder and its digest: the extract's own is another."""
    kept = {key: s.records[name][key] for key in keys}
    return {"source": s.name(name), "source_sha256": s.sha256(name), **kept}


def worst_strut(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of the struts that a lattice has, the one with the narrowest throat, and its cell's figures.

    Parameters
    ----------
    record : ``lattice.json``; its ``by_strut`` also lists the nominal strut, which a graded lattice may not have.
    """
    low, high = record["strut_range_mm"]
    cells = [{"strut_mm": float(strut), **cell} for strut, cell in record["by_strut"].items()]
    # Names of by_strut are rounded to 0.001 mm.
    present = [cell for cell in cells if low - 0.001 < cell["strut_mm"] < high + 0.001]
    return min(present, key=lambda cell: float(cell["throat_um"]))
