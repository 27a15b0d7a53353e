"""The pieces of the inspection by themselves: figures, verdicts, grey values, configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from implantflow.config.inspect import InspectConfig, InspectLimits
from implantflow.errors import InputError
from implantflow.inspect.align import _matched
from implantflow.inspect.deviation import _turned, statistics
from implantflow.inspect.picture import colours_of
from implantflow.inspect.scan import Scan, thinned
from implantflow.inspect.verdict import judged
from implantflow.inspect.volume_surface import read_print_ct
from implantflow.volumes import Volume, write_volume

LIMITS = InspectLimits(
    tolerance_mm=0.2,
    within_tolerance_min_pct=95.0,
    p95_max_mm=0.25,
    scale_error_max_pct=0.1,
    coverage_min_pct=90.0,
)
GOOD = {"rms_mm": 0.05, "within_tolerance_pct": 99.0, "p95_mm": 0.1}
SIZE = {"scale_error_xyz_pct": np.zeros(3), "scale_error_se_xyz_pct": np.full(3, 0.01)}


def test_statistics_weigh_by_area() -> None:
    found = statistics(np.array([0.1, -0.3, 0.5]), np.array([8.0, 1.5, 0.5]), 0.2)
    assert found["within_tolerance_pct"] == pytest.approx(80.0)
    assert found["p95_mm"] == pytest.approx(0.3)
    assert found["mean_mm"] == pytest.approx((0.8 - 0.45 + 0.25) / 10)
    assert found["rms_mm"] == pytest.approx(np.sqrt((0.08 + 0.135 + 0.125) / 10))
    nothing = statistics(np.empty(0), np.empty(0), 0.2)
    assert nothing["rms_mm"] is None and nothing["area_mm2"] == 0.0


@pytest.mark.parametrize(
    ("outer", "sizes", "coverage", "expected", "reason"),
    [
        ({}, {}, {}, "within", None),
        ({"within_tolerance_pct": 94.9}, {}, {}, "outside", "94.9 %"),
        ({"p95_mm": 0.26}, {}, {}, "outside", "0.260 mm"),
        (
            {},
            {"scale_error_xyz_pct": np.array([0.0, -0.11, 0.0])},
            {},
            "outside",
            "build y is off by -0.110 %",
        ),
        ({}, {"scale_error_se_xyz_pct": np.full(3, 0.06)}, {}, "cannot_be_judged", "standard error"),
        ({}, {}, {"midline": 89.0}, "cannot_be_judged", "midline: only 89.0 %"),
        ({}, {}, {"midline": None}, "cannot_be_judged", "midline: nothing"),
        ({"rms_mm": None}, {}, {}, "cannot_be_judged", "nothing of the outer surface"),
    ],
)
def test_verdict_follows_the_limits(
    outer: dict[str, Any], sizes: dict[str, Any], coverage: dict[str, Any], expected: str, reason: str | None
) -> None:
    seen = {"outer surface": 97.0, "midline": 95.0, **coverage}
    verdict, reasons = judged(LIMITS, {**GOOD, **outer}, {**SIZE, **sizes}, seen)
    assert verdict == expected
    assert (reasons == []) == (reason is None)
    if reason is not None:
        assert reason in reasons[0]


def test_poses_are_recovered_from_pairs() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 3)) * 20
    pose = _turned(np.array([0.4, -1.1, 0.7]), np.array([5.0, -3.0, 8.0]), np.array([1.0, 2.0, 3.0]))
    moved = points @ pose[:3, :3].T + pose[:3, 3]
    assert _matched(points, moved) == pytest.approx(pose)
    assert np.linalg.det(_matched(points, moved * [1, 1, -1])[:3, :3]) == pytest.approx(1.0)


def test_thinning_keeps_one_point_of_each_cube() -> None:
    points = np.random.default_rng(2).uniform(0, 10, (5000, 3))
    kept = thinned(points, 2.5)
    assert len(kept) == 64
    assert (np.diff(kept) > 0).all()


def test_scan_normals_point_outwards_and_areas_add_up() -> None:
    corners = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3.0], [9, 9, 9]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    scan = Scan(corners, faces)
    assert scan.areas_mm2.sum() == pytest.approx(3 * 4.5 + np.sqrt(3) / 4 * 18)
    assert (np.einsum("ij,ij->i", scan.normals[:4], corners[:4] - 0.75) > 0).all()
    assert scan.normals[4].tolist() == [0, 0, 0]


def test_colours_tell_too_much_from_too_little() -> None:
    low, middle, high = colours_of(np.array([-9.0, 0.0, 9.0]), 0.2).astype(int)
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50
    assert middle.min() > 200


def _ball_ct(path: Path, radius_mm: float, noise: float) -> Path:
    k, j, i = np.meshgrid(*[np.arange(80) * 0.5 - 20.0] * 3, indexing="ij")
    share = np.clip((radius_mm - np.sqrt(i**2 + j**2 + k**2)) / 0.5 + 0.5, 0, 1)
    grey = -1000 + 3200 * share + np.random.default_rng(3).normal(0, noise, share.shape)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = [7.0, -4.0, 2.0]
    write_volume(path, Volume(np.round(np.clip(grey, -1024, 3071)).astype(np.int16), affine))
    return path


def test_ct_becomes_a_surface_halfway_between_air_and_metal(tmp_path: Path) -> None:
    scan, facts = read_print_ct(_ball_ct(tmp_path / "ball.nii.gz", 14.0, 80.0))
    assert facts["threshold_hu"] == pytest.approx(600, abs=10)
    radius = np.linalg.norm(scan.vertices_mm - np.array([27.0, 16.0, 22.0]), axis=1)
    assert radius.mean() == pytest.approx(14.0, abs=0.02)
    assert (
        np.einsum("ij,ij->i", scan.normals, scan.vertices_mm - np.array([27.0, 16.0, 22.0])) > 0
    ).mean() > 0.999


def test_ct_without_solid_metal_or_contrast_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="deep in solid metal"):
        read_print_ct(_ball_ct(tmp_path / "small.nii.gz", 1.2, 20.0))
    with pytest.raises(InputError):
        read_print_ct(_ball_ct(tmp_path / "noisy.nii.gz", 14.0, 1500.0))


def test_config_names_what_does_not_fit() -> None:
    limits = LIMITS.model_dump()
    good = [{"id": "r1", "kind": "surface"}, {"id": "r2", "kind": "ct", "series": "print_r2"}]
    assert len(InspectConfig.model_validate({**limits, "revisions": good}).revisions) == 2
    for wrong, message in (
        ([good[0], good[0]], "listed twice"),
        ([{"id": "r1", "kind": "ct"}], "name its series"),
        ([{"id": "r1", "kind": "surface", "series": "x"}], "of kind surface"),
        ([{"id": "r1", "kind": "ct", "series": "x", "file": "scan.stl"}], "of kind ct"),
        ([], "at least 1"),
    ):
        with pytest.raises(ValidationError, match=message):
            InspectConfig.model_validate({**limits, "revisions": wrong})
    for key in limits:
        with pytest.raises(ValidationError):
            InspectConfig.model_validate({**{k: v for k, v in limits.items() if k != key}, "revisions": good})
