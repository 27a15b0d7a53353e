"""What lattice.json says of the measured field, and the case's limits that it must keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implantflow.config.build import BuildSettings
from implantflow.config.lattice import LatticeConfig
from implantflow.errors import QualityGateError
from implantflow.field.field import Field
from implantflow.lattice.cell_measures import CellFigures, tradeoff
from implantflow.lattice.fill import Filled
from implantflow.lattice.part_measures import PartFigures, measure_window, porous_windows
from implantflow.lattice.stress_grade import porous_shares, steps_of

#: Struts of the trade-off table, as multiples of the case's.
TRADEOFF_STRUTS = (0.6, 0.8, 1.0, 1.2, 1.4)


def struts_of(field: Field) -> list[float]:
    """The nominal strut, and some from the thinnest to the thickest of a graded lattice: cells that are measured."""
    low, high = field.lattice.strut_range_mm
    return list(dict.fromkeys([field.strut_mm, *(steps_of(low, high) if high > low else [low])]))


def summary(
    homogenised: Mapping[str, Any],
    config: LatticeConfig,
    build: BuildSettings,
    field: Field,
    cells: dict[float, CellFigures],
    part: PartFigures,
    filled: list[Filled],
) -> dict[str, Any]:
    """Content of ``lattice.json``; figures of the nominal strut first, those of every strut under ``by_strut``."""
    cell = cells[field.strut_mm]
    volumes = part.volumes
    crumbs, loose = split_loose(part, build.limits.crumb_max_mm3)
    density = volumes.relative_density if volumes.porous_mm3 > 0 else cell.relative_density
    return {
        "cell": config.cell,
        "cell_mm": config.cell_mm,
        "strut_mm": config.strut_mm,
        "strut_range_mm": list(field.lattice.strut_range_mm),
        "porosity_asked": config.porosity,
        "relative_density": density,
        "porosity": 1.0 - density,
        "pore_um": 1000.0 * cell.pore_mm,
        "throat_um": 1000.0 * cell.throat_mm,
        "dense_fraction": volumes.dense_mm3 / volumes.solid_mm3,
        "closed_pores": len(part.closed_pores),
        "closed_pores_filled": len(filled),
        "filled_pores": [f.as_json(field) for f in filled],
        "closed_notches": len(part.closed_notches),
        "closed_notches_mm3": sum(s.volume_mm3 for s in part.closed_notches),
        "modulus_gpa": homogenised["effective_modulus_gpa"],
        "modulus_source": "strength/cell: homogenised cell, effective_modulus_gpa",
        "loose_islands": len(loose),
        "crumbs": len(crumbs),
        "crumbs_mm3": sum(s.volume_mm3 for s in crumbs),
        "powder_pockets": len(part.pockets),
        "powder_pockets_mm3": sum(s.volume_mm3 for s in part.pockets),
        "pore_size_um": {
            name: 1000.0 * mm for name, mm in zip(("p5", "p50", "p95"), cell.pores_mm, strict=True)
        },
        "by_strut": {
            f"{strut:.3f}": {
                "porosity": 1.0 - c.relative_density,
                "pore_um": 1000.0 * c.pore_mm,
                "throat_um": 1000.0 * c.throat_mm,
            }
            for strut, c in cells.items()
        },
        "strut_thickness_mm": dict(zip(("p5", "p50", "p95"), cell.strut_mm, strict=True)),
        "specific_surface_per_mm": cell.surface_per_mm,
        "cell_relative_density": cell.relative_density,
        "cell_resolution_mm": cell.resolution_mm,
        "implant_resolution_mm": part.step_mm,
        "solid_volume_mm3": volumes.solid_mm3,
        "dense_volume_mm3": volumes.dense_mm3,
        "porous_volume_mm3": volumes.porous_mm3,
        "lattice_metal_mm3": volumes.lattice_mm3,
        "material_volume_mm3": volumes.material_mm3,
        "closed_pore_list": [s.as_json(field) for s in part.closed_pores[:50]],
        "powder_pocket_list": [s.as_json(field) for s in part.pockets[:50]],
        "loose_island_list": [s.as_json(field) for s in loose[:50]],
        "windows": [measure_window(field, corner) for corner in porous_windows(field)],
        "grading": _grading(config, field),
        "tradeoff": tradeoff(
            field.cell, field.cell_mm, tuple(round(k * field.strut_mm, 3) for k in TRADEOFF_STRUTS)
        ),
        "method": {
            "relative_density": "metal share of the porous region, sampled on the field inside the exact solid",
            "pore_um": "largest sphere in the void of the periodic cell",
            "throat_um": "largest sphere that passes through the periodic cell without end",
            "pore_size_um": "largest sphere in the void that covers a place, 5th, 50th, 95th percentile of places",
            "powder_pockets": "places that hold a sphere of limits.throat_min_um which cannot leave the part, on the "
            "voxels of implant_resolution_mm; listed, judged where limits.powder_pockets_max is given",
            "closed_pores": "flood fill from outside over the implant, suspects looked at again at 0.06 mm; "
            f"those that hold no sphere of {config.limits.closed_notch_mm:g} mm are notches",
        },
    }


def _grading(config: LatticeConfig, field: Field) -> dict[str, Any] | None:
    """What the strut is graded by and how much of the porous region has which; the cells are in ``by_strut``."""
    by = config.stress_grading or config.grading
    if by is None:
        return None
    source = "greatest strut stress of all load cases in strength/solid" if config.stress_grading else "depth"
    return {"by": source, **by.model_dump(mode="json"), **porous_shares(field)}


def split_loose(part: PartFigures, crumb_max_mm3: float) -> tuple[list[Any], list[Any]]:
    """Unconnected metal: crumbs that the build leaves out, and pieces too large for that."""
    crumbs = [s for s in part.loose if s.volume_mm3 <= crumb_max_mm3]
    return crumbs, [s for s in part.loose if s.volume_mm3 > crumb_max_mm3]


def check_limits(
    config: LatticeConfig, build: BuildSettings, field: Field, cells: list[CellFigures], part: PartFigures
) -> None:
    """Raise QualityGateError with everything that lies outside the case's limits, and where."""
    limits = config.limits
    _, loose = split_loose(part, build.limits.crumb_max_mm3)
    wrong: list[str] = []
    places: list[str] = []
    for porosity in (1.0 - c.relative_density for c in cells):
        if not limits.porosity_min <= porosity <= limits.porosity_max:
            wrong.append(f"porosity {porosity:.3f} outside {limits.porosity_min} to {limits.porosity_max}")
    cell = min(cells, key=lambda c: c.pore_mm)
    if 1000.0 * cell.pore_mm < limits.pore_min_um:
        wrong.append(
            f"pores of {1000 * cell.pore_mm:.0f} um, at least {limits.pore_min_um:.0f} are asked for"
        )
    if 1000.0 * cell.throat_mm < limits.throat_min_um:
        wrong.append(
            f"throats of {1000 * cell.throat_mm:.0f} um, at least {limits.throat_min_um:.0f} are asked for"
        )
    thinnest = min(struts_of(field))
    if thinnest < limits.strut_min_mm:
        wrong.append(f"struts of {thinnest:g} mm, at least {limits.strut_min_mm} are asked for")
    for name, spots, most in (
        ("closed pores", part.closed_pores, limits.closed_pores_max),
        ("loose islands", loose, limits.loose_islands_max),
        ("powder pockets", part.pockets, limits.powder_pockets_max),
    ):
        if most is not None and len(spots) > most:
            wrong.append(f"{len(spots)} {name}, at most {most}")
            for spot in spots[:3]:
                x, y, z = spot.as_json(field)["patient_lps_mm"]
                places.append(f"{spot.volume_mm3:.2f} mm3 at patient LPS {x:.1f}, {y:.1f}, {z:.1f} mm")
    pores = len(part.closed_pores) > limits.closed_pores_max
    if wrong:
        raise QualityGateError(
            "the lattice is outside the case's limits: " + "; ".join(wrong),
            where="; ".join(places) or f"every {config.cell} cell",
            fix="change lattice.strut_mm, lattice.cell_mm or the design there"
            + (
                ", or let small closed pores be melted shut (lattice.limits.closed_pore_fill_max_mm3)"
                if pores
                else ""
            ),
        )
