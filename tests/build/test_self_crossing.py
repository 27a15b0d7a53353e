"""Does a set of loops cross itself? Against every pair of segments, one by one."""

import numpy as np
import pytest

from implantflow.build.search_kernels import has_self_crossing


def _loops(*rings):
    points = np.concatenate([np.asarray(ring, dtype=np.int64) for ring in rings])
    starts = np.cumsum([0, *(len(ring) for ring in rings)])
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1]), starts


def _ring(n, radius, middle=(0, 0), wobble=0.0, rng=None):
    angle = np.arange(n) / n * 2 * np.pi
    r = radius * (1 + (wobble * rng.normal(size=n) if wobble else 0.0))
    ring = np.round(np.column_stack([r * np.cos(angle), r * np.sin(angle)]) + middle).astype(np.int64)
    return ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)]


def _left(a, b, p):
    return np.sign((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))


def _crosses_plainly(rings):
    """Two segments that cross in their middles; None where any only touch, which is the kernel's to decide."""
    segments = [(r[i], r[(i + 1) % len(r)], n, i, len(r)) for n, r in enumerate(rings) for i in range(len(r))]
    touch = False
    for k, (a, b, n, i, size) in enumerate(segments):
        for c, d, m, j, _ in segments[k + 1 :]:
            if n == m and (j - i) % size in (1, size - 1):
                continue
            one, two = _left(a, b, c) * _left(a, b, d), _left(c, d, a) * _left(c, d, b)
            if one < 0 and two < 0:
                return True
            touch |= one <= 0 and two <= 0
    return None if touch else False


def test_as_every_pair_of_segments_says():
    rng = np.random.default_rng(3)
    told = {True: 0, False: 0}
    for _ in range(400):
        rings = [
            _ring(int(rng.integers(5, 60)), rng.uniform(20, 400), rng.uniform(-500, 500, 2), 0.03, rng)
            for _ in range(rng.integers(1, 4))
        ]
        expected = _crosses_plainly([r.tolist() for r in rings])
        if expected is not None:
            assert has_self_crossing(*_loops(*rings)) is expected
            told[expected] += 1
    assert min(told.values()) > 50


@pytest.mark.parametrize("where", range(0, 400, 37))
def test_one_point_of_a_long_loop_on_the_far_side(where):
    ring = _ring(400, 10_000)
    assert not has_self_crossing(*_loops(ring))
    ring[where] = -ring[where] * 11 // 10  # out through the other side
    assert has_self_crossing(*_loops(ring))


def test_straight_runs_of_many_points():
    # Two long straight runs that cross once: their boxes share more than one point.
    run = np.arange(0, 3000, 10)
    there, back = np.column_stack([run, run]), np.column_stack([run[::-1], run + 5])
    assert has_self_crossing(*_loops(np.concatenate([there, back])))
    # The same two side by side.
    assert not has_self_crossing(*_loops(np.concatenate([there, (there + np.array((0, 50)))[::-1]])))


def test_touching_from_one_side_is_no_crossing():
    square = [(0, 0), (100, 0), (100, 100), (0, 100)]
    assert not has_self_crossing(*_loops(square, [(20, 0), (80, 40), (20, 40)]))
    assert has_self_crossing(*_loops(square, [(50, -20), (80, 40), (20, 40)]))
