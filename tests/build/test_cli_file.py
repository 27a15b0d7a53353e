"""The CLI file: what is written is what is read, and damaged files are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from build_bench import UNIT, Mesh, plan_for, write_plan

from implantflow.build.cli_reader import CliFile
from implantflow.build.cli_writer import CliHeader, CliWriter
from implantflow.build.plan import FIGURES
from implantflow.build.slicer import Slicer
from implantflow.errors import InputError

BOX = np.array([[0.0, 0.0, 0.0], [10.0, 10.0, 1.0]])


def test_what_was_made_is_what_is_read(tube: Mesh, tmp_path: Path) -> None:
    plan = plan_for(tube, ("diamond", 2.5, 0.67))
    figures = write_plan(tmp_path / "a.cli", plan)
    slicer = Slicer(plan)
    cli = CliFile(tmp_path / "a.cli")
    layers = list(cli.layers())
    assert cli.unit_mm == UNIT
    assert cli.labels == {1: "contour", 2: "hatch", 3: "net"}
    assert len(layers) == plan.layers == cli.declared_layers
    for index in (0, 17, 59):
        outline = slicer.outline(index)
        layer = layers[index]
        assert layer.z * UNIT == pytest.approx((index + 1) * 0.05)
        lengths = np.diff(outline.starts)
        np.testing.assert_array_equal(np.diff(layer.starts), lengths + 1)
        kept = np.ones(len(layer.points), dtype=bool)
        kept[layer.starts[1:] - 1] = False
        np.testing.assert_array_equal(layer.points[kept, 0], outline.x)
        np.testing.assert_array_equal(layer.points[layer.starts[1:] - 1], layer.points[layer.starts[:-1]])
        length = np.abs(layer.hatches[:, 2:] - layer.hatches[:, :2]).sum() * UNIT
        assert length == pytest.approx(figures[index, FIGURES.index("net_mm")])


def test_header_carries_the_case_and_a_date_only_if_given() -> None:
    header = CliHeader(UNIT, 7, BOX, {"case": "demo/$1", "side": "left"}, False, "010203").encode().decode()
    assert header.endswith("$$HEADEREND")
    assert "$$DATE/010203" in header
    assert "$$LAYERS/000007" in header
    assert "NOT FOR CLINICAL USE" in header
    assert "case=demo__1" in header
    clinical = CliHeader(UNIT, 7, BOX, {}, True, None).encode().decode()
    assert "NOT FOR CLINICAL USE" not in clinical
    assert "$$DATE" not in clinical


def _file(path: Path, body: bytes, head: str = "$$BINARY\n$$UNITS/0.01\n$$LAYERS/1\n") -> CliFile:
    path.write_bytes(b"$$HEADERSTART\n" + head.encode() + b"$$HEADEREND" + body)
    return CliFile(path)


def test_long_forms_are_read(tmp_path: Path) -> None:
    body = struct.pack("<Hf", 127, 12.5)
    body += struct.pack("<Hiii6f", 130, 70000, 1, 3, 0.5, 0.25, 10.0, 0.0, 0.5, 0.25)
    body += struct.pack("<Hii4f", 132, -5, 1, 1.5, 2.5, 3.5, 2.5)
    body += struct.pack("<HHHH4H", 129, 9, 2, 2, 1, 2, 3, 4)
    body += struct.pack("<HHH4H", 131, 8, 1, 5, 6, 7, 6)
    layer = next(_file(tmp_path / "long.cli", body).layers())
    assert layer.z == 12.5
    assert layer.label.tolist() == [70000, 9]
    assert layer.direction.tolist() == [1, 2]
    np.testing.assert_array_equal(layer.points, [[0.5, 0.25], [10, 0], [0.5, 0.25], [1, 2], [3, 4]])
    np.testing.assert_array_equal(layer.hatches, [[1.5, 2.5, 3.5, 2.5], [5, 6, 7, 6]])
    assert layer.hatch_label.tolist() == [-5, 8]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (struct.pack("<HHHH", 129, 1, 1, 0), "before the first layer"),
        (struct.pack("<HHHHHH", 128, 1, 129, 1, 1, 200), "runs over the end"),
        (struct.pack("<HHH", 128, 1, 77), "unknown command"),
        (struct.pack("<HHHiii", 128, 1, 130, 1, 1, -4), "unknown command"),
        (struct.pack("<HHHH", 128, 1, 131, 1), "runs over the end"),
    ],
)
def test_damaged_geometry_is_refused(body: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        list(_file(tmp_path / "bad.cli", body).layers())


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.cli").write_bytes(b"solid nothing")
    with pytest.raises(InputError, match="no header"):
        CliFile(tmp_path / "x.cli")
    with pytest.raises(InputError, match="only binary"):
        _file(tmp_path / "ascii.cli", b"", "$$ASCII\n$$UNITS/1\n")
    with pytest.raises(InputError, match="alignment"):
        _file(tmp_path / "align.cli", b"", "$$BINARY\n$$UNITS/1\n$$ALIGN\n")
    with pytest.raises(InputError, match="UNITS"):
        _file(tmp_path / "unit.cli", b"", "$$BINARY\n$$UNITS/mm\n")
    with pytest.raises(InputError, match="middle of a word"):
        _file(tmp_path / "odd.cli", b"abc")


def test_more_hatches_than_one_block_holds(tmp_path: Path) -> None:
    from implantflow.build.cli_kernels import pack_layer

    lines = np.column_stack(
        [np.full(70000, 5), np.arange(70000) % 60000, np.full(70000, 9), np.arange(70000) % 60000]
    )
    none = np.empty(0, dtype=np.int64)
    islands = np.empty((0, 3), dtype=np.int64)
    stamp = 1, none, none, none, 0, 1, none, lines[:0]
    words = pack_layer(
        10, none, none, np.zeros(1, dtype=np.int64), 1, lines, 2, lines[:0], 3, islands, *stamp
    )
    with CliWriter(tmp_path / "many.cli", CliHeader(UNIT, 1, BOX)) as writer:
        writer.write(words)
    layer = next(CliFile(tmp_path / "many.cli").layers())
    np.testing.assert_array_equal(layer.hatches, lines)
    no_loops = np.zeros(1, dtype=np.int64)
    too_far = np.array([[70000, 1, 70010, 1]])
    assert len(pack_layer(10, none, none, no_loops, 1, too_far % 65536, 2, lines[:0], 3, islands, *stamp)) > 0
    x = np.array([0, 70000, 0])
    assert len(pack_layer(10, x, x, np.array([0, 3]), 1, lines[:0], 2, lines[:0], 3, islands, *stamp)) == 0
