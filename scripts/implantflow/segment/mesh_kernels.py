"""Compiled loops over triangles and points, one thread each: sums run in the order of the faces on any machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.compiled import inner, kernel


@kernel
def corner_normals(vertices: Any, faces: Any) -> Any:
    """Sum (N, 3) of the area vectors, doubled, of the triangles at each vertex."""
    out = np.zeros((vertices.shape[0], 3))
    for f in range(faces.shape[0]):
        x, y, z = _twice_area(vertices, faces[f])
        for n in range(3):
            v = faces[f, n]
            out[v, 0] += x
            out[v, 1] += y
            out[v, 2] += z
    return out


@kernel
def volume_and_area(vertices: Any, faces: Any) -> Any:
    """Six times the enclosed volume, positive when the faces turn outward, and twice the area."""
    volume, area = 0.0, 0.0
    for f in range(faces.shape[0]):
        x, y, z = _twice_area(vertices, faces[f])
        a = vertices[faces[f, 0]]
        volume += a[0] * x + a[1] * y + a[2] * z
        area += np.sqrt(x * x + y * y + z * z)
    return volume, area


@inner
def _twice_area(vertices: Any, face: Any) -> Any:
    a, b, c = vertices[face[0]], vertices[face[1]], vertices[face[2]]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@kernel
def bodies_of_vertices(faces: Any, n_vertices: int) -> Any:
    """First vertex (N,) of the body that the faces join each vertex to."""
    root = np.arange(n_vertices)
    for f in range(faces.shape[0]):
        for n in range(2):
            a, b = faces[f, n], faces[f, n + 1]
            while root[a] != a:
                root[a] = root[root[a]]
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            root[max(a, b)] = min(a, b)
    for v in range(n_vertices):
        root[v] = root[root[v]]
    return root


@kernel
def neighbours(faces: Any, n_vertices: int, against: bool) -> Any:
    """Ends of the directed edges at each vertex, ascending: ``end[start[v]:start[v + 1]]``.

    Edges leave v in the direction of the faces, or with ``against`` arrive there.
    """
    size = 3 * faces.shape[0]
    # Sorted by their ends first, then, stably, by where they begin.
    start = np.zeros(n_vertices + 1, dtype=np.int64)
    for f in range(faces.shape[0]):
        for n in range(3):
            start[faces[f, n] + 1] += 1
    start = np.cumsum(start)
    place = start[:-1].copy()
    source = np.empty(size, dtype=np.int32)
    for f in range(faces.shape[0]):
        for n in range(3):
            tail, head = faces[f, n], faces[f, (n + 1) % 3]
            if against:
                tail, head = head, tail
            source[place[head]] = tail
            place[head] += 1
    place[:] = start[:-1]
    end = np.empty(size, dtype=np.int32)
    for head in range(n_vertices):
        for n in range(start[head], start[head + 1]):
            tail = source[n]
            end[place[tail]] = head
            place[tail] += 1
    return start, end


@kernel
def paired(start: Any, out: Any, into: Any) -> bool:
    """Whether every directed edge occurs once and has its opposite (lists of :func:`neighbours`)."""
    for v in range(len(start) - 1):
        for n in range(start[v], start[v + 1]):
            if out[n] != into[n] or (n > start[v] and out[n] == out[n - 1]):
                return False
    return True


@kernel
def pull_along(vertices: Any, normals: Any, height: Any, start: Any, end: Any) -> Any:
    """How far (N,) along its normal the mean of its neighbours lies from each vertex, all moved by ``height``."""
    at = np.empty_like(vertices)
    for v in range(len(height)):
        for axis in range(3):
            at[v, axis] = vertices[v, axis] + normals[v, axis] * height[v]
    out = np.zeros(len(height))
    for v in range(len(height)):
        count = start[v + 1] - start[v]
        weight = 1.0 / max(count, 1)
        total = 0.0
        for axis in range(3):
            mean = 0.0
            for n in range(start[v], start[v + 1]):
                mean += weight * at[end[n], axis]
            total += (mean - at[v, axis]) * normals[v, axis]
        out[v] = total
    return out


@kernel
def near_any(points: Any, others: Any, reach_mm: float) -> Any:
    """Whether (N,) one of ``others`` (M, 3) lies nearer than ``reach_mm`` to each of ``points`` (N, 3)."""
    low = np.empty(3)
    size = np.empty(3, dtype=np.int64)
    for axis in range(3):
        low[axis] = others[:, axis].min()
        size[axis] = int((others[:, axis].max() - low[axis]) / reach_mm) + 1
    cell = np.empty(others.shape[0], dtype=np.int64)
    begin = np.zeros(size[0] * size[1] * size[2] + 1, dtype=np.int64)
    for m in range(others.shape[0]):
        i, j, k = [int((others[m, axis] - low[axis]) / reach_mm) for axis in range(3)]
        cell[m] = (i * size[1] + j) * size[2] + k
        begin[cell[m] + 1] += 1
    begin = np.cumsum(begin)
    place = begin[:-1].copy()
    member = np.empty(others.shape[0], dtype=np.int64)
    for m in range(others.shape[0]):
        member[place[cell[m]]] = m
        place[cell[m]] += 1
    found = np.zeros(points.shape[0], dtype=np.bool_)
    for n in range(points.shape[0]):
        a, b, c = [int(np.floor((points[n, axis] - low[axis]) / reach_mm)) for axis in range(3)]
        for i in range(max(a - 1, 0), min(a + 2, size[0])):
            for j in range(max(b - 1, 0), min(b + 2, size[1])):
                for k in range(max(c - 1, 0), min(c + 2, size[2])):
                    one = (i * size[1] + j) * size[2] + k
                    for at in range(begin[one], begin[one + 1]):
                        away = points[n] - others[member[at]]
                        squared = away[0] * away[0] + away[1] * away[1] + away[2] * away[2]
                        if squared < reach_mm * reach_mm:
                            found[n] = True
                            break
    return found
