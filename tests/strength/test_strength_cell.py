"""Homogenisation against closed forms, symmetry and its own error bar; stress inside the cell."""

from __future__ import annotations

import numpy as np
import pytest
from strength_block import rotate_elasticity

from implantflow.errors import GeometryError
from implantflow.field.cells import occupancy
from implantflow.strength import element, homogenise
from implantflow.strength.localise import StrutStress

METAL = element.isotropic(112e3, 0.34)


def test_solid_is_exact() -> None:
    cell = homogenise.homogenise(np.ones((8, 8, 8)), METAL)
    assert cell.elasticity == pytest.approx(METAL, abs=1e-9 * METAL.max())
    constants = homogenise.engineering_constants(cell.elasticity)
    assert constants["e_z"] == pytest.approx(112e3, rel=1e-12)
    assert constants["poisson_xy"] == pytest.approx(0.34, rel=1e-9)
    assert constants["zener"] == pytest.approx(1.0, rel=1e-9)


def laminate(c: list[np.ndarray], shares: list[float]) -> np.ndarray:
    """Exact elasticity of layers stacked along z: in-layer strains and out-of-layer stresses are shared."""
    inside, across = [0, 1, 5], [2, 3, 4]
    b = sum(s * np.linalg.inv(m[np.ix_(across, across)]) for s, m in zip(shares, c, strict=True))
    coupling = sum(
        s * m[np.ix_(inside, across)] @ np.linalg.inv(m[np.ix_(across, across)])
        for s, m in zip(shares, c, strict=True)
    )
    plain = sum(
        s
        * (
            m[np.ix_(inside, inside)]
            - m[np.ix_(inside, across)] @ np.linalg.inv(m[np.ix_(across, across)]) @ m[np.ix_(across, inside)]
        )
        for s, m in zip(shares, c, strict=True)
    )
    stiff = np.linalg.inv(b)
    out = np.zeros((6, 6))
    out[np.ix_(across, across)] = stiff
    out[np.ix_(inside, across)] = coupling @ stiff
    out[np.ix_(across, inside)] = out[np.ix_(inside, across)].T
    out[np.ix_(inside, inside)] = plain + coupling @ stiff @ coupling.T
    return out


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_laminate_is_exact(axis: int) -> None:
    density = np.zeros((8, 8, 8))
    np.moveaxis(density, axis, 0)[:3] = 1.0
    cell = homogenise.homogenise(density, METAL, filler=0.05, tolerance=1e-9)
    exact = laminate([METAL, 0.05 * METAL], [3 / 8, 5 / 8])
    # Array axes are z, y, x; turn the stack's z onto the layers' normal.
    turn = {0: np.eye(3), 1: np.eye(3)[[0, 2, 1]], 2: np.eye(3)[[2, 1, 0]]}[axis]
    exact = rotate_elasticity(exact, turn)
    assert cell.elasticity == pytest.approx(exact, abs=1e-7 * METAL.max())


def test_prismatic_columns_carry_their_share() -> None:
    density = np.zeros((8, 8, 8))
    density[:, 2:6, 3:6] = 1.0
    cell = homogenise.homogenise(density, METAL)
    # Columns along z that do not touch: E_z = share * E exactly, and nothing across.
    energy = cell.elasticity[2, 2]
    assert energy == pytest.approx(12 / 64 * 112e3, rel=1e-6)
    assert abs(cell.elasticity[0, 0]) < 1e-6 * energy


def test_symmetry_shortcut_equals_six_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    share = occupancy("gyroid", 2.5, 0.7, 16)
    short = homogenise.homogenise(share, METAL, tolerance=1e-8)
    monkeypatch.setattr(homogenise, "_is_cyclic", lambda density: False)
    full = homogenise.homogenise(share, METAL, tolerance=1e-8)
    assert short.elasticity == pytest.approx(full.elasticity, abs=1e-7 * METAL.max())
    assert np.abs(short.localisation - full.localisation).max() < 1e-4 * np.abs(full.localisation).max()


def test_stiffness_stays_below_the_upper_bound_and_grows_with_the_strut() -> None:
    last = 0.0
    for strut in (0.5, 0.67, 0.85):
        share = occupancy("diamond", 2.5, strut, 16)
        e_z = homogenise.engineering_constants(homogenise.homogenise(share, METAL).elasticity)["e_z"]
        assert last < e_z < share.mean() * 112e3  # Voigt
        last = e_z


