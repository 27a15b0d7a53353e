"""Fit a shape prior to the bone edges: similarity, modes, then profiles along the normals, free-form last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.segment.edges import Edges
from implantflow.segment.mesh import thread_count, vertex_normals
from implantflow.segment.pose import FAR_MM, Pose
from implantflow.segment.prior import ShapePrior, similarity
from implantflow.volumes import Volume

#: Cost (mm) of a vertex outside the scan when finished fits are compared.
OUTSIDE_MM = 6.0
#: Neighbours averaged over and reach (mm) of the profile search, from stiff to loose.
FREE_FORM = ((300, 6.0, 4), (150, 5.0, 4), (70, 4.0, 4), (35, 3.0, 4), (15, 2.5, 3))
#: Pull (mm per mm2 squared offset) that makes a near edge win over a far one of equal strength.
NEARNESS = 3.0
STEP_MM = 0.5
#: A bone edge this near (mm) to a fitted vertex is accounted for; vertices are about 3 mm apart.
EXPLAINED_MM = 4.0


@dataclass(frozen=True)
class Fit:
    """A prior in its place.

    Attributes
    ----------
    vertices_lps_mm : (N, 3) fitted vertices.
    inside : (N,) vertex lies within the scan; matched : (N,) an edge was found within 3 mm.
    residual_mm : (N,) signed distance along the normal to that edge (0 where none).
    explained : share of the bone edges at the pelvis' height that lie within 4 mm of a fitted vertex.
    cost_mm : mean capped distance to the edges that chose this start.
    start : index of the starting pose that won.
    """

    vertices_lps_mm: FloatArray
    inside: NDArray[np.bool_]
    matched: NDArray[np.bool_]
    residual_mm: FloatArray
    explained: float
    cost_mm: float
    start: int


def mode_weights(
    prior: ShapePrior, residual: FloatArray, chosen: NDArray[np.int64], n: int, weight: float
) -> FloatArray:
    """Ridge solution (n,) in standard deviations for residuals (N, 3) at ``chosen``, weighing ``weight`` in all."""
    basis = prior.modes[:n, chosen].reshape(n, -1)
    scale = weight / len(chosen)
    normal = scale * np.einsum("an,bn->ab", basis, basis) + np.eye(n)
    right = scale * np.einsum("an,n->a", basis, residual[chosen].ravel())
    return np.asarray(np.round(np.linalg.solve(np.round(normal, 8), np.round(right, 8)), 8))


def _model_step(
    prior: ShapePrior, target: FloatArray, chosen: NDArray[np.int64], pose: Pose, n: int, weight: float
) -> tuple[FloatArray, Pose]:
    """Modes in the model's space, then the pose again: the model's vertices nearest to ``target``."""
    local = (target - pose.shift) @ pose.rotation / pose.scale
    b = np.clip(mode_weights(prior, local - prior.mean, chosen, n, weight), -3.0, 3.0)
    shape = prior.mean + np.einsum("q,qni->ni", b, prior.modes[:n])
    pose = Pose(*similarity(shape[chosen], target[chosen]))
    return np.round(pose.apply(shape), 6), pose


class _EdgeSearch:
    """Nearest edge whose normal agrees with the vertex's."""

    def __init__(self, edges: Edges) -> None:
        from scipy.spatial import cKDTree

        self.points, self.normals = edges.points_lps_mm, edges.normals
        self.tree = cKDTree(self.points)

    def __call__(self, vertices: FloatArray, normals: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        distance, candidate = self.tree.query(vertices, k=6, workers=thread_count())
        agree = np.einsum("nkj,nj->nk", self.normals[candidate], normals)
        penalised = distance + np.where(agree < 0.3, 15.0, 0.0)
        best = penalised.argmin(axis=1)
        rows = np.arange(len(vertices))
        return penalised[rows, best], candidate[rows, best]


def _icp(
    prior: ShapePrior,
    edges: Edges,
    search: _EdgeSearch,
    pose: Pose,
    rounds: tuple[int, ...],
    start: FloatArray | None,
) -> tuple[FloatArray, Pose]:
    """One ICP round per entry of ``rounds``: 0 is a similarity, n uses the first n modes."""
    faces = prior.all_faces
    vertices = pose.apply(prior.mean) if start is None else start
    stride = max(1, len(vertices) // 4000)
    for n_modes in rounds:
        normals = vertex_normals(vertices, faces)
        # A similarity has seven unknowns: a quarter of the vertices fixes it as well.
        chosen = np.arange(0, len(vertices), stride if n_modes else 4 * stride)
        chosen = chosen[edges.image.contains_lps(vertices[chosen])]
        distance, edge = search(vertices[chosen], normals[chosen])
        ok = (distance < 15.0) & (distance <= np.quantile(distance, 0.85))
        chosen, hit = chosen[ok], search.points[edge[ok]]
        if len(chosen) < 50:
            break
        if n_modes == 0:
            moved = Pose(*similarity(vertices[chosen], hit))
            vertices = np.round(moved.apply(vertices), 6)
            pose = Pose(
                moved.scale * pose.scale, moved.rotation @ pose.rotation, moved.apply(pose.shift[None])[0]
            )
        else:
            target = vertices.copy()
            target[chosen] = hit
            vertices, pose = _model_step(prior, target, chosen, pose, min(n_modes, len(prior.modes)), 50.0)
    return vertices, pose


def _cost(vertices: FloatArray, edges: Edges) -> float:
    from implantflow.segment.kernels import sample_linear

    near = sample_linear(edges.near_mm, edges.image.lps_to_index(vertices), np.float32(OUTSIDE_MM))
    return float(np.minimum(near, FAR_MM).mean(dtype=np.float64))


def fit_prior(prior: ShapePrior, edges: Edges, image: Volume, poses: list[Pose]) -> Fit:
    """Bring the prior onto the bone.

    Parameters
    ----------
    prior : ShapePrior
    edges : Edges
        On the coarse copy, for pose and modes.
    image : Volume
        Smoothed HU (about 0.8 mm), for the profiles; the scan's full extent around the bones.
    poses : starting poses; the one that ends with the lowest cost wins.
    """
    search = _EdgeSearch(edges)
    trials: list[tuple[float, int, FloatArray, Pose]] = []
    for number, pose in enumerate(poses):
        vertices, moved = _icp(prior, edges, search, pose, (0,) * 12, None)
        trials.append((_cost(vertices, edges), number, vertices, moved))
    trials.sort(key=lambda t: (t[0], t[1]))
    refined = []
    all_modes = len(prior.modes)
    bend = (5,) * 6 + (10,) * 6 + (all_modes,) * 8
    for _, number, vertices, pose in trials[:2]:
        # A patient who lies turned needs more rounds before it may bend; one who does not can be led astray by them.
        for more in ((), (0,) * 28):
            final, moved = _icp(prior, edges, search, pose, more + bend, vertices)
            refined.append((_cost(final, edges), number, final, moved))
    refined.sort(key=lambda t: (t[0], t[1]))
    cost, number, vertices, pose = refined[0]
    vertices = _profile_modes(prior, image, vertices, pose)
    vertices = _free_form(prior, image, vertices)
    offset, found = profile_offsets(image, vertices, vertex_normals(vertices, prior.all_faces), 3.0)
    inside = image.contains_lps(vertices)
    explained = _explained(prior, edges, vertices)
    return Fit(vertices, inside, found & inside, np.where(found, offset, 0.0), explained, cost, number)


def _explained(prior: ShapePrior, edges: Edges, vertices: FloatArray) -> float:
    """Share of edge points between the lower end of the sacrum and the iliac crests that the fit accounts for.

    A wrong pose finds edges for most of its vertices, but leaves most of the bone without a vertex.
    """
    from scipy.spatial import cKDTree

    low = np.quantile(vertices[prior.bone == prior.index("sacrum"), 2], 0.02)
    high = np.quantile(vertices[prior.bone < 2, 2], 0.98)
    height = edges.points_lps_mm[:, 2]
    points = edges.points_lps_mm[(height > low) & (height < high)]
    if len(points) == 0:
        return 0.0
    distance, _ = cKDTree(vertices).query(points, distance_upper_bound=EXPLAINED_MM, workers=thread_count())
    return float(np.isfinite(distance).mean())


def profile_offsets(
    image: Volume, vertices: FloatArray, normals: FloatArray, reach_mm: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Signed distance (mm) along the normal to the outer bone edge, and whether one was found.

    The edge is the largest outward drop of HU per mm, clipped at 250 so that dense cortex does not beat a
    nearer edge, where the inside is brighter than 110 HU, less a penalty for distance.
    """
    from implantflow.segment.kernels import sample_lines

    n = round(reach_mm / STEP_MM)
    steps = np.arange(-n - 2, n + 3) * STEP_MM
    along = normals @ np.linalg.inv(image.affine_lps[:3, :3]).T
    value = sample_lines(image.array, image.lps_to_index(vertices), along, steps, np.float32(np.nan))
    drop = (value[:, 1:-3] - value[:, 3:-1]) / (2 * STEP_MM)
    bright = value[:, :-4] > 110.0
    score = np.where(bright & np.isfinite(drop), np.clip(drop, 0.0, 250.0), 0.0) - NEARNESS * steps[2:-2] ** 2
    best = score.argmax(axis=1)
    rows = np.arange(len(vertices))
    found = np.nan_to_num(drop[rows, best], nan=0.0) > 40.0
    return steps[2:-2][best], np.asarray(found & bright[rows, best])


def _profile_modes(prior: ShapePrior, image: Volume, vertices: FloatArray, pose: Pose) -> FloatArray:
    for reach in (7.0,) * 6 + (5.0,) * 4:
        normals = vertex_normals(vertices, prior.all_faces)
        offset, found = profile_offsets(image, vertices, normals, reach)
        chosen = np.flatnonzero(found)[::3]
        if len(chosen) < 50:
            break
        target = vertices + normals * offset[:, None]
        vertices, pose = _model_step(prior, target, chosen, pose, len(prior.modes), 150.0)
    return vertices


def _free_form(prior: ShapePrior, image: Volume, vertices: FloatArray) -> FloatArray:
    """Move vertices by the mean offset of their neighbours on the same bone, over shrinking neighbourhoods."""
    from scipy.spatial import cKDTree

    groups: list[NDArray[Any]] = [np.flatnonzero(prior.bone == n) for n in range(len(prior.names))]
    # Nearest first: the smaller neighbourhoods are the beginnings of the largest.
    widest = [
        cKDTree(vertices[g]).query(vertices[g], k=min(FREE_FORM[0][0], len(g)), workers=thread_count())[1]
        for g in groups
    ]
    for neighbours, reach, rounds in FREE_FORM:
        near = [np.ascontiguousarray(index[:, :neighbours]) for index in widest]
        for _ in range(rounds):
            normals = vertex_normals(vertices, prior.all_faces)
            offset, found = profile_offsets(image, vertices, normals, reach)
            step = normals * (offset * found)[:, None]
            moved = vertices.copy()
            for group, index in zip(groups, near, strict=True):
                local, ok = step[group], found[group]
                total = np.stack([local[index, axis].sum(axis=1) for axis in range(3)], axis=1)
                moved[group] += 0.8 * total / (ok[index].sum(axis=1) + 0.3 * index.shape[1])[:, None]
            vertices = np.round(moved, 6)
    return vertices
