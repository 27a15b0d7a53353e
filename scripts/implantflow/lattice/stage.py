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
from implantflow.errors import GeometryError, ProvenanceError
from implantflow.field.cells import with_strut
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.field.material import Texture
from implantflow.field.placement import place_on_plate
from implantflow.field.shaping import Filling, Grading
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress
from implantflow.lattice.cell_measures import measure_cell
from implantflow.lattice.export import write_beams, write_coupon, write_preview
from implantflow.lattice.fill import Filled, fill_pores
from implantflow.lattice.part_measures import PartFigures, measure_part
from implantflow.lattice.record import check_limits, struts_of, summary
from implantflow.lattice.stress_grade import stress_grading
from implantflow.solids.mesh import Solid
from implantflow.solids.stock import with_stock

#: A ball may close a throat beside it: filled again, but not for ever. More pores than this are the design's fault.
_FILL_ROUNDS, _MOST_FILLED = 4, 20


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
    progress("measuring and exporting", done=0.3)
    # The implant's figures take as long as all the rest, so the rest shares the time with them.
    with ThreadPoolExecutor(job.threads) as pool:
        filling = pool.submit(_measured, field, config, job.threads)
        cells = {s: measure_cell(field.cell, field.cell_mm, s) for s in struts_of(field)}
        coupon = write_coupon(
            job.outputs["coupon"],
            field.cell,
            field.cell_mm,
            field.strut_mm,
            config.coupon_cells,
            cells[field.strut_mm].pore_mm,
        )
        field, part, filled = filling.result()
    check_limits(config, build, field, list(cells.values()), part)
    field.save(job.outputs["field"], job.outputs["field_data"], {**facts, "purpose": purpose})
    exported = {
        "coupon": coupon,
        "preview": write_preview(job.outputs["preview"], field, config.preview_mm, config.preview_slab_mm),
        "beams": write_beams(job.outputs["beams"], field, purpose),
    }
    write_json(
        job.outputs["lattice"],
        summary(_homogenised(job, config), config, build, field, cells, part, filled) | exported,
    )


def _measured(field: Field, config: LatticeConfig, threads: int) -> tuple[Field, PartFigures, list[Filled]]:
    """The part's figures; where the case lets closed pores be filled, of the field with them filled."""
    limits, filled = config.limits, list[Filled]()
    for left in reversed(range(_FILL_ROUNDS)):
        throat_mm = limits.throat_min_um / 1000.0
        part = measure_part(field, config.measure_grid_mm, limits.closed_notch_mm, throat_mm, threads)
        pores = [p for p in part.closed_pores if p.volume_mm3 <= limits.closed_pore_fill_max_mm3]
        # What is returned was measured on the field that is: the last round fills nothing.
        if not left or not pores or len(filled) + len(pores) > _MOST_FILLED:
            break
        progress(f"melting {len(pores)} closed pores shut", done=0.5)
        field, more = fill_pores(field, pores)
        filled += more
    return field, part, filled


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