def test_result_lies_within_its_error_bar_of_a_finer_one() -> None:
    coarse, _, study = homogenise.converge(lambda n: occupancy("gyroid", 2.5, 0.6, n), METAL, 32)
    fine, _, finer = homogenise.converge(lambda n: occupancy("gyroid", 2.5, 0.6, n), METAL, 64)
    a, b = (homogenise.engineering_constants(c)["e_z"] for c in (coarse, fine))
    assert 100 * abs(a - b) / b <= study["error_pct"]
    assert finer["error_pct"] < 8.0
    for elasticity, said in ((coarse, study), (fine, finer)):
        stated = homogenise.engineering_constants(elasticity)["e_z"]
        assert abs(said["e_z_full_or_empty"] / stated - 1.0) <= said["error_pct"] / 100.0 + 1e-12
    levels = study["levels"]
    assert levels[0]["e_z_lower"] < b < levels[0]["e_z_upper"]


def test_density_exponent_is_that_of_bending() -> None:
    metal_share = {}

    def cell(strut: float) -> np.ndarray:
        metal_share[strut] = occupancy("diamond", 2.5, strut, 16)
        return metal_share[strut]

    samples = homogenise.density_samples(cell, METAL, [0.57, 0.67, 0.77])
    c, n = homogenise.density_law(samples)
    assert 1.8 < n < 2.6
    assert 0.3 < c < 1.5
    assert [s["relative_density"] for s in samples] == sorted(s["relative_density"] for s in samples)


def test_density_law_is_exact_on_a_power_law() -> None:
    samples = [{"relative_density": d, "relative_modulus": 0.8 * d**2.1} for d in (0.1, 0.2, 0.4)]
    assert homogenise.density_law(samples) == pytest.approx((0.8, 2.1))


def test_cells_are_cubic_and_a_stretched_one_is_not() -> None:
    for name in ("diamond", "rhombic_dodecahedron", "gyroid", "gyroid_sheet"):
        elasticity = homogenise.homogenise(occupancy(name, 2.5, 0.6, 16), METAL).elasticity
        assert homogenise.cubic_deviation(elasticity) < 1e-6, name
    columns = np.zeros((8, 8, 8))
    columns[:, 2:6, 2:6] = 1.0
    elasticity = homogenise.homogenise(columns, METAL, filler=0.05).elasticity
    assert homogenise.cubic_deviation(elasticity) > 0.1


def test_no_stiffness_is_refused() -> None:
    def slab(n: int) -> np.ndarray:
        out = np.zeros((n, n, n))
        out[: n // 2] = 1.0
        return out

    with pytest.raises(GeometryError, match="no stiffness"):
        homogenise.converge(slab, METAL, 32)


def test_stress_in_a_solid_cell_is_the_overall_stress() -> None:
    cell = homogenise.homogenise(np.ones((8, 8, 8)), METAL)
    struts = StrutStress.of(cell, METAL, 0.99)
    stress = np.random.default_rng(0).normal(size=(5, 6)) * 10
    assert struts.at_quantile(stress) == pytest.approx(element.von_mises(stress), rel=1e-9)
    assert struts.root_mean_square(stress) == pytest.approx(element.von_mises(stress), rel=1e-9)
    row, value = struts.worst(stress)
    assert value == pytest.approx(element.von_mises(stress).max(), rel=1e-9)
    assert row == int(np.argmax(element.von_mises(stress)))


def test_thinner_struts_feel_more_of_the_same_load() -> None:
    values = []
    for strut in (0.5, 0.67, 0.85):
        cell = homogenise.homogenise(occupancy("diamond", 2.5, strut, 32), METAL)
        values.append(StrutStress.of(cell, METAL, 0.99).concentration()["tension_z"])
    assert values[0] > 1.4 * values[1] > 1.4 * 1.3 * values[2]


def test_quantile_stress_settles_with_the_voxel() -> None:
    values = []
    for n in (32, 48):
        cell = homogenise.homogenise(occupancy("gyroid", 2.5, 0.6, n), METAL)
        values.append(StrutStress.of(cell, METAL, 0.99).concentration()["tension_z"])
    assert values[0] == pytest.approx(values[1], rel=0.1)
