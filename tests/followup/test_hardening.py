"""Bone's brightness behind titanium, against figures that can be worked out, and a lattice of known stray signal."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.followup.attenuation import linear_attenuation, sensitivity
from implantflow.followup.hardening import Beam, Rays, calibrated, local, rays_through


def _rays(metal_cm: float = 1.2, pores_cm: float = 2.8) -> Rays:
    body = np.linspace(22.0, 32.0, 40)
    spread = np.linspace(0.5, 1.5, 40)
    return Rays(body, metal_cm * spread, pores_cm * spread, np.tile([0.0, 1.0, 0.0], (40, 1)))


def test_water_reads_as_its_length() -> None:
    beam = Beam.of(120.0, 8.0)
    lengths = np.array([0.0, 10.0, 35.0])
    assert np.allclose(beam.read(lengths, 0.0 * lengths, 0.0 * lengths, 0.0), lengths, atol=1e-6)


def test_one_energy_needs_no_hardening() -> None:
    """A beam of a single energy shows bone and metal as their attenuation there, whatever lies behind."""
    energy = np.array([80.0])
    water, bone, metal = (linear_attenuation(name, energy) for name in ("water", "bone", "metal"))
    beam = Beam(np.ones(1), water, bone, metal)
    assert beam.bone_contrast_hu(_rays(), 0.0) == pytest.approx(
        1000.0 * float(bone[0] / water[0] - 1.0), rel=1e-6
    )
    assert beam.metal_contrast_hu(_rays(), 0.0) == pytest.approx(
        1000.0 * float(metal[0] / water[0] - 1.0), rel=1e-6
    )


def test_bone_behind_metal_adds_less_than_the_metal_suggests() -> None:
    beam = Beam.of(120.0, 8.0)
    shown = beam.metal_contrast_hu(_rays(), 0.0)
    one_energy = sensitivity(30.0 + 0.3 * shown, 0.3, 30.0, 0.01)
    share = beam.bone_contrast_hu(_rays(), 0.0) / (one_energy.bone_hu)
    assert 0.82 < share < 0.95
    stray = 0.15 * beam.median_signal(_rays())
    assert beam.bone_contrast_hu(_rays(), stray) < 0.9 * beam.bone_contrast_hu(_rays(), 0.0)


@pytest.mark.parametrize("left", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("filter_mm", [6.0, 8.0, 12.0])
def test_calibration_finds_the_stray_signal_and_holds_the_truth(left: float, filter_mm: float) -> None:
    """Another filter than assumed: the range, not the best value, must hold the true contrast."""
    rays, beam = _rays(), Beam.of(120.0, filter_mm)
    stray = left * beam.median_signal(rays)
    shown = beam.metal_contrast_hu(rays, stray)
    gauge = sensitivity(30.0 + 0.3 * shown, 0.3, 30.0, 0.01)
    found = calibrated(gauge, rays, 120.0, 30.0, 0.01)
    true = beam.bone_contrast_hu(rays, stray) - 30.0
    assert found.contrast_range_hu[0] < true < found.contrast_range_hu[1]
    if filter_mm == 8.0:
        assert found.bone_contrast_hu == pytest.approx(true, rel=0.03)
        assert found.stray_share == pytest.approx(left, abs=0.02)


def test_rays_through_a_block_in_a_slab() -> None:
    """A cube of 40 mm with a quarter of metal in a body 200 mm wide and endless along y."""
    core = np.array([[0.0, 0.0, 0.0], [5.0, -5.0, 3.0]])

    def inside(places: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(places).max(axis=1) < 20.0)

    rays = rays_through(
        core,
        lambda places: 0.25 * inside(places),
        inside,
        lambda places: np.where(np.abs(places[:, 0]) < 100.0, 1.05, 0.0),
    )
    assert np.allclose(rays.metal_cm, rays.pores_cm / 3.0)
    # The shortest way is across: 40 mm of the block, 200 mm of the body.
    assert rays.metal_cm.min() == pytest.approx(1.0, abs=0.08)
    assert rays.body_cm.min() == pytest.approx(21.0, rel=0.05)


def _long_block() -> Rays:
    """Rays through a lattice much longer along x than along y; three directions, 40 rays each."""
    along = np.repeat(np.array([[1.0, 0.0, 0.0], [0.7071, 0.7071, 0.0], [0.0, 1.0, 0.0]]), 40, axis=0)
    length = np.repeat([8.0, 5.0, 2.0], 40)
    return Rays(np.full(120, 28.0), 0.3 * length, 0.7 * length, along)


def test_a_layer_shows_as_bright_as_the_rays_along_it_allow() -> None:
    rays = _long_block()
    below = local(rays, rays, np.array([1.0, 0.0, 0.0]), 120.0, 0.2)
    beside = local(rays, rays, np.array([0.0, 1.0, 0.0]), 120.0, 0.2)
    assert below.evenly == beside.evenly == pytest.approx(1.0)
    assert below.layered > 1.2 and beside.layered < 0.95
    short = rays.along_layer(np.array([1.0, 0.0, 0.0]))
    assert len(short.body_cm) == 40 and short.metal_cm == pytest.approx(0.6)


def test_a_face_that_looks_up_has_no_layers_within_a_slice() -> None:
    rays = _long_block()
    found = local(rays, rays, np.array([0.0, 0.6, 0.8]), 120.0, 0.2)
    assert found.layered == found.evenly


@pytest.mark.parametrize("left", [0.1, 0.3])
def test_more_stray_signal_darkens_the_lattice_as_foretold(left: float) -> None:
    rays, beam = _long_block(), Beam.of(120.0, 8.0)
    unit = beam.median_signal(rays)
    found = local(rays, rays, None, 120.0, left)
    darker = beam.level_hu(rays, left * unit) - beam.level_hu(rays, 1.15 * left * unit)
    assert 0.15 * found.stray_hu == pytest.approx(darker, rel=0.05) and darker > 10.0
    assert local(rays, rays, None, 120.0, 0.0).stray_hu == 0.0
