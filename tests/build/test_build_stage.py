"""The stage and the slice command from file to file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest
from build_bench import BUILD, Mesh, mesh_of, user_data

from implantflow.artifacts import read_json, sha256_file
from implantflow.build.checks import examine
from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.cli_writer import INNER_ID
from implantflow.build.command import slice_solid, write_solid
from implantflow.build.melt_check import MeltRules
from implantflow.build.produce import judge
from implantflow.build.stage import build_part
from implantflow.build.verdicts import IslandLimits
from implantflow.config.build import BuildConfig, load_machine
from implantflow.errors import ConfigError, GeometryError, InputError, QualityGateError
from implantflow.field.make import make_field
from implantflow.field.placement import place_on_plate
from implantflow.jobs import Job

Stl = Callable[[Mesh, str], Path]

KEYS = [
    "id",
    "layers",
    "layer_mm",
    "open_loops",
    "winding_errors",
    "unsupported_islands",
    "contour_m",
    "hatch_m",
    "solid_volume_mm3",
    "time_h",
    "energy_kwh",
    "within_envelope",
]


def _job(folder: Path, threads: int, **changes: Any) -> Job:
    shape = manifold3d.Manifold.sphere(7.0, 48).scale((1.0, 1.3, 0.8))
    vertices, faces = mesh_of(shape)
    machine = load_machine("arcam-a1")
    matrix = place_on_plate(vertices, (0, 0, 1), (1, 0, 0), 1.0, machine.envelope_mm, machine.layer_mm)
    regions = {
        "shell": {"thickness_mm": 0.0},
        "strut": {"segments": [{"start_lps_mm": [0, -9, 0], "end_lps_mm": [0, 9, 0], "radius_mm": 2.0}]},
    }
    field = make_field(vertices, faces, regions, matrix, "diamond", 2.5, 0.67, 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    field.save(folder / "field.json", folder / "field.npz", {"purpose": "demo"})
    names = {
        "cli": "build.cli",
        "obf": "build.obf",
        "orientation": "orientation.json",
        "themes": "t.json",
        "layers": "l.parquet",
        "build": "b.json",
        "checks": "c.json",
    }
    return Job(
        rule="build_part",
        case_dir=folder,
        wildcards={"case": "x", "revision": "r1"},
        inputs={
            "field": folder / "field.json",
            "field_data": folder / "field.npz",
            "gate": folder / "field.json",
        },
        outputs={key: folder / name for key, name in names.items()},
        settings={
            "build": {**BUILD, "revision": {"id": "r1", "date": "020304"}, **changes},
            "purpose": "demo",
            "case": "demo",
            "side": "left",
        },
        function="",
        code_digest="",
        threads=threads,
    )


def test_stage_builds_checks_and_repeats_itself(tmp_path: Path) -> None:
    digests = []
    for threads in (1, 2):
        job = _job(tmp_path / str(threads), threads)
        build_part(job)
        digests.append({key: sha256_file(path) for key, path in job.outputs.items()})
    assert digests[0] == digests[1]
    build = read_json(job.outputs["build"])
    assert [key for key in KEYS if key not in build] == []
    assert build["open_loops"] == build["winding_errors"] == 0
    assert build["within_envelope"] is True
    assert build["layers"] == 224
    checks = read_json(job.outputs["checks"])
    assert checks["passed"] is True
    volume = next(c for c in checks["checks"] if c["name"] == "volume_error_pct")
    assert abs(volume["figure"]) < 0.2
    assert len(checks["islands"]) == build["unsupported_islands"] > 0
    cli = CliFile(job.outputs["cli"])
    assert dict(cli.header)["DATE"] == "020304"
    assert {"NOT FOR CLINICAL USE", "case=demo", "side=left", "revision=r1"} <= set(user_data(cli))
    import pyarrow.parquet as pq

    table = pq.read_table(job.outputs["layers"])
    assert table.num_rows == build["layers"]
    area = np.asarray(table["area_mm2"])
    assert area.sum() * 0.05 == pytest.approx(build["solid_volume_mm3"], rel=1e-6)
    themes = read_json(job.outputs["themes"])
    assert themes["preheat"]["passes"] == 11
    assert themes["verified"] is False


def test_stage_fails_on_its_limits(tmp_path: Path) -> None:
    limits = {**BUILD["limits"], "island_join_max_mm": 0.05}
    with pytest.raises(QualityGateError, match="island_join_mm"):
        build_part(_job(tmp_path, 1, limits=limits))
    machine = load_machine("arcam-a1").model_dump()
    machine["net"]["speed_mm_s"] = 4500.0
    with pytest.raises(QualityGateError, match="theme 'net'"):
        build_part(_job(tmp_path, 1, machine=machine))


def test_slice_fills_any_solid(ball: Mesh, stl_of: Stl, tmp_path: Path) -> None:
    slice_solid(stl_of(ball, "ball.stl"), tmp_path / "o", lattice="diamond", cell_mm=2.5, strut_mm=0.5)
    checks = read_json(tmp_path / "o" / "checks.json")
    assert checks["passed"] is True
    assert checks["solid_volume_mm3"] == pytest.approx(0.1785 * 4 / 3 * np.pi * 216, rel=0.02)
    assert "loose_pieces" in checks["warnings"]
    slice_solid(stl_of(ball, "ball.stl"), tmp_path / "s")
    solid = read_json(tmp_path / "s" / "checks.json")
    assert solid["solid_volume_mm3"] == pytest.approx(4 / 3 * np.pi * 216, rel=0.003)
    assert solid["layers"] == 240
    first = next(iter(CliFile(tmp_path / "s" / "build.cli").layers()))
    assert first.z * 0.005 == pytest.approx(0.05)


def test_slice_reads_ascii(tmp_path: Path, box: Mesh) -> None:
    vertices, faces = box
    lines = ["solid box"]
    for face in faces:
        lines += ["facet normal 0 0 0", " outer loop"]
        lines += [" vertex {:.6e} {:.6e} {:.6e}".format(*vertices[v]) for v in face]
        lines += [" endloop", "endfacet"]
    (tmp_path / "a.stl").write_text("\n".join([*lines, "endsolid box"]))
    slice_solid(tmp_path / "a.stl", tmp_path / "o", layer_mm=0.1)
    checks = read_json(tmp_path / "o" / "checks.json")
    assert checks["layers"] == 30
    assert checks["solid_volume_mm3"] == pytest.approx(360.0, rel=1e-6)
    # More digits than a number has: none is cut off, least of all the exponent.
    long = [re.sub(r"(\d)(e[+-]\d\d)", r"\g<1>000000000000000000000000000000\2", line) for line in lines]
    (tmp_path / "a.stl").write_text("\n".join([*long, "endsolid box"]))
    slice_solid(tmp_path / "a.stl", tmp_path / "long", layer_mm=0.1)
    assert (tmp_path / "long" / "build.cli").read_bytes() == (tmp_path / "o" / "build.cli").read_bytes()
    (tmp_path / "a.stl").write_text("\n".join(lines[:-3]))
    with pytest.raises(InputError, match="not a complete ASCII"):
        slice_solid(tmp_path / "a.stl", tmp_path / "p")


def test_a_triangle_of_zeros_does_not_move_the_part(box: Mesh, stl_of: Stl, tmp_path: Path) -> None:
    vertices, faces = box[0] + [0.0, 0.0, 40.0], box[1]
    strayed = (np.concatenate([vertices, np.zeros((1, 3))]), np.concatenate([faces, [[8, 8, 8]]]))
    for name, mesh in (("whole", (vertices, faces)), ("strayed", strayed)):
        slice_solid(stl_of(mesh, "box.stl"), tmp_path / name)
    assert read_json(tmp_path / "strayed" / "checks.json")["layers"] == 60
    whole, strayed_cli = (tmp_path / name / "build.cli" for name in ("whole", "strayed"))
    assert strayed_cli.read_bytes() == whole.read_bytes()


def test_slice_refuses_and_leaves_nothing(box: Mesh, stl_of: Stl, tmp_path: Path) -> None:
    vertices, faces = box
    out = tmp_path / "o"
    with pytest.raises(GeometryError, match="not watertight"):
        slice_solid(stl_of((vertices, faces[1:]), "hole.stl"), out)
    with pytest.raises(GeometryError, match="does not fit"):
        slice_solid(stl_of((vertices * 30, faces), "big.stl"), out)
    with pytest.raises(GeometryError, match="millimetres"):
        slice_solid(stl_of((vertices * 1e-3, faces), "metres.stl"), out)
    with pytest.raises(GeometryError, match=r"rounded to 0\.0078125 mm"):
        slice_solid(stl_of((vertices + 1e5, faces), "far.stl"), out)
    with pytest.raises(GeometryError, match="inside out"):
        slice_solid(stl_of((vertices, faces[:, ::-1]), "flip.stl"), out)
    with pytest.raises(InputError, match="missing"):
        slice_solid(tmp_path / "none.stl", out)
    whole = stl_of(box, "box.stl")
    with pytest.raises(GeometryError, match="no such lattice cell"):
        slice_solid(whole, out, lattice="foam", cell_mm=2.5, strut_mm=0.5)
    with pytest.raises(InputError, match="needs its cell"):
        slice_solid(whole, out, lattice="diamond")
    with pytest.raises(GeometryError, match="no even number"):
        slice_solid(whole, out, lattice="diamond", cell_mm=2.512, strut_mm=0.5)
    with pytest.raises(ConfigError, match="no preset"):
        slice_solid(whole, out, machine="nothing")
    with pytest.raises(ConfigError, match="whole number of units"):
        slice_solid(whole, out, layer_mm=0.0501)
    truncated = tmp_path / "cut.stl"
    truncated.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a complete binary STL"):
        slice_solid(truncated, out)
    assert not list(out.glob("*")) if out.exists() else True


@pytest.mark.requirement("build-file-sound")
def test_a_corner_or_an_end_that_moved_is_caught(box: Mesh, stl_of: Stl, tmp_path: Path) -> None:
    path = tmp_path / "a.cli"
    sliced, part, machine = write_solid(stl_of(box, "box.stl"), path, None, None, None, None, "arcam-a1", 1)
    layers = list(CliFile(path).layers())

    def failed(changed: CliLayer) -> set[str]:
        found = examine(
            [*layers[:7], changed, *layers[8:]], 0.005, 200.0, 0.05, 0.01, rules=MeltRules.of(machine)
        )
        limits = IslandLimits(0.5, 1.0, warn_only=True)
        checks = judge(sliced, found, part, machine, 1.0, limits, [False] * len(found.islands))
        return {check.name for check in checks if not check.passed}

    assert failed(layers[7]) == set()
    points, hatches = layers[7].points.copy(), layers[7].hatches.copy()
    points[1] += 4 * np.sign(points[1] - points.mean(0))  # outwards
    hatches[np.flatnonzero(layers[7].hatch_label == INNER_ID)[0]] += [4, 0, 0, 0]
    assert failed(replace(layers[7], points=points)) == {"layers_equal_vectors"}
    assert "layers_equal_vectors" in failed(replace(layers[7], hatches=hatches))


def test_config_reports_wrong_presets_and_lineage() -> None:
    good = {**BUILD, "revisions": [{"id": "r1"}, {"id": "r2", "parent": "r1"}]}
    config = BuildConfig.model_validate(good)
    again = BuildConfig.model_validate(config.model_dump(mode="json"))
    assert again == config
    for change, message in (
        ({"machine": "arcam-x"}, "no preset called"),
        ({"revisions": [{"id": "r1"}, {"id": "r1"}]}, "two build revisions"),
        ({"revisions": [{"id": "r2", "parent": "r1"}]}, "no earlier one"),
        ({"revisions": [{"id": "r1", "date": "311"}]}, "pattern"),
        ({"orientation": {**BUILD["orientation"], "right_lps": [0, 0, 2]}}, "two different directions"),
    ):
        with pytest.raises(ValueError, match=message):
            BuildConfig.model_validate({**good, **change})
