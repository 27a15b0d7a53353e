"""The simulated scanner's parts against what is known of them: spectrum, cells, rays, reconstruction, HU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from implantflow.errors import GeometryError, InputError
from implantflow.phantom.followup import coverage_kernels as coverage
from implantflow.phantom.followup import projector_kernels as projector
from implantflow.phantom.followup.anatomy import Anatomy
from implantflow.phantom.followup.cells import calibrated_shift_mm, cell_table, metal_fraction
from implantflow.phantom.followup.hardware import cylinder, moved, screws
from implantflow.phantom.followup.materials import SOFT_HU, basis_of_hu
from implantflow.phantom.followup.scan import Patient, Scanner, scan_patient, scan_protocols
from implantflow.phantom.followup.spectrum import (
    TITANIUM_FIRST_CM,
    TITANIUM_STEP_CM,
    WATER_FIRST_CM,
    WATER_STEP_CM,
    attenuation_per_cm,
    physics,
    spectrum,
)

INSERTS = {-90.0: (30.0, 0.0), 55.0: (0.0, 30.0), 300.0: (-30.0, 0.0), 900.0: (0.0, -30.0)}


def test_attenuation_is_that_of_published_tables() -> None:
    """NIST at 60 keV, cm2/g: water 0.2059, cortical bone (ICRU 44) 0.3148; Ti, Al, V 0.7661, 0.2778, 0.833."""
    at = np.array([60.0])
    assert attenuation_per_cm("water", at)[0] == pytest.approx(0.2059, rel=0.02)
    assert attenuation_per_cm("bone", at)[0] == pytest.approx(0.3148 * 1.92, rel=0.02)
    assert attenuation_per_cm("titanium", at)[0] == pytest.approx(0.739 * 4.43, rel=0.02)


def test_bone_is_water_and_titanium_to_a_thousandth_of_the_signal() -> None:
    found = physics(120.0)
    energies, weights = spectrum(120.0)
    water, bone, titanium = (attenuation_per_cm(m, energies) for m in ("water", "bone", "titanium"))
    for lengths in ((20.0, 0.0), (20.0, 2.0), (25.0, 5.0), (10.0, 8.0)):
        exact = -np.log((weights * np.exp(-water * lengths[0] - bone * lengths[1])).sum())
        mixed = (
            water * (lengths[0] + found.bone_water * lengths[1]) + titanium * found.bone_titanium * lengths[1]
        )
        assert -np.log((weights * np.exp(-mixed)).sum()) == pytest.approx(exact, abs=0.007), lengths


def test_transmission_table_holds_the_spectrum() -> None:
    found = physics(120.0)
    energies, weights = spectrum(120.0)
    water, titanium = attenuation_per_cm("water", energies), attenuation_per_cm("titanium", energies)
    for cm_water, cm_titanium in ((0.0, 0.0), (30.0, 0.0), (18.0, 1.5), (25.0, 4.0)):
        i = round((cm_water - WATER_FIRST_CM) / WATER_STEP_CM)
        j = round((cm_titanium - TITANIUM_FIRST_CM) / TITANIUM_STEP_CM)
        exact = (weights * np.exp(-water * cm_water - titanium * cm_titanium)).sum()
        assert found.transmission[i, j] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("cell", "strut"), [("diamond", 0.67), ("gyroid", 0.5)])
def test_cells_are_those_of_the_field(cell: str, strut: float) -> None:
    """Two independent formulas, the simulator's and the field's, agree at every node."""
    from implantflow.field.cells import cell_value

    table = cell_table(cell, 2.5, strut)
    n = len(table)
    k, j, i = (axis.ravel() * 2.5 / n for axis in np.indices(table.shape))
    assert np.abs(cell_value(cell, 2.5, strut, np.column_stack([i, j, k])) - table.ravel()).max() < 1e-4


def test_coverage_is_calibrated_to_the_true_fraction() -> None:
    table = cell_table("diamond", 2.5, 0.67)
    for box in (0.2, 0.3):
        shifted = np.clip(0.5 - (table + calibrated_shift_mm(table, 2.5, box)) / box, 0, 1).mean()
        assert shifted == pytest.approx(metal_fraction(table, 2.5), abs=1e-6)
    assert metal_fraction(table, 2.5) == pytest.approx(0.2963, abs=5e-4)


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(InputError, match="kelvin"):
        cell_table("kelvin", 2.5, 0.5)


def test_chord_of_a_tilted_cylinder() -> None:
    """All rays of one view across a cylinder add up to its cross-section; one ray is known exactly."""
    axis = np.array([0.6, 0.5, 0.2])
    axis /= np.linalg.norm(axis)
    rod = np.concatenate([-20 * axis, axis, [40.0], [3.0]])[None]
    out = np.zeros((2, 900, 16), np.float32)
    z = np.linspace(-12, 12, 8)
    projector.add_cylinders(rod, z, np.array([0.0, 0.7]), np.full(2, -45.0), 0.1, out)
    # The cut at height z is an ellipse of area pi r^2 / |axis z|, away from the caps.
    middle = np.abs(z) < 6.5 * axis[2] * 3
    area = out[:, :, 1::2].sum(1) * 10 * 0.1
    assert np.allclose(area[:, middle], np.pi * 9 / axis[2], rtol=0.25)
    level = np.concatenate([[-30.0, 0.0, 0.0], [1.0, 0, 0], [60.0], [4.0]])[None]
    flat = np.zeros((1, 3, 16), np.float32)
    projector.add_cylinders(level, np.zeros(8), np.array([np.pi / 2]), np.array([-0.5]), 0.5, flat)
    assert flat[0, 1, 1] == pytest.approx(6.0)


def test_projection_keeps_mass_at_every_angle() -> None:
    rng = np.random.default_rng(2)
    image = np.zeros((40, 50, 16), np.float32)
    image[8:32, 10:40] = rng.random((24, 30, 16), dtype=np.float32)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    spans = []
    for part in (image, turned):
        ends = np.zeros((2, len(part)), np.int64)
        projector.spans(part, ends[0], ends[1])
        spans.append(ends)
    angles = np.linspace(0.01, 3.1, 24)
    out = np.zeros((24, 800, 16), np.float32)
    corner = np.array([-24.5, -19.5])
    projector.project(image, turned, *spans, corner, 1.0, angles, np.full(24, -40.0), 0.1, out)
    mass = out.sum(1) * 10 * 0.1
    assert np.allclose(mass, image.sum((0, 1)), rtol=0.002)


def test_screws_of_the_plan() -> None:
    corridors = [
        {
            "name": "a",
            "kind": "implant_s1",
            "start_lps_mm": [0, 0, 0],
            "end_lps_mm": [0, 0, 30],
            "diameter_mm": 6.5,
        },
        {
            "name": "b",
            "kind": "iliac",
            "start_lps_mm": [5, 0, 0],
            "end_lps_mm": [5, 60, 0],
            "diameter_mm": 7.5,
        },
    ]
    own, pelvis = screws(corridors, (12.0, 8.0), {})
    assert own.tolist() == [[0, 0, 0, 0, 0, 1, 30, 3.25]]
    assert pelvis.shape == (2, 8)
    assert pelvis[1].tolist() == [5, -8, 0, 0, 1, 0, 8, 6]
    assert screws(corridors, (0.0, 0.0), {})[1].shape == (1, 8)
    quarter = np.array([[0.0, -1, 0, 2], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert np.allclose(moved(own[:, :8], quarter)[0, :3], [2, 0, 0])
    assert np.allclose(cylinder(np.zeros(3), np.array([0.0, 2, 0]), 4.0), [0, 0, 0, 0, 1, 0, 2, 2])


def disc_with_inserts() -> Anatomy:
    """A round body of 0 HU and 70 mm radius with an insert of 9 mm radius for each of the HU."""
    j, i = np.indices((152, 152)) - 75.5
    plane = np.where(np.hypot(i, j) < 70, 0.0, -1000.0)
    for hu, (x, y) in INSERTS.items():
        plane[np.hypot(i - x, j - y) < 9] = hu
    affine = np.eye(4)
    affine[:3, 3] = [-75.5, -75.5, -10.0]
    turn = np.linspace(0, 2 * np.pi, 60)
    rim = np.column_stack([70 * np.cos(turn), 70 * np.sin(turn), np.zeros(60)])
    return Anatomy(np.repeat(plane[None], 30, axis=0).astype(np.int16), affine, rim)


def nothing_operated(anatomy: Anatomy, **screws: np.ndarray) -> Patient:
    """A patient without an implant: every table of the operation is empty or far away."""
    found = physics(120.0)
    grid, far = np.full((2, 2, 2), 30000, np.int16), np.full(3, 1e4)
    none = np.zeros((0, 8))
    zero, ints = np.zeros(0), np.zeros(0, np.int64)
    return Patient(
        anatomy=anatomy,
        scan_from_planning=np.eye(4),
        scan_from_build=np.eye(4),
        implant=coverage.Implant(grid, grid, far, 0.5, 1e-4, np.zeros((3, 3, 3), np.float32), 2.5, 0.0, none),
        beside=coverage.Beside(
            far,
            1.0,
            2.0,
            np.zeros((0, 2, 2, 2), np.float32),
            ints,
            zero,
            zero,
            np.zeros((2, 2, 2), np.float32),
        ),
        bed=coverage.Bed(np.zeros((2, 2, 2), np.uint8), far, 0.5, np.zeros((0, 6)), 1.0),
        materials=coverage.Materials(
            SOFT_HU, found.bone_hu, found.bone_water, found.bone_titanium, 1.03, 1.02
        ),
        screws=screws.get("screws", none),
        operated_mm=np.array([[0.0, 0, -200.0], [1, 1, -199.0]]),
    )


SCANNER = Scanner(
    physics=physics(120.0),
    views=320,
    cell_mm=0.8,
    box_mm=0.3,
    anatomy_mm=1.0,
    photons=1e8,
    scatter_residual=0.0,
    kernel="soft",
    noise_key=(1, 2),
    pixel_mm=1.0,
    slice_mm=2.0,
    corner_mm=np.array([-59.5, -59.5, 0.0]),
    shape=(3, 120, 120),
)


def mean_at(plane: np.ndarray, x: float, y: float, radius: float = 5.0) -> float:
    j, i = np.indices(plane.shape) - 59.5
    return float(plane[np.hypot(i - x, j - y) < radius].mean())


def test_inserts_show_the_hu_they_were_made_of() -> None:
    hu = scan_patient(SCANNER, nothing_operated(disc_with_inserts()), 2)
    assert hu.dtype == np.int16 and hu.shape == SCANNER.shape
    assert mean_at(hu[1], 0, 0) == pytest.approx(0, abs=8)
    # A body narrower than the 20 cm the scale is made for hardens the beam less: bone shows some HU more.
    for value, place in INSERTS.items():
        assert mean_at(hu[1], *place) == pytest.approx(value, abs=max(8, 0.05 * value)), value
    # Outside the body there is air.
    assert mean_at(hu[1], -58, -58, 1.5) == pytest.approx(-1000, abs=25)


def test_a_screw_is_clipped_where_it_lies() -> None:
    rod = cylinder(np.array([10.0, -12.0, 1.0]), np.array([22.0, -12.0, 1.0]), 6.0)[None]
    hu = scan_patient(SCANNER, nothing_operated(disc_with_inserts(), screws=rod), 2)
    j, i = np.nonzero(hu[0] > 2500)
    assert hu.max() == 3071 and hu.min() >= -1024
    assert (i.mean() - 59.5, j.mean() - 59.5) == pytest.approx((16.0, -12.0), abs=0.4)


def test_noise_falls_with_photons_and_the_kernel() -> None:
    patient = nothing_operated(disc_with_inserts())

    def spread(**changes: object) -> float:
        return float(np.std(scan_patient(replace(SCANNER, **changes), patient, 2)[1, 55:65, 55:65]))

    few, many = spread(photons=1e5), spread(photons=1.6e6)
    assert few / many == pytest.approx(4.0, rel=0.5)
    assert spread(photons=1e5, kernel="sharp") > 1.6 * few


def test_scatter_left_in_darkens_the_middle() -> None:
    patient = nothing_operated(disc_with_inserts())
    clean = mean_at(scan_patient(SCANNER, patient, 2)[1], 0, 0)
    left = mean_at(scan_patient(replace(SCANNER, scatter_residual=1.0), patient, 2)[1], 0, 0)
    assert clean - 120 < left < clean - 5


def test_protocols_of_one_pass_are_what_each_would_be_alone() -> None:
    patient = nothing_operated(disc_with_inserts())
    thin = replace(
        SCANNER, physics=physics(140.0), kernel="sharp", slice_mm=1.0, shape=(6, 60, 60), noise_key=(3, 4),
        pixel_mm=2.0, corner_mm=np.array([-59.0, -59.0, -0.5]),
    )  # fmt: skip
    both = scan_protocols([SCANNER, thin], patient, 1)
    assert np.array_equal(both[0], scan_patient(SCANNER, patient, 1))
    assert np.array_equal(both[1], scan_patient(thin, patient, 1))
    with pytest.raises(GeometryError, match="one pass"):
        scan_protocols([SCANNER, replace(thin, views=160)], patient, 1)


def test_hu_to_basis_and_back() -> None:
    found = physics(120.0)
    air, water, bone = basis_of_hu([-1000, 0, found.bone_hu], found)
    assert air.tolist() == [0, 0] and water.tolist() == [1, 0]
    assert bone == pytest.approx([found.bone_water, found.bone_titanium])
    assert 1400 < found.bone_hu < 1800
