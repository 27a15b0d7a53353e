"""Files between stages: byte-stable, atomic, exact."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implantflow import artifacts
from implantflow.errors import InputError

TETRAHEDRON = (
    np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], float),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
)


def test_stl_round_trip_keeps_triangle_order_and_welds(tmp_path: Path) -> None:
    vertices, faces = TETRAHEDRON
    artifacts.write_stl(tmp_path / "a.stl", vertices, faces, "tetrahedron patient_lps mm")
    v, f = artifacts.read_stl(tmp_path / "a.stl")
    assert len(v) == 4
    assert np.array_equal(v[f], vertices[faces].astype(np.float32))


def test_stl_reader_joins_minus_zero_and_zero(tmp_path: Path) -> None:
    vertices, faces = TETRAHEDRON
    soup = vertices[faces].reshape(-1, 3)
    soup[soup == 0] = np.where(np.arange((soup == 0).sum()) % 2, -0.0, 0.0)
    artifacts.write_stl(tmp_path / "a.stl", soup, np.arange(12).reshape(4, 3), "t")
    v, _ = artifacts.read_stl(tmp_path / "a.stl")
    assert len(v) == 4


@pytest.mark.parametrize("cut", [10, 83, 84, 133, 283])
def test_truncated_stl_is_refused(tmp_path: Path, cut: int) -> None:
    artifacts.write_stl(tmp_path / "a.stl", *TETRAHEDRON, "t")
    (tmp_path / "b.stl").write_bytes((tmp_path / "a.stl").read_bytes()[:cut])
    with pytest.raises(InputError, match="not a complete binary STL"):
        artifacts.read_stl(tmp_path / "b.stl")


def test_stl_with_nan_is_refused(tmp_path: Path) -> None:
    vertices = TETRAHEDRON[0].copy()
    vertices[1, 1] = np.nan
    artifacts.write_stl(tmp_path / "a.stl", vertices, TETRAHEDRON[1], "t")
    with pytest.raises(InputError, match="not a finite number"):
        artifacts.read_stl(tmp_path / "a.stl")


def test_nothing_half_written_under_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), artifacts.temporary(target) as tmp:
        tmp.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_canonical_json_is_valid_and_stable(value: object) -> None:
    first = artifacts.canonical_json(value)
    assert artifacts.canonical_json(json.loads(first)) == first


def test_plain_rounds_and_never_writes_nan() -> None:
    assert artifacts.plain({"a": np.float64(1 / 3), "b": math.nan, "c": -1e-9}) == {
        "a": 0.333333,
        "b": None,
        "c": 0.0,
    }


def test_zip_and_npz_bytes_depend_on_content_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        artifacts.write_zip(tmp_path / f"{name}.zip", dict(reversed([("x", b"1"), ("y", b"2")])))
        artifacts.write_npz(tmp_path / f"{name}.npz", {"v": np.arange(5), "w": np.eye(2)})
    artifacts.write_zip(tmp_path / "c.zip", {"x": b"1", "y": b"2"})
    assert artifacts.sha256_file(tmp_path / "a.zip") == artifacts.sha256_file(tmp_path / "c.zip")
    assert artifacts.sha256_file(tmp_path / "a.npz") == artifacts.sha256_file(tmp_path / "b.npz")
    assert np.array_equal(np.load(tmp_path / "a.npz")["w"], np.eye(2))


def test_folder_digest_sees_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1").write_text("one")
    before = artifacts.sha256_path(tmp_path / "d")
    (tmp_path / "d" / "1").rename(tmp_path / "d" / "2")
    assert artifacts.sha256_path(tmp_path / "d") != before
