"""What the build stage writes beside the machine's file: checks, figures of every layer, the summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import sha256_file
from implantflow.build import verdicts
from implantflow.build.checks import Findings
from implantflow.build.cli_writer import HATCH_ID, INNER_ID, NET_ID, SUPPORT_ID, THIN_ID
from implantflow.build.crumbs import Crumbs
from implantflow.build.obf_reader import ObfFindings
from implantflow.build.part import Part
from implantflow.build.plan import FIGURES, Plan
from implantflow.build.themes import Effort
from implantflow.config.build import Machine, Revision
from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Sliced:
    """A written build file: the part's plan, the figures of each layer and what was left out.

    ``first_layer`` is the file's lowest layer, counted from the plate: that of the part, or of its supports.
    ``support_mm`` (layers,) is the length of support lines, ``box_mm`` (2, 3) the box of part and coupon.
    """

    plan: Plan
    figures: FloatArray
    crumbs: Crumbs
    first_layer: int
    support_mm: FloatArray
    box_mm: FloatArray

    @property
    def layers(self) -> int:
        """Number of layers in the file."""
        return len(self.figures)

    def column(self, name: str) -> FloatArray:
        """(layers,) one figure of every layer."""
        return self.figures[:, FIGURES.index(name)]


def checks_json(checks: list[verdicts.Check], found: Findings, sliced: Sliced) -> dict[str, Any]:
    """Content of checks.json."""
    layer_mm = sliced.plan.layer_mm
    return {
        "passed": all(c.passed or c.warning for c in checks),
        "layers": len(found.z_mm),
        "layer_mm": layer_mm,
        "open_loops": found.open_loops,
        "winding_errors": found.winding_errors,
        "solid_volume_mm3": float(found.volume_per_layer.sum()) * layer_mm,
        "contour_m": sum(found.contour_mm) / 1000.0,
        "hatch_m": float(found.lengths(HATCH_ID).sum() + found.lengths(NET_ID).sum()) / 1000.0,
        "unsupported_islands": len(found.islands),
        "checks": [c.as_json() for c in checks],
        "warnings": [c.name for c in checks if c.warning and not c.passed],
        "islands": [i.as_json(layer_mm, found.z_mm[i.layer]) for i in found.islands],
    }


def write_layers(path: Path, sliced: Sliced, times: Effort, found: Findings, obf: ObfFindings) -> None:
    """One row per layer; the same bytes for the same numbers. Jumps and bare metal are those of the files as read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plan = sliced.plan
    number = np.arange(sliced.layers)
    columns: dict[str, NDArray[Any]] = {
        "layer": number.astype(np.int32),
        "z_mm": np.round((sliced.first_layer + number + 1) * plan.layer_mm, 6),
    }
    for name in FIGURES:
        whole = name in ("loops", "points", "hatches")
        values = sliced.column(name)
        columns[name] = values.astype(np.int32) if whole else np.round(values, 6)
    columns["support_mm"] = np.round(sliced.support_mm, 6)
    for name in ("preheat_s", "melt_s", "rake_s", "preheat_j", "melt_j"):
        columns[name] = np.round(getattr(times, name), 6)

    columns["bare_mm2"] = np.round(np.asarray(found.bare_mm2 or [np.nan] * sliced.layers), 6)
    for name in ("jump_mm", "longest_mm", "cli_jump_mm", "cli_longest_mm"):
        columns[
            "jump_longest_mm" if name == "longest_mm" else name.replace("cli_longest", "cli_jump_longest")
        ] = np.round(np.asarray(getattr(obf, f"layer_{name}")), 6)

    def column(values: NDArray[Any]) -> Any:
        # Not pa.array(): it imports pandas, which takes longer than all the layers' figures.
        buffer = pa.py_buffer(np.ascontiguousarray(values))
        return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])

    table = pa.table({name: column(values) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def build_json(
    revision: Revision,
    sliced: Sliced,
    found: Findings,
    checks: list[verdicts.Check],
    times: Effort,
    machine: Machine,
    part: Part,
    cli: Path,
) -> dict[str, Any]:
    """Content of build.json, but for what scale, orientation and the open build file add."""
    figures = {c.name: c for c in checks}
    return {
        "id": revision.id,
        "parent": revision.parent,
        "machine": machine.name,
        "machine_verified": machine.verified,
        "layers": sliced.layers,
        "layer_mm": sliced.plan.layer_mm,
        "open_loops": found.open_loops,
        "winding_errors": found.winding_errors,
        "unsupported_islands": len(found.islands),
        "contour_m": sum(found.contour_mm) / 1000.0,
        "hatch_m": float(found.lengths(HATCH_ID).sum() + found.lengths(NET_ID).sum()) / 1000.0,
        "hatch_dense_m": float(found.lengths(HATCH_ID).sum()) / 1000.0,
        "hatch_lattice_m": float(found.lengths(NET_ID).sum()) / 1000.0,
        "hatch_thin_m": float(found.lengths(THIN_ID).sum()) / 1000.0,
        "contour_melted_m": float(sliced.column("melted_contour_mm").sum()) / 1000.0,
        "contour_inner_m": float(found.lengths(INNER_ID).sum()) / 1000.0,
        "bare_metal_mm3": float(sum(found.bare_mm2)) * sliced.plan.layer_mm if found.bare_mm2 else None,
        "bare_metal_worst_mm2": max(found.bare_mm2, default=None),
        "support_m": float(found.lengths(SUPPORT_ID).sum()) / 1000.0,
        "solid_volume_mm3": float(found.volume_per_layer.sum()) * sliced.plan.layer_mm,
        "volume_error_pct": figures["volume_error_pct"].figure,
        "crumbs_left_out": sliced.crumbs.count,
        "crumbs_left_out_mm3": sliced.crumbs.volume_mm3,
        "time_h": float(times.time_s.sum()) / 3600.0,
        "preheat_h": float(times.preheat_s.sum()) / 3600.0,
        "melt_h": float(times.melt_s.sum()) / 3600.0,
        "energy_kwh": float(times.energy_j.sum()) / 3.6e6,
        "preheat_kwh": float(times.preheat_j.sum()) / 3.6e6,
        "melt_kwh": float(times.melt_j.sum()) / 3.6e6,
        "within_envelope": figures["envelope"].passed,
        "box_mm": part.box_mm,
        "loops": found.loops,
        "warnings": [c.name for c in checks if c.warning and not c.passed],
        "cli_sha256": sha256_file(cli),
        "vendor_format": "the machine's own ABF format is closed: its build software makes it from this CLI file",
    }
