"""The lattice stage from implant to files, its exports reopened by other programs, and its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest

from implantflow.artifacts import read_json, read_stl, sha256_file, write_stl
from implantflow.config.lattice import LatticeConfig
from implantflow.errors import GeometryError, ProvenanceError, QualityGateError
from implantflow.field.field import Field
from implantflow.jobs import Job
from implantflow.lattice.export import clipped_beams, surface_of, write_coupon
from implantflow.lattice.stage import make_lattice

LIMITS = {
    "porosity_min": 0.6,
    "porosity_max": 0.86,
    "pore_min_um": 500,
    "throat_min_um": 500,
    "strut_min_mm": 0.4,
    "closed_pores_max": 0,
    "loose_islands_max": 0,
}
BUILD = {
    "machine": "arcam-a1",
    "orientation": {"up_lps": [0, 1, 0], "right_lps": [1, 0, 0], "support_gap_mm": 2.0},
    "limits": {
        "volume_error_pct": 1.0,
        "island_join_max_mm": 2.5,
        "island_area_max_mm2": 2.0,
        "crumb_max_mm3": 2.0,
    },
}
NAMES = {
    "field": "field.json",
    "field_data": "field.npz",
    "lattice": "lattice.json",
    "coupon": "coupon.stl",
    "preview": "preview.stl",
    "beams": "beams.3mf",
}


def _job(folder: Path, cell: str = "diamond", strut: float = 0.67, **limits: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    shape = manifold3d.Manifold.sphere(9.0, 48).scale((1.0, 0.8, 1.2)).translate((30, -20, 900))
    mesh = shape.to_mesh()
    write_stl(
        folder / "implant.stl", np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts), "i"
    )
    regions = {
        "implant_stl_sha256": sha256_file(folder / "implant.stl"),
        "strut": {
            "segments": [{"start_lps_mm": [30, -20, 892], "end_lps_mm": [30, -20, 908], "radius_mm": 2.5}]
        },
    }
    (folder / "regions.json").write_text(json.dumps(regions))
    homogenised = {"cell": cell, "cell_mm": 2.5, "strut_mm": strut, "effective_modulus_gpa": 3.2}
    (folder / "cell.json").write_text(json.dumps(homogenised))
    return Job(
        rule="make_lattice",
        case_dir=folder,
        wildcards={"case": "x"},
        inputs={
            n: folder / f"{n}.{e}" for n, e in (("implant", "stl"), ("regions", "json"), ("cell", "json"))
        },
        outputs={key: folder / name for key, name in NAMES.items()},
        settings={
            "lattice": {"cell": cell, "cell_mm": 2.5, "strut_mm": strut, "limits": {**LIMITS, **limits}},
            "build": BUILD,
            "purpose": "demo",
        },
        function="",
        code_digest="",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = _job(tmp_path_factory.mktemp("lattice"))
    make_lattice(job)
    return job


def test_summary_has_the_keys_of_the_contract(made: Job) -> None:
    figures = read_json(made.outputs["lattice"])
    assert figures["cell"] == "diamond"
    assert figures["porosity"] == pytest.approx(0.7034, abs=0.02)
    assert figures["relative_density"] == pytest.approx(1 - figures["porosity"], abs=1e-6)
    assert figures["pore_um"] == pytest.approx(1371, abs=2)
    assert figures["throat_um"] > 1000
    assert figures["modulus_gpa"] == 3.2
    assert figures["closed_pores"] == figures["loose_islands"] == 0
    assert 0.02 < figures["dense_fraction"] < 0.3
    rows = figures["tradeoff"]
    assert rows[0]["porosity"] > rows[-1]["porosity"]


def test_field_file_stands_alone(made: Job) -> None:
    field = Field.load(made.outputs["field"], made.outputs["field_data"])
    low, high = field.bounds_mm
    # Patient y points up: 0.8 x 18 mm high, on a gap of 2 mm, in the middle of the plate.
    assert high[2] - low[2] == pytest.approx(14.4, abs=0.1)
    assert low[2] == pytest.approx(2.0, abs=1e-5)
    np.testing.assert_allclose((low + high)[:2] / 2, 100.0, atol=1e-4)
    data = read_json(made.outputs["field"])
    assert data["implant_stl_sha256"] == sha256_file(made.input("implant"))
    assert data["purpose"] == "demo"


def test_same_bytes_again(made: Job, tmp_path: Path) -> None:
    again = _job(tmp_path)
    make_lattice(again)
    for name in NAMES:
        assert sha256_file(again.outputs[name]) == sha256_file(made.outputs[name]), name


def test_beams_are_reopened_by_lib3mf(made: Job) -> None:
    import lib3mf
    from lib3mf import get_wrapper

    model = get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.ReadFromFile(str(made.outputs["beams"]))
    assert reader.GetWarningCount() == 0
    meshes = model.GetMeshObjects()
    assert meshes.MoveNext()
    mesh = meshes.GetCurrentMeshObject()
    beams = mesh.BeamLattice()
    figures = read_json(made.outputs["lattice"])
    assert beams.GetBeamCount() == figures["beams"]["beams"] > 500
    assert mesh.GetVertexCount() == figures["beams"]["nodes"]
    assert beams.GetBeam(0).Radii[0] == pytest.approx(0.335)
    assert lib3mf is not None


def test_beams_stay_in_the_porous_region(made: Job) -> None:
    field = Field.load(made.outputs["field"], made.outputs["field_data"])
    nodes, beams = clipped_beams(field)
    middles = nodes[beams].mean(1)
    assert field.solid_value(middles).max() < 0.05
    assert field.dense_value(middles).min() > -0.05
    assert field.lattice_value(middles).max() < -0.33
    ends = np.concatenate([field.solid_value(nodes), field.dense_value(nodes)])
    assert np.abs(ends).min() < 0.02


def test_coupon_is_closed_and_holds_its_metal(tmp_path: Path) -> None:
    facts = write_coupon(tmp_path / "coupon.stl", "diamond", 2.5, 0.67, 2, 1.37)
    vertices, faces = read_stl(tmp_path / "coupon.stl")
    assert len(faces) == facts["triangles"]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts % 2 == 0).all()
    v = vertices.astype(float)[faces]
    volume = np.einsum("ij,ij->i", v[:, 0], np.cross(v[:, 1], v[:, 2])).sum() / 6
    assert volume == pytest.approx(0.2966 * 125 * 1.5, rel=0.01)
    assert facts["volume_mm3"] == pytest.approx(volume, rel=1e-4)


def test_coupon_says_whether_it_has_the_proportions_of_the_standard(tmp_path: Path) -> None:
    small = write_coupon(tmp_path / "s.stl", "rhombic_dodecahedron", 4.0, 0.5, 2, 2.77)
    assert (small["edge_mm"], small["height_mm"], small["iso_13314_proportions"]) == (8.0, 12.0, False)
    assert small["edge_in_pores"] == pytest.approx(8.0 / 2.77)
    assert write_coupon(tmp_path / "l.stl", "diamond", 2.5, 0.67, 6, 1.37)["iso_13314_proportions"] is True


def test_surface_of_nothing_is_empty() -> None:
    vertices, faces = surface_of(lambda p: np.ones(len(p)), np.zeros(3), np.ones(3), 0.5)
    assert len(vertices) == len(faces) == 0


@pytest.mark.requirement("pores-open")
@pytest.mark.parametrize(
    ("strut", "limits", "message"),
    [
        (0.8, {}, "porosity 0.603"),
        (0.67, {"pore_min_um": 1500}, "pores of 1371 um"),
        (0.67, {"throat_min_um": 1100}, "throats of 1054 um"),
        (0.5, {"strut_min_mm": 0.6}, "struts of 0.5 mm"),
    ],
)
def test_figures_outside_the_limits_are_errors(
    strut: float, limits: dict[str, float], message: str, tmp_path: Path
) -> None:
    changed = {"porosity_min": 0.65, **limits}
    with pytest.raises(QualityGateError) as error:
        make_lattice(_job(tmp_path, strut=strut, **changed))
    assert message in str(error.value)


def test_inputs_that_do_not_belong_together(tmp_path: Path) -> None:
    job = _job(tmp_path)
    (tmp_path / "regions.json").write_text(json.dumps({"implant_stl_sha256": "0" * 64}))
    with pytest.raises(ProvenanceError, match="another implant"):
        make_lattice(job)
    job = _job(tmp_path)
    job.settings["lattice"]["cell_mm"] = 2.53
    with pytest.raises(GeometryError, match="no even number of layers"):
        make_lattice(job)


def test_presets_fill_the_cell() -> None:
    config = LatticeConfig.model_validate({"preset": "diamond-70", "limits": LIMITS})
    assert (config.cell, config.cell_mm, config.strut_mm) == ("diamond", 2.5, 0.67)
    thinner = LatticeConfig.model_validate({"preset": "diamond-70", "strut_mm": 0.6, "limits": LIMITS})
    assert thinner.strut_mm == 0.6
    assert LatticeConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(ValueError, match="no preset called"):
        LatticeConfig.model_validate({"preset": "../secrets", "limits": LIMITS})


def test_gyroid_has_no_beams_and_says_so(tmp_path: Path) -> None:
    from implantflow.lattice.export import write_beams

    made = _job(tmp_path, cell="gyroid", strut=0.82)
    make_lattice(made)
    field = Field.load(made.outputs["field"], made.outputs["field_data"])
    facts = write_beams(tmp_path / "again.3mf", field, "demo")
    assert facts["beams"] == 0
    assert "no struts" in facts["reason"]
    from lib3mf import get_wrapper

    model = get_wrapper().CreateModel()
    model.QueryReader("3mf").ReadFromFile(str(made.outputs["beams"]))
    assert model.GetMeshObjects().Count() == 1
