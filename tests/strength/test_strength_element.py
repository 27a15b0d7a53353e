"""The element against exact answers: patch test, rigid motion, a second derivation, bars and beams."""

from __future__ import annotations

import numpy as np
import pytest
from strength_block import rotate_elasticity

from implantflow.errors import GeometryError
from implantflow.strength import element, reference
from implantflow.strength.homogenise import modulus_along
from implantflow.strength.mesh import Grid, build_mesh, largest_part
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.solver import Model, SolverError, solve

STEEL = element.isotropic(210e3, 0.3)


def block(shape: tuple[int, int, int], voxel_mm: float = 1.0):
    return build_mesh(Grid(np.zeros(3), voxel_mm, shape), np.ones(shape, dtype=bool))


def any_elasticity(seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(6, 6))
    return a @ a.T + 6 * np.eye(6)


@pytest.mark.parametrize("c", [STEEL, any_elasticity(1)])
def test_two_derivations_of_the_element_agree(c: np.ndarray) -> None:
    ours, theirs = element.stiffness(c), reference.element_matrix(c)
    assert np.abs(ours - theirs).max() < 1e-10 * np.abs(ours).max()


def test_rigid_motions_cost_nothing_and_everything_else_does() -> None:
    values = np.linalg.eigvalsh(element.stiffness(STEEL))
    assert (np.abs(values[:6]) < 1e-9 * values[-1]).all()
    assert values[6] > 1e-3 * values[-1]


def test_patch_test_is_exact() -> None:
    mesh = block((4, 3, 5))
    gradient = np.array([[1.0, 0.3, -0.2], [0.1, -0.5, 0.4], [0.7, 0.2, 0.6]]) * 1e-3
    wanted = mesh.points @ gradient.T
    far = np.array(mesh.grid.shape[::-1])
    surface = ((mesh.points == 0) | (mesh.points == far)).any(axis=1)
    fixed = np.repeat(surface[:, None], 3, axis=1).ravel()
    model = Model.of(mesh, [any_elasticity(2)], np.ones((1, len(mesh.voxels))), fixed=fixed)
    answer = solve(model, np.zeros(wanted.size), given=np.where(fixed, wanted.ravel(), 0.0), tolerance=1e-12)
    assert np.abs(answer.displacement - wanted.ravel()).max() < 1e-12
    strain = 0.5 * (gradient + gradient.T)
    exact = [strain[i, j] * (1 if i == j else 2) for i, j in element.VOIGT]
    assert np.abs(model.strain(answer.displacement) - exact).max() < 1e-12


def cantilever(thick: int, voxel_mm: float) -> tuple[float, float]:
    """Tip deflection (mm) of a 1 x 1 x 12 mm cantilever under 10 N, computed and by Timoshenko."""
    mesh = block((round(12 / voxel_mm), thick, thick), voxel_mm)
    fixed = np.repeat((mesh.points[:, 2] < 1e-9)[:, None], 3, axis=1).ravel()
    model = Model.of(mesh, [STEEL], np.ones((1, len(mesh.voxels))), fixed=fixed)
    tip = np.flatnonzero(mesh.points[:, 2] > 12 - 1e-9)
    edge = (mesh.points[tip][:, :2] < 1e-9) | (mesh.points[tip][:, :2] > 1 - 1e-9)
    share = np.where(edge, 0.5, 1.0).prod(axis=1)
    force = np.zeros((len(mesh.points), 3))
    force[tip, 0] = 10.0 * share / share.sum()
    u = solve(model, force.ravel()).displacement.reshape(-1, 3)
    exact = 10 * 12**3 / (3 * 210e3 / 12) + 1.2 * 10 * 12 / (210e3 / 2.6)
    return float(u[tip, 0].mean()), exact


def test_one_element_across_a_beam_bends_right() -> None:
    computed, exact = cantilever(1, 1.0)
    assert computed == pytest.approx(exact, rel=0.03)


def test_beam_converges() -> None:
    computed, exact = cantilever(4, 0.25)
    assert computed == pytest.approx(exact, rel=0.01)


