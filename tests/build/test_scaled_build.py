"""A build drawn larger by what the part shrinks: outer solid and dense region grow, the lattice keeps its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest
from build_bench import BUILD, mesh_of, user_data
from pydantic import ValidationError

from implantflow.artifacts import read_json, sha256_file
from implantflow.build.cli_reader import CliFile
from implantflow.build.part import Part
from implantflow.build.scale import Scale
from implantflow.build.stage import build_part
from implantflow.config.build import Revision, load_machine
from implantflow.errors import GeometryError
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.field.material import Texture
from implantflow.field.placement import place_on_plate
from implantflow.field.shaping import Filling, Grading
from implantflow.jobs import Job

OUTPUTS = {
    "cli": "build.cli",
    "obf": "build.obf",
    "orientation": "orientation.json",
    "themes": "t.json",
    "layers": "l.parquet",
    "build": "b.json",
    "checks": "c.json",
}
FACTORS = (1.01, 1.02, 1.03)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Field, Path]:
    """An ellipsoid of lattice with a dense bar through it, stored as the lattice stage stores it."""
    vertices, faces = mesh_of(manifold3d.Manifold.sphere(6.0, 48).scale((1.0, 1.3, 0.8)))
    machine = load_machine("arcam-a1")
    matrix = place_on_plate(vertices, (0, 0, 1), (1, 0, 0), 1.0, machine.envelope_mm, machine.layer_mm)
    bar = {"start_lps_mm": [0, -9, 0], "end_lps_mm": [0, 9, 0], "radius_mm": 1.5}
    regions = {"shell": {"thickness_mm": 0.0}, "strut": {"segments": [bar]}}
    made = make_field(vertices, faces, regions, matrix, "diamond", 2.5, 0.67, 0.5)
    folder = tmp_path_factory.mktemp("field")
    made.save(folder / "field.json", folder / "field.npz", {"purpose": "demo"})
    return made, folder


def _build(source: Path, folder: Path, machine: Any = "arcam-a1", **revision: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        rule="build_part",
        case_dir=folder,
        wildcards={"case": "x", "revision": "r1"},
        inputs={"field": source / "field.json", "field_data": source / "field.npz"},
        outputs={key: folder / name for key, name in OUTPUTS.items()},
        settings={
            "build": {**BUILD, "machine": machine, "revision": {"id": "r1", **revision}},
            "purpose": "demo",
            "case": "demo",
            "side": "left",
        },
        function="",
        code_digest="",
    )
    build_part(job)
    return job


def test_nominal_size_changes_no_byte(field: tuple[Field, Path], tmp_path: Path) -> None:
    without = _build(field[1], tmp_path / "a")
    one = _build(field[1], tmp_path / "b", scale_xyz=[1.0, 1.0, 1.0])
    assert sha256_file(without.outputs["cli"]) == sha256_file(one.outputs["cli"])
    build = read_json(one.outputs["build"])
    assert build["scale_xyz"] == [1.0, 1.0, 1.0]
    assert not any("scale xyz" in note for note in user_data(CliFile(one.outputs["cli"])))


def test_part_grows_about_its_foot_and_the_lattice_stays(field: tuple[Field, Path], tmp_path: Path) -> None:
    made, source = field
    job = _build(source, tmp_path, scale_xyz=list(FACTORS))
    build, checks = read_json(job.outputs["build"]), read_json(job.outputs["checks"])
    designed, drawn = made.bounds_mm, np.array(build["box_mm"])
    assert np.allclose(np.ptp(drawn, axis=0), np.ptp(designed, axis=0) * FACTORS, atol=1e-5)
    assert np.allclose(drawn.mean(0)[:2], designed.mean(0)[:2], atol=1e-5)
    assert drawn[0, 2] == pytest.approx(designed[0, 2], abs=1e-6)
    assert build["scale_xyz"] == list(FACTORS)
    assert build["scale_centre_mm"] == pytest.approx([*designed.mean(0)[:2], designed[0, 2]], abs=1e-5)
    assert "50 layers" in build["scale_applies_to"]
    assert checks["passed"] is True
    figures = {check["name"]: check["figure"] for check in checks["checks"]}
    assert abs(figures["volume_error_pct"]) < 0.3
    assert figures["loose_pieces"] == 0
    cli = CliFile(job.outputs["cli"])
    assert "scale xyz=1.010000 1.020000 1.030000" in user_data(cli)
    # Every outline lies on a strut of the unscaled lattice, on the scaled bar or on the scaled outside.
    scale = Scale.about_foot(FACTORS, made.vertices_mm)
    off, struts = [], 0
    for layer in list(cli.layers())[40:160:20]:
        z = np.full(len(layer.points), layer.z * 0.005 - 0.025)
        points = np.column_stack([layer.points * 0.005, z])
        inner = scale.designed(points)
        values = np.array([made.lattice_value(points), made.dense_value(inner), made.solid_value(inner)])
        off.append(np.abs(values).min(0))
        struts += int((np.abs(values).argmin(0) == 0).sum())
    assert struts > 300
    # A stamped outline has chords; its points lie outside the curve by a few micrometres.
    assert np.percentile(np.concatenate(off), 99) < 0.03


def test_scaled_volume_is_that_of_the_scaled_field(field: tuple[Field, Path]) -> None:
    made, _ = field
    scale = Scale.about_foot(FACTORS, made.vertices_mm)
    one, larger = (Part.of_field(made, chosen, load_machine("arcam-a1")) for chosen in (Scale.none(), scale))
    ratio = larger.material_mm3() / one.material_mm3()
    assert ratio == pytest.approx(float(np.prod(FACTORS)), rel=0.02)


def test_scaled_part_must_fit_the_machine() -> None:
    box = np.array([[0.5, 50.0, 2.0], [199.5, 150.0, 60.0]])
    scale = Scale.about_foot((1.01, 1.0, 1.0), box)
    with pytest.raises(GeometryError, match=r"leaves the machine by 0\.495 mm along x"):
        scale.require_room(scale.drawn(box), (200.0, 200.0, 180.0))
    Scale.about_foot((1.004, 1.0, 1.0), box).require_room(box, (200.0, 200.0, 180.0))


@pytest.mark.parametrize("factor", [0.96, 1.06])
def test_factors_that_are_no_shrinkage_are_refused(factor: float) -> None:
    with pytest.raises(ValidationError):
        Revision(id="r1", scale_xyz=(1.0, factor, 1.0))


def test_struts_are_drawn_thinner_by_what_they_grow(field: tuple[Field, Path], tmp_path: Path) -> None:
    made, source = field
    plain = load_machine("arcam-a1")
    grown = plain.model_copy(update={"strut_growth_mm": 0.07})
    job = _build(source, tmp_path, machine=grown.model_dump(mode="json"))
    build = read_json(job.outputs["build"])
    assert (build["strut_designed_mm"], build["strut_drawn_mm"]) == (0.67, 0.6)
    cli = CliFile(job.outputs["cli"])
    assert "strut drawn=0.6 mm_ prints 0.07 mm thicker" in user_data(cli)
    # What was drawn is the field with thinner struts, and clearly less than the design.
    drawn = Part.of_field(made, Scale.none(), grown).material_mm3()
    assert build["solid_volume_mm3"] == pytest.approx(drawn, rel=0.005)
    assert drawn < 0.95 * Part.of_field(made, Scale.none(), plain).material_mm3()
    # Turning the part is reported beside it, and the file of beam paths holds what the CLI file holds.
    table = read_json(job.outputs["orientation"])
    assert len(table["orientations"]) == 21 and table["orientations"][0]["chosen"]
    # The dense bar meets the skin at its upright ends only: all that faces down is lattice.
    assert build["down_facing"]["lattice_area_mm2"] > 20.0 and build["down_facing"]["areas"] == []
    assert build["obf_lines"] > 1000 and build["obf_jump_m"] < build["cli_jump_m"]


@pytest.mark.parametrize(
    "filling",
    [
        Filling(
            "diamond", 2.5, 0.67, grading=Grading(0.8, 0.5, 3.0), fillet_mm=0.3, texture=Texture(0.15, 1.5, 3)
        ),
        Filling("voronoi", 2.5, 0.6, seed=4),
    ],
    ids=["graded, filleted, rugged", "voronoi"],
)
def test_fields_that_repeat_nowhere_are_built(filling: Filling, tmp_path: Path) -> None:
    grown = load_machine("arcam-a1").model_copy(update={"strut_growth_mm": 0.05})
    vertices, faces = mesh_of(manifold3d.Manifold.sphere(5.0, 48).scale((1.0, 1.2, 0.8)))
    matrix = place_on_plate(vertices, (0, 0, 1), (1, 0, 0), 1.0, grown.envelope_mm, grown.layer_mm)
    bar = {"start_lps_mm": [0, -9, 0], "end_lps_mm": [0, 9, 0], "radius_mm": 1.5}
    regions = {"shell": {"thickness_mm": 0.0}, "strut": {"segments": [bar]}}
    made = make_field(vertices, faces, regions, matrix, filling, 2.5, filling.strut_mm, 0.5)
    made.save(tmp_path / "field.json", tmp_path / "field.npz", {"purpose": "demo"})
    machine = grown.model_dump(mode="json")
    job = _build(tmp_path, tmp_path / "build", machine=machine, scale_xyz=list(FACTORS))
    checks, build = read_json(job.outputs["checks"]), read_json(job.outputs["build"])
    assert checks["passed"]
    figures = {check["name"]: check["figure"] for check in checks["checks"]}
    assert figures["open_loops"] == figures["winding_errors"] == figures["overlaps"] == 0
    assert abs(figures["volume_error_pct"]) < 0.5
    # What was drawn lies on the scaled field with its thinner struts, or on the outer surface.
    scale = Scale.about_foot(FACTORS, made.vertices_mm)
    drawn = Part.of_field(made, scale, grown).sampled
    assert drawn is not None and build["strut_drawn_mm"] == pytest.approx(filling.strut_mm - 0.05)
    off = []
    for layer in list(CliFile(job.outputs["cli"]).layers())[20:150:15]:
        points = np.column_stack([layer.points * 0.005, np.full(len(layer.points), layer.z * 0.005 - 0.025)])
        outer = np.abs(made.solid_value(scale.designed(points)))
        off.append(np.minimum(np.abs(drawn.value(points)), outer))
    assert np.percentile(np.concatenate(off), 99) < 0.02


def test_strut_thinner_than_a_line_is_refused(field: tuple[Field, Path]) -> None:
    machine = load_machine("arcam-a1").model_copy(update={"strut_growth_mm": 0.5})
    with pytest.raises(GeometryError, match="thinner than one line"):
        Part.of_field(field[0], Scale.none(), machine)
