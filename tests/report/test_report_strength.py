"""Pictures of strength: moduli against closed forms, elements found in a turned grid, figures drawn or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implantflow.artifacts import write_json, write_npz, write_stl
from implantflow.field.make import make_field
from implantflow.field.shaping import Filling, Grading
from implantflow.report.figures import porous, strength
from implantflow.report.figures.base import Context
from implantflow.report.meshes import Mesh
from implantflow.report.sources import CaseFiles
from implantflow.solids.shapes import box

TURN = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -3.0], [0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 1.0]])

#: C11, C12, C44 of a cubic cell, GPa.
CUBIC = (9.0, 4.0, 4.2)


def elasticity() -> np.ndarray:
    c11, c12, c44 = CUBIC
    c = np.zeros((6, 6))
    c[:3, :3] = c12
    c[np.arange(6), np.arange(6)] = [c11] * 3 + [c44] * 3
    return c


def test_directional_modulus_is_that_of_a_cubic_crystal() -> None:
    c11, c12, c44 = CUBIC
    axis = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
    bulk = 3.0 / (c11 + 2 * c12)
    diagonal = 3.0 / (bulk / 3.0 + 1.0 / c44)
    directions = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], np.ones(3) / np.sqrt(3)])
    found = strength.modulus_along(np.linalg.inv(elasticity()), directions)
    assert found == pytest.approx([axis, axis, diagonal])


def view() -> dict[str, np.ndarray]:
    """A block of 4 x 4 x 6 elements of 5 mm in a turned frame; stress grows along its z, the end is not judged."""
    shape = (6, 4, 4)
    stress = np.broadcast_to(np.arange(6.0)[:, None, None] * 20 + 10, shape)
    return {
        "origin_mm": np.array([1.0, 2.0, 3.0]),
        "spacing_mm": np.full(3, 5.0),
        "patient_from_grid": TURN,
        "dense_share": np.zeros(shape),
        "porous_share": np.ones(shape),
        "von_mises_mpa": np.zeros(shape),
        "strut_mpa": np.array(stress),
        "displacement_mm": np.array(stress) * 1e-3,
        "judged": np.broadcast_to(np.arange(6)[:, None, None] < 5, shape).astype(float),
    }


def block() -> Mesh:
    """The surface of that block in patient LPS."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    local = corners * [20.0, 20.0, 30.0] + [1.0, 2.0, 3.0]
    faces = [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4]]
    faces += [[2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]]
    return Mesh(local @ TURN[:3, :3].T + TURN[:3, 3], np.array(faces))


def test_each_vertex_finds_its_element_in_the_turned_grid() -> None:
    at = strength._elements_at(view(), block())
    k, j, i = np.unravel_index(at, (6, 4, 4))
    assert k.tolist() == [0, 0, 0, 0, 5, 5, 5, 5]
    assert j.tolist() == [0, 0, 3, 3] * 2
    assert i.tolist() == [0, 3] * 4


def context(case_dir: Path) -> Context:
    return Context(CaseFiles(case_dir, {}), {"side": "left"}, "made up")


FATIGUE = {"strength_mpa": 200.0, "surface": "as_built", "hip": False, "source": "a test", "verified": False}


def test_implant_is_drawn_with_its_states(tmp_path: Path) -> None:
    for folder in ("implant", "strength/final"):
        (tmp_path / folder).mkdir(parents=True)
    mesh = block()
    write_stl(tmp_path / "implant/implant.stl", mesh.vertices, mesh.faces, "block patient_lps")
    write_npz(tmp_path / "strength/final/view.npz", view())
    facts: dict[str, Any] = {
        "governing_load_case": "stairs",
        "fatigue_dense": {**FATIGUE, "hip": True},
        "fatigue_strut": FATIGUE,
    }
    write_json(tmp_path / "strength/final/strength.json", facts)
    figures = {f.key: f for f in strength.on_the_implant(context(tmp_path))}
    assert figures.keys() == {"strength-surface", "strut-safety"}
    assert "stairs" in figures["strut-safety"].title
    assert "struts 200 MPa (as built, no HIP, not verified)" in figures["strut-safety"].caption
    assert "dense metal 200 MPa (as built, HIP, not verified)" in figures["strut-safety"].caption
    assert all(f.data.startswith(b"\x89PNG") for f in figures.values())