def test_bar_on_an_elastic_bed_is_exact() -> None:
    # Without lateral strain coupling (Poisson 0) a bar's answer is F/(k A) + F L/(E A).
    mesh = block((8, 3, 3), 2.0)
    area, length, bed, force_n = 36.0, 16.0, 50.0, 700.0
    springs = np.zeros((len(mesh.points), 3))
    force = np.zeros((len(mesh.points), 3))
    share = np.where((mesh.points[:, :2] == 0) | (mesh.points[:, :2] == 6), 0.5, 1.0).prod(axis=1) * 4.0
    springs[mesh.points[:, 2] == 0] = (bed * share[mesh.points[:, 2] == 0])[:, None]
    top = mesh.points[:, 2] == length
    force[top, 2] = -force_n * share[top] / area
    model = Model.of(mesh, [element.isotropic(1e4, 0.0)], np.ones((1, len(mesh.voxels))), springs.ravel())
    u = solve(model, force.ravel(), tolerance=1e-11).displacement.reshape(-1, 3)
    assert u[top, 2].mean() == pytest.approx(-force_n / area * (1 / bed + length / 1e4), rel=1e-9)
    assert (springs * u).sum(axis=0) == pytest.approx([0, 0, -force_n], abs=1e-6)
    stress = model.strain(u.ravel()) @ model.elasticity[0]
    assert element.von_mises(stress) == pytest.approx(force_n / area, rel=1e-8)


def uneven_model() -> tuple[Model, np.ndarray]:
    """A block with a hole, two materials with a contrast of 20 and a soft bed: what an implant is like."""
    rng = np.random.default_rng(5)
    shape = (16, 9, 11)
    active = np.ones(shape, dtype=bool)
    active[6:9, 3:6, 4:7] = False
    mesh = build_mesh(Grid(np.array([3.0, -2.0, 1.0]), 1.5, shape), active)
    scales = np.stack([(rng.random(len(mesh.voxels)) < 0.3) * 1.0, rng.random(len(mesh.voxels)) + 0.1])
    springs = np.zeros((len(mesh.points), 3))
    springs[mesh.points[:, 2] < 1.1] = 20.0
    force = np.zeros((len(mesh.points), 3))
    force[mesh.points[:, 2] > 24.0] = [0.5, 0.1, -1.0]
    return Model.of(mesh, [STEEL, any_elasticity(3) * 1e3], scales, springs.ravel()), force.ravel()


def test_multigrid_diagonal_and_direct_solutions_agree() -> None:
    model, force = uneven_model()
    cycle = Multigrid(model)
    fast = solve(model, force, precondition=cycle, tolerance=1e-9)
    slow = solve(model, force, tolerance=1e-10)
    direct = reference.solve_directly(model, force[:, None])[:, 0]
    size = np.abs(direct).max()
    assert np.abs(fast.displacement - direct).max() < 1e-7 * size
    assert np.abs(slow.displacement - direct).max() < 1e-6 * size
    assert fast.iterations < slow.iterations / 5
    b = model.strain(direct)
    assert np.abs(reference.centre_strain(model, direct) - b).max() < 1e-12 + 1e-9 * np.abs(b).max()


def test_multigrid_is_symmetric() -> None:
    model, force = uneven_model()
    cycle = Multigrid(model)
    other = np.random.default_rng(0).normal(size=force.size)
    assert float(other @ cycle(force)) == pytest.approx(float(force @ cycle(other)), rel=1e-9)


def test_same_bytes_on_one_and_two_threads() -> None:
    import numba

    model, force = uneven_model()
    before = numba.get_num_threads()
    answers = []
    for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
        numba.set_num_threads(threads)
        answers.append(solve(model, force, precondition=Multigrid(model)).displacement.tobytes())
        answers.append(solve(model, force, precondition=Multigrid(model)).displacement.tobytes())
    numba.set_num_threads(before)
    assert len(set(answers)) == 1


def test_a_part_that_nothing_holds_is_refused() -> None:
    model, force = uneven_model()
    loose = Model.of(model.mesh, model.elasticity, model.scales)
    with pytest.raises(SolverError, match="did not converge"):
        solve(loose, force, max_iterations=300)


def test_turned_elasticity() -> None:
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    assert rotate_elasticity(STEEL, turn) == pytest.approx(STEEL, abs=1e-6)
    c = any_elasticity(4)
    turned = rotate_elasticity(c, turn)
    for direction in np.eye(3):
        assert modulus_along(turned, turn @ direction) == pytest.approx(modulus_along(c, direction), rel=1e-9)


def test_islands_are_dropped_and_counted() -> None:
    active = np.zeros((5, 5, 5), dtype=bool)
    active[:3, :3, :3] = True
    active[4, 4, 4] = True
    active[3, 3, 3] = True  # touches the block at a corner only: a hinge
    kept, dropped = largest_part(active)
    assert kept.sum() == 27
    assert dropped == 2


def test_empty_and_odd_boxes_are_refused() -> None:
    grid = Grid(np.zeros(3), 1.0, (6, 6, 6))
    with pytest.raises(GeometryError, match="no voxel"):
        build_mesh(grid, np.zeros((6, 6, 6), dtype=bool))
    with pytest.raises(GeometryError, match="multiple"):
        build_mesh(grid, np.ones((6, 6, 6), dtype=bool), periodic=True)
