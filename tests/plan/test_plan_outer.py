"""The outer shape on a body that is its own mirror image, with a crater where the tumour is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_pelvis import PLAN, changed

from implantflow.artifacts import read_json, write_json
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, Plane
from implantflow.jobs import Job
from implantflow.plan.blend import BLENDED, MIRRORED, OWN, Weights
from implantflow.plan.mirror import pattern
from implantflow.plan.outer import plan_outer_shape
from implantflow.solids.booleans import difference, refined, union
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, read_solid, write_solid
from implantflow.solids.shapes import sphere

MIRROR = {"changed_within_mm": 2.0, "blend_mm": 8.0, "step_max_mm": 1.0, "residual_max_mm": 0.5}
TUMOUR_AT = np.array([27.0, 4.0, 0.0])


def _body() -> Solid:
    """Ellipsoid with two lumps on either side."""
    ball = sphere([0.0, 0.0, 0.0], 1.0, 96)
    parts = [Solid.of(ball.vertices * [30.0, 20.0, 25.0], ball.faces)]
    for x, y, z, r in ((18.0, 12.0, 12.0, 9.0), (15.0, -10.0, -16.0, 8.0)):
        parts += [sphere([x, y, z], r), sphere([-x, y, z], r)]
    return union(*parts)


TRUTH = _body()
#: The surface is eaten away up to 4 mm deep about the tumour.
EATEN = sphere(TUMOUR_AT + np.array([8.0, 0.0, 0.0]), 9.0, 64)
TUMOUR = sphere(TUMOUR_AT, 7.0, 48)


def _job(folder: Path, bone: Solid, plane: Plane, mirror: dict[str, Any]) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    write_solid(folder / "sacrum.stl", bone, "sacrum")
    write_solid(folder / "tumour.stl", TUMOUR, "tumour")
    write_json(folder / "plan.json", {"midline_plane": plane.as_json(), "side": "left", "purpose": "demo"})
    inputs: dict[str, Any] = {"plan": folder / "plan.json", "sacrum": folder / "sacrum.stl"}
    inputs["tumour_stl"] = [folder / "tumour.stl"]
    outputs = {"outer": folder / "outer.stl", "map": folder / "map.npz", "facts": folder / "outer.json"}
    settings = {"plan": changed(PLAN, mirror=mirror)}
    return Job("plan_outer_shape", folder, {}, inputs, outputs, settings, function="test", code_digest="test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape from a mid-plane that is half a millimetre and a degree off."""
    folder = tmp_path_factory.mktemp("outer")
    tilt = np.radians(1.0)
    off = Plane.of([0.5, 0.0, 0.0], [np.cos(tilt), np.sin(tilt), 0.0])
    plan_outer_shape(_job(folder, difference(TRUTH, EATEN), off, MIRROR))
    return folder


def test_the_crater_is_filled_and_the_rest_stays(made: Path) -> None:
    stored = np.load(made / "map.npz")
    places, source = stored["vertices_lps_mm"], stored["source"]
    error = np.abs(Surface(TRUTH).signed_distance_mm(places))
    before = np.abs(Surface(difference(TRUTH, EATEN)).signed_distance_mm(places))
    assert set(np.unique(source)) == {OWN, MIRRORED, BLENDED}
    assert error[source == MIRRORED].max() < 0.25
    assert error[source == BLENDED].max() < 0.6
    assert before[source == MIRRORED].max() > 2.5
    # Resampled, not moved.
    assert before[source == OWN].max() < 0.3
    assert np.quantile(before[source == OWN], 0.95) < 0.05
    assert np.abs(stored["displacement_mm"]) == pytest.approx(before, abs=0.02)


def test_the_map_is_of_the_file_and_the_figures_of_the_map(made: Path) -> None:
    stored, facts = np.load(made / "map.npz"), read_json(made / "outer.json")
    shape = read_solid(made / "outer.stl", "outer")
    assert np.array_equal(shape.vertices, stored["vertices_lps_mm"])
    assert sum(facts["area_mm2"].values()) == pytest.approx(shape.area_mm2)
    taken = np.abs(stored["displacement_mm"][stored["source"] != OWN])
    assert facts["displacement_max_mm"] == pytest.approx(float(taken.max()), abs=1e-5)
    # The mirrored side was moved back by what the plane was off: twice the tilt, about twice the shift.
    assert facts["pattern"]["turned_deg"] == pytest.approx(2.0, abs=0.3)
    assert facts["pattern"]["residual_p50_mm"] < 0.1
    assert facts["border_offset_max_mm"] < 0.3


def test_a_step_or_unlike_sides_are_refused(tmp_path: Path) -> None:
    plane = Plane.of([0.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    with pytest.raises(QualityGateError, match="of change per mm"):
        plan_outer_shape(
            _job(tmp_path / "a", difference(TRUTH, EATEN), plane, MIRROR | {"step_max_mm": 0.05})
        )
    # The healthy side is a quarter thicker and lower than the other.
    more = 0.25 * np.clip(-TRUTH.vertices[:, :1] / 15.0, 0.0, 1.0)
    thick = Solid.of(TRUTH.vertices * np.hstack([1.0 + 0.0 * more, 1.0 + more, 1.0 - more]), TRUTH.faces)
    unlike = difference(thick, EATEN)
    with pytest.raises(QualityGateError, match="off the intact bone"):
        plan_outer_shape(_job(tmp_path / "b", unlike, plane, MIRROR))
    assert not (tmp_path / "b" / "outer.json").exists()


def test_nothing_is_borrowed_from_beside_the_tumour() -> None:
    """A tumour across the mid-plane: the mirrored place is as sick as the own one."""
    tumour = Surface(sphere([1.0, 18.0, 0.0], 8.0, 48))
    back = Plane.of([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]).mirror_matrix()
    weights = Weights(tumour, back, 2.0, 8.0)
    places: FloatArray = np.array([[0.0, 19.0, 0.0], [5.0, 18.0, 0.0], [-4.0, 17.0, 3.0], [0.0, -19.0, 0.0]])
    assert weights.at(places) == pytest.approx(0.0)
    one_sided = Weights(Surface(TUMOUR), back, 2.0, 8.0)
    assert one_sided.at(TUMOUR_AT[None])[0] == 1.0
    assert one_sided.at(-TUMOUR_AT[None])[0] == 0.0


def test_too_little_intact_bone_is_said() -> None:
    bone = refined(TRUTH, 3.0)
    with pytest.raises(GeometryError, match="too few to fit"):
        pattern(bone, Plane.of([0, 0, 0], [1, 0, 0]), np.zeros(len(bone.vertices)), 2.0, 1.0)
