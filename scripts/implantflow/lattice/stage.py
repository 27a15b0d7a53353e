"""The lattice stage: one field for every later stage, measured, against the case's limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_json, read_stl, sha256_file, write_json
from implantflow.config.build import BuildSettings
from implantflow.config.lattice import LatticeConfig
from implantflow.errors import GeometryError, ProvenanceError, QualityGateError
from implantflow.field.cells import with_strut
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.field.material import Texture
from implantflow.field.placement import place_on_plate
from implantflow.field.shaping import Filling, Grading
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress
from implantflow.lattice.cell_measures import CellFigures, measure_cell, tradeoff
from implantflow.lattice.export import write_beams, write_coupon, write_preview
from implantflow.lattice.part_measures import PartFigures, measure_part, measure_window, porous_windows
from implantflow.lattice.stress_grade import porous_shares, steps_of, stress_grading
from implantflow.solids.mesh import Solid
from implantflow.solids.stock import with_stock

#: Struts of the trade-off table, as multiples of the case's.
TRADEOFF_STRUTS = (0.6, 0.8, 1.0, 1.2, 1.4)


def make_lattice(job: Job) -> None:
    """Make the field of the implant, measure it and export views of it.

    Inputs: ``implant``, ``regions``, ``cell`` (homogenised) and, where stress grades the lattice, ``strength_solid``
    and ``strength_view``. Outputs: ``field``, ``field_data``, ``lattice``, ``coupon``, ``preview``, ``beams``.
    Settings: ``lattice``, ``build`` without its revisions, ``purpose``.

    Raises
    ------
    ProvenanceError
        The regions were made for another implant.
    GeometryError
        The implant is not closed, does not fit the machine, or the cell does not fit the layers.
    QualityGateError
        A measured figure lies outside the case's limits; the place is named.
    """
    config = LatticeConfig.model_validate(job.settings["lattice"])
    build = BuildSettings.model_validate(job.settings["build"])
    purpose = str(job.settings["purpose"])
    # A porosity asks for a strut, which from here on is the one of the config.
    config = config.model_copy(update={"strut_mm": with_strut(config.model_dump())["strut_mm"]})
    field, facts = _field(job, config, build)
    field.save(job.outputs["field"], job.outputs["field_data"], {**facts, "purpose": purpose})
    progress("measuring and exporting", done=0.3)
    # The implant's figures take as long as all the rest, so the rest shares the time with them.
    with ThreadPoolExecutor(job.threads) as pool:
        measured = pool.submit(
            measure_part,
            field,
            config.measure_grid_mm,
            config.limits.closed_notch_mm,
            config.limits.throat_min_um / 1000.0,
            job.threads,
        )
        cells = {s: measure_cell(field.cell, field.cell_mm, s) for s in struts_of(field)}
        cell = cells[field.strut_mm]
        exported = _export(job, config, field, purpose, cell.pore_mm)
        part = measured.result()
    check_limits(config, build, field, list(cells.values()), part)
    write_json(job.outputs["lattice"], _summary(job, config, build, field, cells, part) | exported)


def struts_of(field: Field) -> list[float]:
    """The nominal strut, and some from the thinnest to the thickest of a graded lattice: cells that are measured."""
    low, high = field.lattice.strut_range_mm
    return list(dict.fromkeys([field.strut_mm, *(steps_of(low, high) if high > low else [low])]))


def _export(job: Job, config: LatticeConfig, field: Field, purpose: str, pore_mm: float) -> dict[str, Any]:
    cell = field.cell, field.cell_mm, field.strut_mm
    return {
        "coupon": write_coupon(job.outputs["coupon"], *cell, config.coupon_cells, pore_mm),
        "preview": write_preview(job.outputs["preview"], field, config.preview_mm, config.preview_slab_mm),
        "beams": write_beams(job.outputs["beams"], field, purpose),
    }


def _field(job: Job, config: LatticeConfig, build: BuildSettings) -> tuple[Field, dict[str, Any]]:
    implant, regions_file = job.input("implant"), job.input("regions")
    regions = read_json(regions_file)
    digest = sha256_file(implant)
    if regions.get("implant_stl_sha256") != digest:
        raise ProvenanceError(
            "regions.json was made for another implant.stl",
            where=str(regions_file),
            fix="run the implant stage again",
        )
    layer_mm = build.machine.layer_mm
    phases = config.cell_mm / layer_mm
    if config.cell != "voronoi" and (abs(phases - round(phases)) > 1e-9 or round(phases) % 2):
        raise GeometryError(
            f"a cell of {config.cell_mm} mm is no even number of layers of {layer_mm} mm",
            where="lattice.cell_mm",
            fix=f"use a multiple of {2 * layer_mm:g} mm",
        )
    vertices, faces = read_stl(implant)
    printed, stock = _printed(vertices.astype(np.float64), faces, regions, config)
    matrix = place_on_plate(
        vertices.astype(np.float64) if printed is None else printed[0],
        build.orientation.up_lps,
        build.orientation.right_lps,
        build.orientation.support_gap_mm,
        build.machine.envelope_mm,
        layer_mm,
    )
    progress("making the field", done=0.05)
    field = make_field(
        vertices,
        faces,
        regions,
        matrix,
        _filling(job, config, digest, matrix),
        config.cell_mm,
        config.strut_mm or 0.0,
        config.grid_mm,
        printed,
    )
    facts = {
        "machining_stock_facts": stock,
        "implant_stl_sha256": digest,
        "regions_sha256": sha256_file(regions_file),
        "machine": build.machine.name,
        "layer_mm": layer_mm,
        "orientation": build.orientation.model_dump(),
    }
    return field, facts


def _printed(
    vertices: FloatArray, faces: NDArray[np.int64], regions: dict[str, Any], config: LatticeConfig
) -> tuple[tuple[FloatArray, NDArray[np.int64]] | None, dict[str, Any] | None]:
    """The surface with machining stock and what of it is stock; None where nothing is machined."""
    if not regions.get("machining"):
        return None, None
    if config.texture is not None:
        raise GeometryError(
            "a texture on the contact faces would be cut off with the machining stock, or cut into it",
            where="lattice.texture, implant.machining",
            fix="leave one of the two out",
        )
    solid, figures = with_stock(Solid.of(vertices, faces), regions)
    return (solid.vertices, solid.faces), figures


def _filling(job: Job, config: LatticeConfig, implant_digest: str, matrix: FloatArray) -> Filling:
    """What fills the part, graded by the stress of strength/solid where the case asks for it."""
    filling = filling_of(config)
    if config.stress_grading is None:
        return filling
    solid = read_json(job.input("strength_solid"))
    if solid["implant_stl_sha256"] != implant_digest:
        raise ProvenanceError(
            "strength/solid was solved for another implant.stl",
            where=str(job.input("strength_solid")),
            fix="run the strength stage again",
        )
    _same_cell(solid["homogenised"], config, str(job.input("strength_solid")))
    with np.load(job.input("strength_view")) as view:
        return replace(filling, grading=stress_grading(config.stress_grading, view, matrix))


def filling_of(config: LatticeConfig) -> Filling:
    """What fills the part, from the settings with a strut."""
    grading, texture, voronoi = config.grading, config.texture, config.voronoi
    return Filling(
        config.cell,
        config.cell_mm,
        config.strut_mm or 0.0,
        seed=voronoi.seed if voronoi else 0,
        irregularity=voronoi.irregularity if voronoi else 0.0,
        grading=Grading(grading.near_mm, grading.far_mm, grading.over_mm, tuple(grading.faces))
        if grading
        else None,
        fillet_mm=config.fillet_mm,
        texture=Texture(texture.amplitude_mm, texture.wavelength_mm, texture.seed) if texture else None,
    )


def _summary(
    job: Job,
    config: LatticeConfig,
    build: BuildSettings,
    field: Field,
    cells: dict[float, CellFigures],
    part: PartFigures,
) -> dict[str, Any]:
    homogenised = _homogenised(job, config)
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


def _homogenised(job: Job, config: LatticeConfig) -> dict[str, Any]:
    """Figures of the homogenised cell, which must be the one of the config."""
    figures: dict[str, Any] = read_json(job.input("cell"))
    _same_cell(figures, config, str(job.input("cell")))
    return figures


def _same_cell(figures: dict[str, Any], config: LatticeConfig, where: str) -> None:
    ours: list[Any] = [config.cell, config.cell_mm, config.strut_mm]
    theirs = [figures["cell"], figures["cell_mm"], figures["strut_mm"]]
    if ours != theirs:
        raise ProvenanceError(
            f"the homogenised cell {theirs} is not the lattice of the config {ours}",
            where=where,
            fix="run the strength stage again",
        )


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
    if wrong:
        raise QualityGateError(
            "the lattice is outside the case's limits: " + "; ".join(wrong),
            where="; ".join(places) or f"every {config.cell} cell",
            fix="change lattice.strut_mm, lattice.cell_mm or the design there; the trade-off is in lattice.json",
        )
