"""What the crumb filter sees of a layer is what the check sees of the file, and nothing loose gets lost on the way."""

from __future__ import annotations

import itertools

import numpy as np

from implantflow.build import check_kernels, crumb_kernels, follow_kernels
from implantflow.build.islands import row_pitch, row_places

UNIT_MM = 0.005
NONE = np.empty(0, dtype=np.int64)


def _rings(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loops of 3 to 40 integer points about random places, every third one a hole."""
    loops = []
    for n in range(60):
        count = int(rng.integers(3, 40))
        angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, count))
        ring = rng.uniform(2000, 9000, 2) + rng.uniform(30, 600) * np.column_stack(
            [np.cos(angle), np.sin(angle)]
        )
        loops.append(np.round(ring if n % 3 else ring[::-1]).astype(np.int64))
    joined = np.concatenate(loops)
    starts = np.cumsum([0, *(len(loop) for loop in loops)]).astype(np.int64)
    return np.ascontiguousarray(joined[:, 0]), np.ascontiguousarray(joined[:, 1]), starts


def _as_read(
    x: np.ndarray, y: np.ndarray, starts: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Area of each loop and the crossings of the rows, by the kernels of the check of the finished file."""
    loops = [np.column_stack([x[a:b], y[a:b]]).astype(float) for a, b in itertools.pairwise(starts)]
    points = np.concatenate([np.concatenate([loop, loop[:1]]) for loop in loops])
    begins = np.cumsum([0, *(len(loop) + 1 for loop in loops)]).astype(np.int64)
    _, _, area, _ = check_kernels.loop_figures(points, begins, np.ones(len(loops), dtype=np.int64))
    begin, where, _, owner = check_kernels.row_crossings(points, begins, 1, rows)
    return area, begin, where, owner


def test_rows_of_a_layer_are_those_of_the_file() -> None:
    rng = np.random.default_rng(1)
    x, y, starts = _rings(rng)
    rows = row_places(10000 * UNIT_MM, UNIT_MM)
    # Two of the loops as whole islands, at other places too: they count on after the others.
    whole = np.array([[0, 0, 0], [1, 3, -1], [1, -2, 2]], dtype=np.int64)
    curves = np.array([0, starts[1], starts[2]], dtype=np.int64)
    more = [
        (x[a:b] + 500 * i, y[a:b] + 500 * j) for c, i, j in whole for a, b in [(curves[c], curves[c + 1])]
    ]
    all_x = np.concatenate([x, *(u for u, _ in more)])
    all_y = np.concatenate([y, *(v for _, v in more)])
    all_starts = np.concatenate([starts, starts[-1] + np.cumsum([len(u) for u, _ in more])])
    points, begins, area, begin, where, owner = crumb_kernels.cut_rows(
        x, y, starts, whole, 500, curves, x, y, row_pitch(UNIT_MM), len(rows)
    )
    assert np.array_equal(points, np.column_stack([all_x, all_y]))
    assert np.array_equal(begins, all_starts)
    expected = _as_read(all_x, all_y, all_starts, rows)
    assert np.allclose(area, expected[0], rtol=1e-12)
    assert np.array_equal(begin, expected[1])
    assert len(where) > 3000
    assert np.allclose(where, expected[2], rtol=0, atol=1e-8)
    assert np.array_equal(owner, expected[3])


def test_a_layer_with_nothing_has_no_crossings() -> None:
    zero = np.zeros(1, dtype=np.int64)
    empty = np.empty((0, 3), dtype=np.int64)
    _, begins, area, begin, where, _ = crumb_kernels.cut_rows(
        NONE, NONE, zero, empty, 1, NONE, NONE, NONE, 20, 7
    )
    assert (len(begins), len(area), len(where)) == (1, 0, 0)
    assert np.array_equal(begin, np.zeros(8))


def test_pieces_take_over_what_they_stand_on() -> None:
    rng = np.random.default_rng(2)
    below = rng.choice([0, 0, 0, 3, 5], 200)
    pairs = rng.integers(0, [200, 150], (900, 2))
    sets, loose = follow_kernels.carried(pairs, below, 150, False)
    standing = {int(v) for u, v in pairs if below[u] == 0}
    assert {int(v) for v in np.nonzero(sets == 0)[0]} == standing
    assert set(sets.tolist()) <= {0, -1}
    assert [tuple(pair) for pair in loose.tolist()] == sorted(
        {(int(u), int(v)) for u, v in pairs if below[u] != 0}
    )
    assert (follow_kernels.carried(pairs, below, 150, True)[0] == 0).all()
