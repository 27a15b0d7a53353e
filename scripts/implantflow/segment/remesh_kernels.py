"""Compiled loops that take vertices out of a closed mesh, each with a proof of how far that moves the surface.

A mesh is ``faces`` (M, 3) and ``twin`` (3 M,): half-edge 3 f + c runs from corner c of face f to the next one, its
twin back, in the face across it. ``leaving`` (N,) is one half-edge from each vertex, -1 where the vertex is gone. One
thread, vertices in their order: the same bytes on any machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.compiled import inlined, inner, kernel

#: A vertex with more neighbours stays; none gets more.
MOST_NEIGHBOURS = 12
#: Row of a ring that holds the vertex it goes around.
CENTRE = MOST_NEIGHBOURS
#: Cosine to the mean normal of its ring that every triangle must reach, old or new: nothing folds.
LEAST_COSINE = 0.5
#: Shape (1 equilateral, 0 a needle) of a new triangle, unless the worst that it replaces was worse still.
LEAST_SHAPE = 0.3
#: No edge grows longer (mm): later stages look at a bone vertex by vertex and triangle by triangle.
LONGEST_MM = 3.0
_NEVER = np.inf


@kernel
def twins(faces: Any, n_vertices: int) -> Any:
    """``twin`` (3 M,) and ``leaving`` (N,) of a closed mesh."""
    size = 3 * faces.shape[0]
    start = np.zeros(n_vertices + 1, dtype=np.int64)
    for h in range(size):
        start[_tail(h, faces) + 1] += 1
    start = np.cumsum(start)
    place = start[:-1].copy()
    of_tail = np.empty(size, dtype=np.int32)
    for h in range(size):
        tail = _tail(h, faces)
        of_tail[place[tail]] = h
        place[tail] += 1
    twin = np.full(size, -1, dtype=np.int32)
    for h in range(size):
        head = _head(h, faces)
        for n in range(start[head], start[head + 1]):
            if _head(of_tail[n], faces) == _tail(h, faces):
                twin[h] = of_tail[n]
    leaving = np.full(n_vertices, -1, dtype=np.int32)
    for v in range(n_vertices):
        if start[v + 1] > start[v]:
            leaving[v] = of_tail[start[v]]
    return twin, leaving


@kernel
def thin_out(vertices: Any, faces: Any, twin: Any, leaving: Any, limits_mm: Any) -> Any:
    """Take out vertices; no point of the surface moves farther than the last of ``limits_mm``, which rise.

    Every triangle carries a bound of how far the surface given has moved to become it, either way: what a step moves,
    proven over its ring, is added to the largest bound of the triangles it replaces. Within one limit no ring changes
    twice, so that the mesh thins evenly.

    Returns
    -------
    alive : (M,) bool; the other ``faces``, which are changed in place, are gone.
    bound_mm : (M,) float32, how far each has moved at most.
    """
    alive = np.ones(faces.shape[0], dtype=np.bool_)
    bound = np.zeros(faces.shape[0], dtype=np.float32)
    # Largest bound that taking a vertex out would leave, -1 where that is to be found out (again), and where it goes.
    price = np.full(vertices.shape[0], np.float32(-1.0))
    target = np.zeros(vertices.shape[0], dtype=np.int32)
    changed_in = np.full(vertices.shape[0], -1, dtype=np.int8)
    spokes = np.empty(MOST_NEIGHBOURS, dtype=np.int32)
    others = np.empty(MOST_NEIGHBOURS, dtype=np.int32)
    ring = np.empty((MOST_NEIGHBOURS + 1, 3))
    for turn in range(len(limits_mm)):
        for v in range(vertices.shape[0]):
            if leaving[v] < 0 or changed_in[v] == turn or price[v] > limits_mm[turn]:
                continue
            count = _around(v, twin, leaving, spokes)
            if price[v] < 0.0:
                target[v], price[v] = _judge(vertices, faces, bound, v, spokes, count, ring, limits_mm[-1])
            if price[v] > limits_mm[turn]:
                continue
            j = 0
            while _head(spokes[j], faces) != target[v]:
                j += 1
            if _joins(spokes, count, j, faces, twin, leaving, others):
                continue
            for n in range(count):
                end = _head(spokes[n], faces)
                bound[spokes[n] // 3], changed_in[end], price[end] = price[v], turn, -1.0
            _draw(spokes, count, j, faces, twin, leaving, alive)
            leaving[v] = -1
    return alive, bound


@inlined
def _tail(h: Any, faces: Any) -> Any:
    return faces[h // 3, h % 3]


@inlined
def _head(h: Any, faces: Any) -> Any:
    return faces[h // 3, (h + 1) % 3]


@inlined
def _after(h: Any) -> Any:
    return h - 2 if h % 3 == 2 else h + 1


@inlined
def _before(h: Any) -> Any:
    return h + 2 if h % 3 == 0 else h - 1


@inlined
def _wrapped(n: Any, count: Any) -> Any:
    return n - count if n >= count else n


@inner
def _around(v: int, twin: Any, leaving: Any, spokes: Any) -> int:
    """Half-edges leaving ``v``, counter-clockwise seen from outside; their number, 0 when there are too many."""
    h = leaving[v]
    count = 0
    while count < MOST_NEIGHBOURS:
        spokes[count] = h
        count += 1
        h = twin[_before(h)]
        if h == leaving[v]:
            return count
    return 0


@inner
def _judge(
    vertices: Any, faces: Any, bound: Any, v: int, spokes: Any, count: int, ring: Any, last_mm: Any
) -> Any:
    """Neighbour that ``v`` is best drawn to, and the bound (mm) it would leave; infinite when none will do."""
    if count < 4 or not _flatten(vertices, faces, v, spokes, count, ring):
        return 0, np.float32(_NEVER)
    before = np.float32(0.0)
    for n in range(count):
        before = max(before, bound[spokes[n] // 3])
    best, moved = _best(ring, count, last_mm - before)
    return _head(spokes[max(best, 0)], faces), before + np.float32(moved)


@inner
def _flatten(vertices: Any, faces: Any, v: int, spokes: Any, count: int, ring: Any) -> bool:
    """The ring about ``v``, one row a neighbour, its third axis the ring's mean normal; ``v`` itself in row CENTRE.

    False unless the triangles at ``v`` lie side by side over that plane, once around and without a fold.
    """
    for n in range(count):
        end = _head(spokes[n], faces)
        for axis in range(3):
            ring[n, axis] = vertices[end, axis] - vertices[v, axis]
    _stand_up(ring, count)
    ring[CENTRE, 0], ring[CENTRE, 1], ring[CENTRE, 2] = 0.0, 0.0, 0.0
    turns = 0
    for n in range(count):
        m = _wrapped(n + 1, count)
        if not _upright(ring, CENTRE, n, m):
            return False
        turns += ring[n, 1] <= 0.0 < ring[m, 1]
    return turns == 1


@inner
def _stand_up(ring: Any, count: int) -> None:
    """Turn ``ring`` so that the area it goes around faces along the third axis."""
    nx, ny, nz = 0.0, 0.0, 0.0
    for n in range(count):
        m = _wrapped(n + 1, count)
        nx += ring[n, 1] * ring[m, 2] - ring[n, 2] * ring[m, 1]
        ny += ring[n, 2] * ring[m, 0] - ring[n, 0] * ring[m, 2]
        nz += ring[n, 0] * ring[m, 1] - ring[n, 1] * ring[m, 0]
    length = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-30)
    nx, ny, nz = nx / length, ny / length, nz / length
    # Two axes across a normal without a case apart (Duff et al. 2017, JCGT 6(1)).
    sign = 1.0 if nz >= 0.0 else -1.0
    c = -1.0 / (sign + nz)
    d = nx * ny * c
    for n in range(count):
        x, y, z = ring[n, 0], ring[n, 1], ring[n, 2]
        ring[n, 0] = (1.0 + sign * nx * nx * c) * x + sign * d * y - sign * nx * z
        ring[n, 1] = d * x + (sign + ny * ny * c) * y - ny * z
        ring[n, 2] = nx * x + ny * y + nz * z


@inner
def _upright(ring: Any, p: int, a: int, b: int) -> bool:
    """Whether a triangle of three rows of ``ring`` faces up, leaning no more than allowed."""
    ux, uy, uz = ring[a, 0] - ring[p, 0], ring[a, 1] - ring[p, 1], ring[a, 2] - ring[p, 2]
    vx, vy, vz = ring[b, 0] - ring[p, 0], ring[b, 1] - ring[p, 1], ring[b, 2] - ring[p, 2]
    up = ux * vy - uy * vx
    if up <= 0.0:
        return False
    cx, cy = uy * vz - uz * vy, uz * vx - ux * vz
    return bool(up * up >= LEAST_COSINE * LEAST_COSINE * (cx * cx + cy * cy + up * up))


@inner
def _shape(ring: Any, p: int, a: int, b: int) -> float:
    """Area of a triangle of three rows of ``ring`` against its sides: 1 equilateral, 0 a needle."""
    ux, uy, uz = ring[a, 0] - ring[p, 0], ring[a, 1] - ring[p, 1], ring[a, 2] - ring[p, 2]
    vx, vy, vz = ring[b, 0] - ring[p, 0], ring[b, 1] - ring[p, 1], ring[b, 2] - ring[p, 2]
    wx, wy, wz = vx - ux, vy - uy, vz - uz
    cx, cy, cz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    sides = ux * ux + uy * uy + uz * uz + vx * vx + vy * vy + vz * vz + wx * wx + wy * wy + wz * wz
    return float(2.0 * np.sqrt(3.0 * (cx * cx + cy * cy + cz * cz)) / max(sides, 1e-30))


@inner
def _best(ring: Any, count: int, limit_mm: float) -> Any:
    """Neighbour that the centre is best drawn to, and how far (mm) that moves the surface; -1, infinite if none."""
    floor = LEAST_SHAPE
    for n in range(count):
        floor = min(floor, _shape(ring, CENTRE, n, _wrapped(n + 1, count)))
    best, least = -1, _NEVER
    for j in range(count):
        if _fan_fits(ring, count, j, floor):
            moved = _moved(ring, count, j, min(limit_mm, least))
            if moved < least:
                best, least = j, moved
    return best, least


@inner
def _fan_fits(ring: Any, count: int, j: int, floor: float) -> bool:
    """Whether the triangles that fan out from neighbour ``j`` face up, are no needles and have no long edge."""
    for step in range(1, count - 1):
        a, b = _wrapped(j + step, count), _wrapped(j + step + 1, count)
        if not _upright(ring, j, a, b) or _shape(ring, j, a, b) < floor:
            return False
        dx, dy, dz = ring[a, 0] - ring[j, 0], ring[a, 1] - ring[j, 1], ring[a, 2] - ring[j, 2]
        if step > 1 and dx * dx + dy * dy + dz * dz > LONGEST_MM * LONGEST_MM:
            return False
    return True


@inner
def _moved(ring: Any, count: int, j: int, limit_mm: float) -> float:
    """How far (mm) the surface moves when the triangles at the centre give way to a fan from neighbour ``j``.

    Both lie over the same polygon and are linear in pieces, so the heights differ most at the centre or where a spoke
    crosses a diagonal of the fan. Infinite when that exceeds ``limit_mm``.
    """
    px, py, pz = ring[j, 0], ring[j, 1], ring[j, 2]
    worst = _NEVER
    for step in range(1, count - 1):
        a, b = _wrapped(j + step, count), _wrapped(j + step + 1, count)
        # Areas seen from the centre: all positive in the triangle of the fan that lies over or under it.
        of_a = py * ring[b, 0] - px * ring[b, 1]
        of_b = px * ring[a, 1] - py * ring[a, 0]
        of_p = ring[a, 0] * ring[b, 1] - ring[a, 1] * ring[b, 0]
        if of_a >= 0.0 and of_b >= 0.0 and of_p >= 0.0:
            height = of_p * pz + of_a * ring[a, 2] + of_b * ring[b, 2]
            worst = abs(height / max(of_a + of_b + of_p, 1e-30))
            break
    if worst > limit_mm:
        return _NEVER
    for step in range(2, count - 1):
        end = _wrapped(j + step, count)
        dx, dy, dz = ring[end, 0] - px, ring[end, 1] - py, ring[end, 2] - pz
        for n in range(count):
            x, y = ring[n, 0], ring[n, 1]
            across = x * dy - y * dx
            if abs(across) > 1e-12:
                s, t = (px * dy - py * dx) / across, (px * y - py * x) / across
                if 0.0 < s < 1.0 and 0.0 < t < 1.0:
                    worst = max(worst, abs(s * ring[n, 2] - pz - t * dz))
    return _NEVER if worst > limit_mm else worst


@inner
def _joins(spokes: Any, count: int, j: int, faces: Any, twin: Any, leaving: Any, others: Any) -> bool:
    """Whether drawing a vertex to its ring point ``j`` would give an edge twice, or too many neighbours."""
    n_others = _around(_head(spokes[j], faces), twin, leaving, others)
    if n_others == 0 or n_others + count - 4 > MOST_NEIGHBOURS:
        return True
    for step in (1, count - 1):
        first = leaving[_head(spokes[_wrapped(j + step, count)], faces)]
        second = twin[_before(first)]
        if twin[_before(twin[_before(second)])] == first:
            return True
    for step in range(2, count - 1):
        end = _head(spokes[_wrapped(j + step, count)], faces)
        for n in range(n_others):
            if _head(others[n], faces) == end:
                return True
    return False


@inner
def _draw(spokes: Any, count: int, j: int, faces: Any, twin: Any, leaving: Any, alive: Any) -> None:
    """Draw the vertex that ``spokes`` leave to its ring point ``j``: two triangles less."""
    first, last = spokes[j], spokes[_wrapped(j + count - 1, count)]
    kept = _head(first, faces)
    for step in range(1, count - 1):
        h = spokes[_wrapped(j + step, count)]
        faces[h // 3, h % 3] = kept
    # The outer edges of the two triangles that go become one pair each with the edge that lay behind them.
    out, back = twin[_after(first)], twin[_before(first)]
    twin[out], twin[back] = back, out
    leaving[kept], leaving[_tail(out, faces)] = back, out
    out, back = twin[_after(last)], twin[last]
    twin[out], twin[back] = back, out
    leaving[_tail(back, faces)] = back
    alive[first // 3], alive[last // 3] = False, False
