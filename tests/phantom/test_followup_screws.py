"""What becomes of the simulated screws: moved, broken, with bone lost around them."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.config.simulated_followup import ScrewTruth
from implantflow.errors import InputError
from implantflow.phantom.followup.hardware import resorbed, screws, sideways

AXIS = np.array([0.6, 0.0, 0.8])
IN_BONE = {
    "name": "iliac_left", "kind": "iliac", "diameter_mm": 8.0,
    "start_lps_mm": [5.0, 20.0, 5.0], "end_lps_mm": [35.0, 20.0, 45.0],
}  # fmt: skip
SPINAL = IN_BONE | {"name": "l5_left", "kind": "pedicle"}


def test_a_screw_that_moved_takes_its_head_with_it() -> None:
    _, still = screws([IN_BONE], (12.0, 8.0), {})
    _, moved = screws([IN_BONE], (12.0, 8.0), {"iliac_left": ScrewTruth(advance_mm=-2.0, across_mm=1.0)})
    assert moved[:, 3:] == pytest.approx(still[:, 3:])
    assert moved[:, :3] - still[:, :3] == pytest.approx(np.tile(-2.0 * AXIS + sideways(AXIS), (2, 1)))


def test_a_broken_screw_is_two_parts_with_the_gap_and_the_step_between_them() -> None:
    state = ScrewTruth(broken_at=0.4, gap_mm=2.0, step_mm=1.5)
    _, parts = screws([IN_BONE], (0.0, 0.0), {"iliac_left": state})
    near, far = parts
    assert near[6] == pytest.approx(19.0) and far[6] == pytest.approx(29.0)
    between = far[:3] - (near[:3] + near[6] * near[3:6])
    assert between @ AXIS == pytest.approx(2.0) and between @ sideways(AXIS) == pytest.approx(1.5)


@pytest.mark.parametrize("name", ["l5_left", "nobody"])
def test_a_screw_that_is_not_simulated_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"no simulated screw is called '{name}'"):
        screws([IN_BONE, SPINAL], (12.0, 8.0), {name: ScrewTruth(advance_mm=1.0)})


def test_bone_is_lost_around_a_loose_screw_only() -> None:
    hu = np.full((60, 50, 50), 500, np.int16)
    states = {"iliac_left": ScrewTruth(rim_mm=2.0)}
    lost = resorbed(hu, np.eye(4), [IN_BONE], states, 40.0)
    k, j, i = np.indices(hu.shape)
    away = np.stack([i, j, k], axis=-1) - np.array(IN_BONE["start_lps_mm"])
    along = np.clip(away @ AXIS, 0.0, 50.0)
    way = np.linalg.norm(away - along[..., None] * AXIS, axis=-1)
    assert (lost[way < 5.5] == 40).all() and (lost[way > 6.5] == 500).all()
    assert resorbed(hu, np.eye(4), [IN_BONE], {}, 40.0) is hu


def test_soft_tissue_does_not_become_brighter() -> None:
    hu = np.full((60, 50, 50), -90, np.int16)
    states = {"iliac_left": ScrewTruth(rim_mm=2.0)}
    assert (resorbed(hu, np.eye(4), [IN_BONE], states, 40.0) == -90).all()
