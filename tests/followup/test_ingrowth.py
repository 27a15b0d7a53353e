"""Sensitivity and interval of bone in the pores, against figures that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.followup.attenuation import sensitivity
from implantflow.followup.evenness import block_error, unevenness
from implantflow.followup.found import Protocol
from implantflow.followup.hardening import Local
from implantflow.followup.ingrowth import (
    BANDS_MM,
    Region,
    Sampled,
    bands,
    change,
    not_determinable,
)
from implantflow.followup.interval import Doubts, Errors, Shown, share_of_bone
from implantflow.followup.sampling import smooth
from implantflow.followup.struts import shift_error_hu, strut_shift_mm
from implantflow.volumes import Volume

DOUBTS = Doubts(
    fluid_hu=30.0, blood_hu=70.0, fat_hu=-90.0, drift_hu=10.0, stray_drift=0.15, metal_share_error=0.01
)
CORE = Shown(Local(evenly=1.0, layered=1.0, stray_hu=0.0))


def _region(count: int = 4000) -> Region:
    places = np.random.default_rng(1).uniform(0, 60, (count, 3))
    return Region(places, np.ones(count, bool), np.full(count, -1), np.full(count, np.inf))


def _change(delta: float, noise: float = 50.0, drift: float = 0.0, shown: Shown = CORE) -> dict:
    region, rng = _region(), np.random.default_rng(2)
    base = 2000.0 + rng.normal(0, 300, len(region.places))
    now = base + delta + rng.normal(0, noise, len(base))
    gauge = sensitivity(2000.0, 0.30, 30.0, 0.01)
    sampled = Sampled(now, base, np.full(len(base), 0.3))
    return change(region, sampled, np.ones(len(base), bool), DOUBTS, gauge, shown, 0.0, 1.0, drift)


def test_sensitivity_lies_where_simulations_put_it() -> None:
    # Two simulated scanners: 35 % titanium showing 2182 HU gave 62 HU per 0.10 bone; 25 % showing 1818 gave 86.
    dense, loose = sensitivity(2182.0, 0.35, 30.0, 0.01), sensitivity(1818.0, 0.25, 0.0, 0.01)
    assert dense.low < 620.0 < dense.high and 600 < dense.hu_per_share < 760
    assert loose.low < 860.0 < loose.high
    assert 55.0 < dense.metal_hu / 100.0 < 70.0
    assert dense.energy_kev > loose.energy_kev


def test_lattice_that_is_none_is_refused() -> None:
    with pytest.raises(GeometryError, match="no X-ray energy"):
        sensitivity(300.0, 0.30, 30.0, 0.01)


def test_interval_holds_what_fat_would_hide_and_what_blood_would_feign() -> None:
    found = _change(80.0)
    low, high = found["interval"]
    same_low, same_high = found["interval_same_filler"]
    assert low < same_low < found["delta_bone_fraction"] < same_high < high
    # 70 % pores: blood to fat is 112 HU, fluid to blood 28; about a tenth of the pore space in bone.
    assert found["filler_doubt_fraction"] == pytest.approx([28.0 / 780.0, 112.0 / 780.0], abs=0.03)
    assert found["interval"] == pytest.approx(
        [same_low - found["filler_doubt_fraction"][0], same_high + found["filler_doubt_fraction"][1]]
    )
    assert found["delta_hu"] == pytest.approx(80.0, abs=4.0)


def test_interval_grows_with_what_is_not_known() -> None:
    def width(found: dict) -> float:
        return found["interval_same_filler"][1] - found["interval_same_filler"][0]

    assert width(_change(80.0, drift=40.0)) > width(_change(80.0))
    assert width(_change(200.0)) > width(_change(20.0))


def test_stray_signal_that_differs_moves_the_whole_lattice() -> None:
    moved = _change(0.0, shown=Shown(Local(1.0, 1.0, stray_hu=400.0)))
    assert moved["error_hu"]["stray"] == pytest.approx(60.0)
    low, high = moved["interval_same_filler"]
    # 60 HU of 70 % pores at about 1100 HU of bone.
    assert high - low > 2 * 60.0 / (0.7 * 1300.0)
    still = _change(0.0)["interval_same_filler"]
    assert low < still[0] and high > still[1]


def test_a_layer_is_read_by_its_own_contrast_and_the_core_by_its() -> None:
    evenly, layered, contrast = 0.9, 1.5, 800.0
    core, more = 0.05, 0.2
    hu = contrast * (core * evenly + more * layered)
    shown = Shown(Local(evenly, layered, 0.0), core_fraction=core, core_error=0.02)
    assert shown.fraction(hu, contrast) == pytest.approx(core + more)
    # Half of the way to what bone spread evenly would be, and the errors of both readings.
    wrong = hu / (evenly * contrast) - core - more
    least = 30.0 / (layered * contrast) + 0.02 * (1 - evenly / layered)
    assert shown.error(30.0, hu, contrast) == pytest.approx(np.hypot(least, 0.5 * wrong))
    assert CORE.fraction(160.0, contrast) == pytest.approx(0.2)
    assert CORE.error(16.0, 160.0, contrast) == pytest.approx(0.02)


@pytest.mark.parametrize("hu", [120.0, -120.0])
def test_errors_of_reading_and_of_contrast_add_in_squares(hu: float) -> None:
    gauge = sensitivity(2000.0, 0.30, 30.0, 0.01)
    found = share_of_bone(0.7 * hu, 0.7, Errors(30.0, 40.0, 0.0, 0.0, 0.0), DOUBTS, gauge, CORE)
    fraction, reading = hu / gauge.bone_contrast_hu, 50.0 / 0.7 / gauge.bone_contrast_hu
    other = sorted(hu / contrast - fraction for contrast in gauge.contrast_range_hu)
    assert other[0] < 0.0 < other[1]
    assert found["interval_same_filler"] == pytest.approx(
        [fraction - np.hypot(reading, other[0]), fraction + np.hypot(reading, other[1])]
    )


def test_clipped_places_make_it_not_determinable() -> None:
    region = _region()
    base = np.full(len(region.places), 2000.0)
    now = np.where(np.arange(len(base)) % 5 == 0, 2000.0, np.nan)
    gauge = sensitivity(2000.0, 0.30, 30.0, 0.01)
    found = change(
        region, Sampled(now, base, base), np.ones(len(base), bool), DOUBTS, gauge, CORE, 0.0, 0.0, 0.0
    )
    assert found["status"] == "not determinable" and found["delta_bone_fraction"] is None
    assert not_determinable("why")["reason"] == "why"


def _struts() -> tuple[Region, Volume]:
    """A periodic share of metal on a grid of 0.5 mm, and places in it."""
    axis = 2.0 * np.pi * np.arange(80) * 0.5 / 4.0
    share = 0.2 + 0.05 * (np.cos(axis)[:, None, None] + np.sin(axis)[:, None] + np.cos(axis))
    region = _region()
    return Region(5.0 + region.places / 2.0, *(region.core, region.face, region.depth_mm)), Volume(
        share.astype(np.float32), np.diag([0.5, 0.5, 0.5, 1.0])
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.5), (0.4, -0.3, 0.1)])
def test_struts_off_their_pose_are_noticed_whatever_has_grown(shift: tuple[float, float, float]) -> None:
    region, volume = _struts()
    model, rng = smooth(volume), np.random.default_rng(3)
    share = model.values(region.places)
    grown = 80.0 + 3.0 * region.places[:, 2]
    base = 100.0 + 3000.0 * share + rng.normal(0, 40, len(share))
    now = 100.0 + 3000.0 * model.values(region.places - np.array(shift)) + grown
    found = strut_shift_mm(region, Sampled(now, base, share), model, 1.0)
    assert found == pytest.approx(shift, abs=0.06)
    low = share < 0.15
    moved = float((now - grown - base)[low].mean())
    assert shift_error_hu(region.places[low], model, found, 3000.0) == pytest.approx(moved, abs=25.0)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.1)])
def test_thicker_struts_where_shading_is_darkest_are_no_shift(shift: tuple[float, float, float]) -> None:
    region, volume = _struts()
    # Struts grow by a third over the lattice, and the lattice darkens by more than they brighten it.
    along = 1.0 + 0.03 * (np.arange(80) * 0.5 - 20.0) / 2.0
    volume = Volume((volume.array * along).astype(np.float32), volume.affine_lps)
    model, rng = smooth(volume), np.random.default_rng(3)
    dark = -60.0 * region.places[:, 0]
    share = model.values(region.places)
    base = 1500.0 + 3000.0 * share + dark + rng.normal(0, 40, len(share))
    now = 1500.0 + 3000.0 * model.values(region.places - np.array(shift)) + dark + 80.0
    assert np.polyfit(share, base, 1)[0] < 1000.0
    found = strut_shift_mm(region, Sampled(now, base, share), model, 1.0)
    assert found == pytest.approx(shift, abs=0.06)


def test_a_scan_that_does_not_show_struts_says_nothing_of_their_place() -> None:
    region, volume = _struts()
    model, rng = smooth(volume), np.random.default_rng(3)
    base, now = (1500.0 + rng.normal(0, 200, len(region.places)) for _ in range(2))
    assert not strut_shift_mm(region, Sampled(now, base, model.values(region.places)), model, 1.0).any()


def test_a_shift_widens_the_interval() -> None:
    region, rng = _region(), np.random.default_rng(2)
    base = 2000.0 + rng.normal(0, 300, len(region.places))
    sampled, every = Sampled(base + 80.0, base, np.full(len(base), 0.3)), np.ones(len(base), bool)
    gauge = sensitivity(2000.0, 0.30, 30.0, 0.01)
    still, moved = (
        change(region, sampled, every, DOUBTS, gauge, CORE, 0.0, 1.0, 0.0, off)["error_hu"]["all"]
        for off in (0.0, -30.0)
    )
    assert moved == pytest.approx(still + 30.0)


def test_uneven_bands_are_read_together() -> None:
    class Named:
        name, mates_with = "face", "hip"

    region = _region()
    region = Region(region.places, region.core, np.zeros(len(region.places), int), np.linspace(0, 8, 4000))
    uneven = {1000.0}  # places per mm of depth are 500: the second band alone

    def make(chosen: np.ndarray, number: int) -> dict:
        return {"status": "determined", "noise_limited": round(float(chosen.sum()), -3) in uneven}

    found = bands(region, [Named()], ["hip"], make)["face"]  # type: ignore[list-item]
    assert [(b["from_mm"], b["to_mm"]) for b in found] == [BANDS_MM[0], (2.0, 8.0), BANDS_MM[-1]]
    everything = bands(region, [Named()], ["hip"], lambda chosen, number: {"noise_limited": True})["face"]  # type: ignore[list-item]
    # What lies deep is no part of the layers below the face, however uneven they are.
    assert [(b["from_mm"], b["to_mm"]) for b in everything] == [(1.0, 8.0), BANDS_MM[-1]]
    assert all(band["noise_limited"] for band in everything)
    disc = bands(region, [Named()], ["remaining_bone"], make)["face"]  # type: ignore[list-item]
    assert [(b["from_mm"], b["to_mm"], b["status"]) for b in disc] == [(1.0, 16.0, "not determinable")]


def _shaded(rng: np.random.Generator, places: np.ndarray, sd: float) -> np.ndarray:
    """What differs from cube to cube of 10 mm, and noise."""
    cell = np.floor(places / 10.0).astype(int)
    return np.asarray(rng.normal(0, sd, (7, 7, 7))[tuple(cell.T)] + rng.normal(0, 50, len(places)))


def test_a_few_cubes_borrow_the_unevenness_of_the_rest() -> None:
    """The true mean is zero: the standard error has to be that of the means over draws, also over two cubes."""
    rng, places = np.random.default_rng(5), _region(8000).places
    group, small = np.zeros(len(places), int), (places < [10.0, 10.0, 20.0]).all(axis=1)
    means, stated, alone = [], [], []
    for _ in range(200):
        shaded = _shaded(rng, places, 20.0)
        usual = unevenness(shaded, places, group)
        means.append(shaded[small].mean())
        stated.append(block_error(shaded[small], places[small], usual))
        alone.append(abs(np.diff([shaded[small & (places[:, 2] < 10)].mean(), shaded[small].mean()])[0]))
    assert np.mean(np.abs(means) < 1.96 * np.array(stated)) == pytest.approx(0.95, abs=0.04)
    assert np.mean(np.abs(means) < 1.96 * np.array(alone)) < 0.85


def test_what_differs_from_face_to_face_is_no_unevenness() -> None:
    rng, places = np.random.default_rng(5), _region(8000).places
    group = (places[:, 0] > 30.0).astype(int)
    shaded = _shaded(rng, places, 20.0)
    assert unevenness(shaded + 300.0 * group, places, group) == pytest.approx(
        unevenness(shaded, places, group), rel=0.05
    )
    assert unevenness(shaded + 300.0 * group, places, 0 * group) > 100.0


def test_protocols_must_agree() -> None:
    one = Protocol(120.0, "SOFT", 1.0, "A b", 0.7, "none")
    assert one.differences(one) == []
    assert len(one.differences(Protocol(100.0, None, 2.0, "C d", 0.9, "unknown"))) == 6
    manifest = {"spacing_mm": [0.7, 0.7, 1.0], "header": {"kvp": 120.0, "kernel": "SOFT"}}
    read = Protocol.of(manifest, "none")
    assert read == Protocol(120.0, "SOFT", 1.0, None, 0.7, "none") and one.differences(read) == []
    bare = Protocol.of({"spacing_mm": [1, 1, 1], "header": {}}, "none")
    assert "kVp unknown" in bare.differences(one)


def test_artefact_reduction_on_both_sides_is_no_agreement() -> None:
    reduced = Protocol(120.0, "SOFT", 1.0, "A b", 0.7, "applied")
    assert reduced.differences(reduced) == [
        "metal artefact reduction applied at the baseline",
        "metal artefact reduction applied now",
    ]
