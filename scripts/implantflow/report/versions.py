"""Which versions each stage ran with, from the records of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from implantflow.audit import ledger
from implantflow.errors import ProvenanceError
from implantflow.report.stages import STAGE_OF_RULE

#: Libraries that a stage's figures rest on, beside numpy and scipy; the ledger has all.
_LIBRARIES: dict[str, tuple[str, ...]] = {
    "ingest": ("pydicom", "SimpleITK"),
    "segment": ("PyMaxflow", "numba", "vtk", "pymeshlab"),
    "tumour": ("SimpleITK", "vtk"),
    "plan": ("manifold3d", "numba", "trimesh"),
    "prototype": ("manifold3d", "vtk", "pymeshlab", "lib3mf"),
    "implant": ("manifold3d", "trimesh", "vtk"),
    "lattice": ("numba", "vtk", "lib3mf"),
    "strength": ("numba",),
    "build": ("numba", "pyclipr"),
    "inspect": ("numba", "trimesh"),
    "release": ("pydicom", "securesystemslib"),
    "followup": ("SimpleITK", "numba"),
    "audit": ("securesystemslib", "snakemake"),
}


def stage_versions(case_dir: Path) -> dict[str, str]:
    """Stage -> "implantflow 0.1.0, numpy 2.4.6, ..." of the last job that ran for it; the ledger may be missing."""
    try:
        records = ledger.read(case_dir)
    except ProvenanceError:  # the section on records tells
        return {}
    found: dict[str, str] = {}
    for record in records:
        entry, versions = record.get("entry"), record.get("versions")
        if not isinstance(entry, Mapping) or not isinstance(versions, Mapping):
            continue
        stage = STAGE_OF_RULE.get(str(entry.get("rule")))
        if stage is not None:
            names = ("implantflow", "python", "numpy", "scipy", *_LIBRARIES[stage])
            found[stage] = ", ".join(f"{name} {versions[name]}" for name in names if versions.get(name))
    return found
