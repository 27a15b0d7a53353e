"""Outlines whose voxels were mirrored or permuted while their header was not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from implantflow.errors import GeometryError
from implantflow.tumour.orientation import doubt, orientation_fit, refuse_turned
from implantflow.volumes import Volume

SHAPE = (26, 60, 72)
AFFINE = np.diag([1.5, 1.5, 4.0, 1.0])


def scene(
    centre: tuple[float, float, float],
    contrast: float = 260.0,
    seed: int = 1,
    shape: tuple[int, int, int] = SHAPE,
) -> tuple[Volume, Volume]:
    """(mask, image): a bright ellipsoid about ``centre`` (k, j, i) in patchy tissue with noise."""
    rng = np.random.default_rng(seed)
    affine = AFFINE.copy()
    affine[:3, 3] = (-40.0, 20.0, -500.0)
    steps = np.stack(np.indices(shape), axis=-1) - np.array(centre)
    inside = np.linalg.norm(steps * [4.0, 1.5, 1.5] / [20.0, 13.0, 16.0], axis=-1) <= 1
    patchy = ndimage.gaussian_filter(rng.standard_normal(shape), (1.5, 4, 4))
    image = 120 + 50 * patchy / patchy.std() + 8 * rng.standard_normal(shape)
    image += contrast * ndimage.gaussian_filter(inside.astype(float), 0.6)
    return Volume(inside, affine), Volume(np.clip(image, 0, 4000).astype(np.int16), affine)


@pytest.mark.parametrize("seed", range(4))
def test_right_outline_is_confirmed(seed: int) -> None:
    fit = orientation_fit(*scene((9, 24, 50), seed=seed))
    assert fit.verdict == "as the file says" and not fit.not_ruled_out and fit.coherence > 0.8


@pytest.mark.requirement("tumour-mask-mirrored")
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_mirrored_outline_is_refused(axes: tuple[int, ...]) -> None:
    mask, image = scene((9, 24, 50))
    names = [("slices", "rows", "columns")[a] for a in sorted(axes, reverse=True)]
    with pytest.raises(GeometryError, match=rf"better with {' and '.join(names)} reversed"):
        refuse_turned(mask.like(np.ascontiguousarray(np.flip(mask.array, axes))), image, "tumour")


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_permuted_outline_is_refused(order: tuple[int, int, int]) -> None:
    mask, image = scene((17, 12, 38), shape=(48, 48, 48))
    with pytest.raises(GeometryError, match="exchanged"):
        refuse_turned(mask.like(np.ascontiguousarray(mask.array.transpose(order))), image, "tumour")


@pytest.mark.parametrize("seed", range(4))
def test_symmetric_outline_is_never_refused(seed: int) -> None:
    """Half a voxel off the middle of the grid every copy covers the same tissue: nothing is told, and that is said."""
    mask, image = scene((12.7, 29.9, 35.8), seed=seed)
    fit = refuse_turned(mask, image, "tumour")
    assert fit.verdict == "cannot be determined" and len(fit.not_ruled_out) == 7
    assert min(fit.not_ruled_out.values()) > 0.85
    assert "columns reversed" in doubt("diagnosis", fit.as_json())[0]


def test_image_without_an_edge_tells_nothing() -> None:
    """Neither confirmed nor refused, for any of eight placements in twelve images of patchy tissue."""
    for seed in range(12):
        mask, image = scene((9, 24, 50), contrast=0.0, seed=seed)
        for axes in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
            fit = orientation_fit(mask.like(np.ascontiguousarray(np.flip(mask.array, axes))), image)
            assert fit.verdict == "cannot be determined", (seed, axes, fit)
            assert doubt("diagnosis", fit.as_json())


def test_cropped_map_is_judged_on_its_own_grid() -> None:
    """A program flips the voxels of the file: of a cropped map, within the crop."""
    mask, image = scene((9, 24, 50))
    crop = np.s_[3:26, 10:58, 8:68]
    affine = mask.affine_lps.copy()
    affine[:3, 3] = mask.index_to_lps([[8, 10, 3]])[0]
    own = Volume(mask.array[crop], affine)
    assert "columns reversed" not in refuse_turned(own, image, "tumour").not_ruled_out
    with pytest.raises(GeometryError, match="columns reversed"):
        refuse_turned(own.like(np.ascontiguousarray(own.array[:, :, ::-1])), image, "tumour")