def test_cell_is_drawn_with_its_law_and_error(tmp_path: Path) -> None:
    assert strength.stiffness_of_cell(context(tmp_path)) == []
    (tmp_path / "strength").mkdir()
    samples = [
        {"strut_mm": d, "relative_density": d / 2, "relative_modulus": 0.2 * d**2, "half_range": 0.001}
        for d in (0.4, 0.6, 0.8)
    ]
    facts: dict[str, Any] = {
        "cell": "diamond",
        "elasticity_gpa": elasticity().tolist(),
        "effective_modulus_gpa": 5.9,
        "error_pct": 1.3,
        "constants": {"zener": 1.68},
        "cubic_deviation": 1e-9,
        "gibson_ashby": {"coefficient": 0.8, "exponent": 2.0, "samples": samples},
    }
    write_json(tmp_path / "strength/cell.json", facts)
    law, direction = strength.stiffness_of_cell(context(tmp_path))
    assert "5.90 GPa ± 1.3 %" in law.caption
    assert "E/Es = 0.80" in law.data.decode()
    assert "1.68" in direction.caption


def test_without_results_nothing_is_drawn(tmp_path: Path) -> None:
    assert strength.on_the_implant(context(tmp_path)) == []


def test_a_graded_lattice_shows_what_each_strut_brings(tmp_path: Path) -> None:
    for folder in ("lattice", "strength/final", "strength/solid"):
        (tmp_path / folder).mkdir(parents=True)
    solid = box([0, 0, 0], [20, 20, 30])
    regions: dict[str, Any] = {"contact_faces": [], "strut": {"segments": []}, "screw_holes": []}
    regions |= {"cable_passages": [], "shell": {"thickness_mm": 0.0}}
    filling = Filling("diamond", 2.5, 0.67, grading=Grading(0.55, 0.75, 8.0))
    made = make_field(solid.vertices, solid.faces, regions, np.eye(4), filling, 2.5, 0.67, 1.0)
    made.save(tmp_path / "lattice/field.json", tmp_path / "lattice/field.npz", {})
    values = view() | {"origin_mm": np.zeros(3), "spacing_mm": np.full(3, 1.0)}
    shape = (30, 20, 20)
    # Struts thicken with depth, and so does the stress that they are given here.
    depth = np.minimum.reduce(
        [np.minimum(i + 0.5, n - 0.5 - i) for n, i in zip(shape, np.indices(shape), strict=True)]
    )
    values |= {"strut_mpa": 10.0 + 2.0 * depth, "judged": (depth < 9.0).astype(float)}
    write_npz(tmp_path / "strength/final/view.npz", values)
    law = {
        "homogenised": {"gibson_ashby": {"coefficient": 0.7, "exponent": 2.0}},
        "metal": {"modulus_gpa": 112.0},
    }
    facts = {"governing_load_case": "stairs", "fatigue_strut": FATIGUE, **law}
    write_json(tmp_path / "strength/final/strength.json", facts)
    write_json(tmp_path / "strength/solid/strength.json", {"safety_factor": 5.0})
    cells = {"0.550": {"porosity": 0.79}, "0.750": {"porosity": 0.64}}
    lattice = {
        "strut_mm": 0.67,
        "strut_range_mm": [0.55, 0.75],
        "grading": {"by": "depth"},
        "by_strut": cells,
    }
    write_json(tmp_path / "lattice/lattice.json", lattice)
    struts, safety = porous._safety_by_strut(context(tmp_path), 200.0)
    assert len(struts) == int((depth < 9.0).sum())
    assert safety.max() == pytest.approx(200.0 / 11.0) and safety.min() == pytest.approx(200.0 / 27.0)
    # 1 mm nodes, so a strut is that of a place up to half a millimetre off.
    asked = 0.55 + 0.2 * np.minimum(depth[depth < 9.0] / 8.0, 1.0)
    assert np.abs(struts - asked).max() < 0.04
    figures = {f.key: f.data.decode() for f in porous.graded(context(tmp_path))}
    assert list(figures) == ["graded-safety", "graded-cost", "graded-share"]
    assert "all nominal, least" in figures["graded-safety"]
    write_json(tmp_path / "lattice/lattice.json", {**lattice, "grading": None})
    assert porous.graded(context(tmp_path)) == []
