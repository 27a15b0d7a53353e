"""A person's word: strokes and edited maps decide where the image misleads, and the cut follows them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from implantflow.config.segment import Stroke
from implantflow.errors import ConfigError
from implantflow.segment.cut import Prices, two_way_cut
from implantflow.segment.labels import HIP_LEFT, L5, OTHER, SACRUM
from implantflow.segment.strokes import both, edits, paint
from implantflow.segment.surface import candidate
from implantflow.volumes import Volume


def grid(shape: tuple[int, ...] = (20, 24, 40)) -> Volume:
    affine = np.eye(4)
    affine[:3, 3] = (-10.0, 5.0, 900.0)
    return Volume(np.full(shape, 700.0, np.float32), affine)


def stroke(bone: str, *points: tuple[float, float, float], radius_mm: float = 1.2) -> Stroke:
    return Stroke.model_validate(
        {"bone": bone, "points_lps_mm": list(points), "radius_mm": radius_mm, "reason": "looked at"}
    )


def test_a_stroke_marks_its_line_and_frees_its_surroundings() -> None:
    said = paint([stroke("sacrum", (0.0, 15.0, 910.0), (8.0, 15.0, 910.0))], grid())
    marked = np.argwhere(said.codes == SACRUM)
    assert (marked.min(axis=0) == (9, 9, 9)).all() and (marked.max(axis=0) == (11, 11, 19)).all()
    assert said.codes[10, 10, 10:19].all()
    assert said.near[10, 10, 24] and not said.near[10, 10, 30]


def test_marrow_behind_a_thin_cortex_is_bone_once_it_is_painted() -> None:
    """A tube whose wall has a slit of 8 mm, wider than is closed: its marrow lies outside until someone paints it."""
    hu = grid((30, 30, 40))
    hu.array[:] = 20.0
    k, j, i = np.indices(hu.array.shape)
    wall = np.maximum(np.abs(k - 15), np.abs(j - 15))
    hu.array[(wall >= 6) & (wall <= 7) & (i > 4) & (i < 35)] = 800.0
    hu.array[(wall <= 7) & ((i == 5) | (i == 34))] = 800.0
    hu.array[k < 10] = np.where((k < 10) & (np.abs(j - 15) < 5), np.float32(60.0), hu.array)[k < 10]
    bright = hu.array >= 226.0
    own, nobody = bright.copy(), np.zeros(bright.shape, bool)
    marrow = (wall <= 5) & (i > 5) & (i < 34)
    assert candidate(hu, own, nobody, bright, None).solid[marrow].mean() < 0.5
    # A line along the slit, as thick as its wall was: the rest is enclosed by it.
    lines = [
        stroke("l5", (-4.0, y, 908.5), (24.0, y, 908.5), radius_mm=1.2)
        for y in (16.0, 18.0, 20.0, 22.0, 24.0)
    ]
    said = paint(lines, hu)
    filled = candidate(hu, own | said.bone, nobody, bright | said.bone, None).solid
    assert filled[marrow].all()
    assert not filled[:, :3].any() and not filled[:5].any()
    assert not paint([stroke("other_bone", (0.0, 20.0, 910.0))], hu).bone.any()


def test_a_stroke_moves_the_cut_that_the_image_put_in_a_false_gap() -> None:
    """Two dark sheets: the darker one is a cleft inside the first bone, as a person sees."""
    hu = grid()
    hu.array[:, :, 14], hu.array[:, :, 24] = 60.0, 250.0
    prices = Prices(hu.array, hu.array, 0.8, np.ones(3), 12.0)
    lean = np.broadcast_to((18.5 - np.arange(40.0)).astype(np.float32), hu.array.shape).copy()
    domain = np.ones(hu.array.shape, bool)
    before = two_way_cut(domain, lean, 8.0, prices)
    assert before[10, 12].sum() in (14, 15)
    lines = [((11.0 - 2, y, z), (11.0, y, z)) for y in (8.0, 17.0, 26.0) for z in (902.0, 910.0, 918.0)]
    said = paint([stroke("sacrum", *line) for line in lines], hu)
    after = two_way_cut(domain, said.steer(lean, 8.0, (SACRUM,), domain), 8.0, prices)
    assert (said.codes == 0).mean() > 0.95  # few voxels were said, the cut did the rest
    assert after[10, 12].sum() in (24, 25) and after.sum() > before.sum() + 0.9 * 9 * 20 * 24


def test_the_other_side_is_fixed_too_and_far_away_nothing_changes() -> None:
    hu = grid()
    lean = np.broadcast_to((18.5 - np.arange(40.0)).astype(np.float32), hu.array.shape).copy()
    domain = np.ones(hu.array.shape, bool)
    said = paint([stroke("hip_left", (-6.0, 15.0, 910.0))], hu)
    steered = said.steer(lean, 4.0, (SACRUM,), domain)
    assert (steered[said.codes == HIP_LEFT] == -8.0).all()
    assert (steered[~said.near] == lean[~said.near]).all()
    assert np.abs(steered[said.near & (said.codes == 0)]).max() < 4.0


def test_slips_are_refused_by_place() -> None:
    with pytest.raises(ConfigError, match="outside"):
        paint([stroke("sacrum", (0.0, 15.0, 400.0))], grid())
    crossing = [stroke("l5", (0.0, 15.0, 910.0)), stroke("sacrum", (0.0, 15.0, 910.0))]
    with pytest.raises(ConfigError, match="crosses") as caught:
        paint(crossing, grid())
    assert "corrections[1]" in str(caught.value)
    with pytest.raises(ValidationError):
        stroke("skull", (0.0, 0.0, 0.0))
    with pytest.raises(ValidationError):
        Stroke(bone="l5", points_lps_mm=[], reason="nothing")


def test_an_edited_map_counts_where_it_says_otherwise_and_its_rim_does_not() -> None:
    hu = grid()
    region = np.zeros(hu.array.shape, np.uint8)
    region[4:16, 4:20, 4:20], region[4:16, 4:20, 20:36] = SACRUM, HIP_LEFT
    edited = region.copy()
    edited[4:16, 4:20, 18:20] = HIP_LEFT  # moved border
    edited[4, 4, 4:6] = 0  # a rim
    edited[4:16, 4:20, 30:36] = 0  # erased: bone of nobody
    said = edits(edited, region, hu)
    assert (said.codes[4:16, 4:20, 18:20] == HIP_LEFT).all()
    assert said.codes[4, 4, 4:6].sum() == 0
    assert (said.codes[4:16, 4:20, 33:36] == OTHER).all() and not (said.codes[:, :, 20:30]).any()
    over = both(paint([stroke("l5", (8.5, 15.0, 910.0))], hu), said)
    assert over.codes[10, 10, 19] == L5 and over.codes[10, 14, 19] == HIP_LEFT
