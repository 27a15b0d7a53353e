"""The open build file: bytes against the format's own serialiser, every packet read back, planted damage caught."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import obflib
import pytest
from build_bench import Mesh, plan_for, write_plan
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from implantflow.build import verdicts
from implantflow.build.checks import examine_file
from implantflow.build.cli_writer import HATCH_ID, NET_ID
from implantflow.build.obf_reader import ObfFile, examine_obf
from implantflow.build.obf_writer import Encoder, with_short_jumps, write_obf
from implantflow.build.themes import effort
from implantflow.build.zip_stream import ZipStream
from implantflow.config.build import load_machine
from implantflow.errors import InputError

MACHINE = load_machine("arcam-a1")
FACTS = {"case": "x", "revision": "r1", "purpose": "demo"}


def _packet_class() -> Any:
    """The message ``Packet`` as the format's makers define it: names, numbers and types of the fields of a line."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="obp_test.proto", package="obp_test", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, number, type_, of in fields:
            made.field.add(
                name=field, number=number, type=type_, type_name=of or None, label=kind.LABEL_OPTIONAL
            )

    message("Beam", ("spot_size", 1, kind.TYPE_FLOAT, ""), ("beam_power", 2, kind.TYPE_FLOAT, ""))
    ends = [(name, n + 2, kind.TYPE_DOUBLE, "") for n, name in enumerate(("x0", "y0", "x1", "y1"))]
    message(
        "Line", ("params", 1, kind.TYPE_MESSAGE, ".obp_test.Beam"), *ends, ("speed", 6, kind.TYPE_UINT64, "")
    )
    message("Packet", ("line", 10, kind.TYPE_MESSAGE, ".obp_test.Line"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("obp_test.Packet"))


PACKET = _packet_class()


def _ends_um(line: np.ndarray) -> list[float]:
    return [float(v) * (MACHINE.unit_mm * 1000.0) - 100_000.0 for v in line]


def _serialised(lines: np.ndarray, theme: Any) -> bytes:
    out = b""
    for line in lines:
        packet = PACKET()
        packet.line.params.spot_size = theme.spot_um
        packet.line.params.beam_power = MACHINE.voltage_kv * theme.current_ma
        packet.line.x0, packet.line.y0, packet.line.x1, packet.line.y1 = _ends_um(line)
        packet.line.speed = round(theme.speed_mm_s * 1000)
        body = packet.SerializeToString()
        assert len(body) < 128
        out += bytes([len(body)]) + body
    return out


def _packets(theme: str, lines: np.ndarray) -> bytes:
    """What the encoder's compressed data hold; size and CRC-32 are zlib's."""
    entry = Encoder(MACHINE, theme).encode(lines)
    reader = zlib.decompressobj(-15)
    raw = reader.decompress(entry.data)
    assert reader.eof and not reader.unused_data
    assert (entry.crc, entry.size) == (zlib.crc32(raw), len(raw))
    return raw


def _some_lines() -> np.ndarray:
    rng = np.random.default_rng(3)
    lines = rng.integers(0, 40000, (2000, 4))
    # The plate's centre is zero, and a zero is not written: every combination of them.
    for zeros in range(16):
        for k in range(4):
            if zeros >> k & 1:
                lines[zeros * 7, k] = 20000
    return lines


@pytest.mark.parametrize("theme", ["contour", "hatch", "net", "preheat"])
def test_packets_are_those_of_the_formats_serialiser(theme: str) -> None:
    lines = _some_lines()
    assert _packets(theme, lines) == _serialised(lines, getattr(MACHINE, theme))


def test_packets_are_those_of_obplib() -> None:
    obplib = pytest.importorskip(
        "obplib", reason="obplib's set-up needs a setuptools before 81; not in the lock"
    )
    import io

    from obplib import FileHandler

    theme, lines = MACHINE.hatch, _some_lines()
    beam = obplib.Beamparameters(theme.spot_um, MACHINE.voltage_kv * theme.current_ma)
    out = io.BytesIO()
    segments = [
        obplib.Line(obplib.Point(*ends[:2]), obplib.Point(*ends[2:]), round(theme.speed_mm_s * 1000), beam)
        for ends in map(_ends_um, lines)
    ]
    FileHandler.write(segments, out)
    assert _packets("hatch", lines) == out.getvalue()


class Build:
    """A lattice ball as a CLI file and as an open build file."""

    def __init__(self, folder: Path, mesh: Mesh) -> None:
        self.box_mm = np.array([mesh[0].min(0), mesh[0].max(0)])
        self.cli, self.obf = folder / "build.cli", folder / "build.obf"
        write_plan(self.cli, plan_for(mesh, ("diamond", 2.5, 0.67)), threads=2)
        self.write(self.obf, 2)

    def write(self, path: Path, threads: int) -> None:
        write_obf(path, self.cli, MACHINE, self.box_mm, FACTS, False, threads)

    def failed(self, path: Path) -> set[str]:
        """Names of the checks that an open build file does not pass."""
        _, found = examine_file(self.cli, MACHINE.envelope_mm[1], MACHINE.layer_mm, 0.01, 1)
        lengths = (np.asarray(found.contour_mm), found.lengths(HATCH_ID), found.lengths(NET_ID))
        melted = effort(MACHINE, self.box_mm, *lengths)
        checks = verdicts.open_file(
            examine_obf(path, self.cli, MACHINE, 2), found, melted, MACHINE, self.box_mm
        )
        assert len(checks) == 7
        return {check.name for check in checks if not check.passed}

    def damaged(self, name: str, change: Callable[[bytes], bytes]) -> Path:
        """A sound zip with one file changed."""
        out = self.obf.with_name("damaged.obf")
        with zipfile.ZipFile(self.obf) as source, zipfile.ZipFile(out, "w") as target:
            for entry in source.infolist():
                data = source.read(entry)
                target.writestr(entry.filename, change(data) if entry.filename == name else data)
        return out


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    import manifold3d
    from build_bench import mesh_of

    ball = mesh_of(manifold3d.Manifold.sphere(3.0, 48).translate((100, 100, 3)))
    return Build(tmp_path_factory.mktemp("obf"), ball)


def test_sound_file_passes(build: Build) -> None:
    messages = obflib.verify(build.obf)
    assert messages.is_valid() and not messages.warnings
    assert build.failed(build.obf) == set()
    with obflib.OBF(build.obf) as other:
        info = other.build_info()
    heat = info["global"]
    assert heat["jumpSafe"] == {"files": ["jumpSafe"], "repetitions": 11}
    assert heat["startHeat"]["targetTemperature"] == 600.0
    assert heat["implantflow"]["notice"] == "NOT FOR CLINICAL USE" and heat["implantflow"]["case"] == "x"
    assert len(info["layers"]) == 120


def test_packets_parse_with_the_formats_parser(build: Build) -> None:
    """Our reader's numbers are those of the format's own parser."""
    with ObfFile(build.obf) as obf:
        name = obf.layers[40][0]
        raw, ours = obf.raw(name), obf.lines(name)
    at, n = 0, 0
    while at < len(raw):
        packet = PACKET()
        packet.ParseFromString(raw[at + 1 : at + 1 + raw[at]])
        at += 1 + raw[at]
        line = packet.line
        beam = (line.speed, line.params.beam_power, line.params.spot_size)
        assert (line.x0, line.y0, line.x1, line.y1, *beam) == tuple(ours[n])
        n += 1
    assert n == len(ours) > 100


def test_same_bytes_on_any_number_of_threads(build: Build, tmp_path: Path) -> None:
    build.write(tmp_path / "one.obf", 1)
    assert (tmp_path / "one.obf").read_bytes() == build.obf.read_bytes()
    with zipfile.ZipFile(build.obf) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def _shift(data: bytes) -> bytes:
    """One more unit in the first coordinate of the second packet."""
    second = 1 + data[0]
    at = second + 15 + 1
    value = np.frombuffer(data[at : at + 8], "<f8")[0] + 5.0
    return data[:at] + np.array([value], "<f8").tobytes() + data[at + 8 :]


def _more_power(data: bytes) -> bytes:
    return data[:11] + np.array([250.0], "<f4").tobytes() + data[15:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_shift, {"obf_paths_differ"}),
        (_more_power, {"obf_foreign_beam"}),
        (lambda data: data + data, {"obf_paths_differ", "obf_length_equals_vectors_pct"}),
        (lambda data: data[1 + data[0] :], {"obf_paths_differ"}),
        (lambda data: b"", {"obf_paths_differ"}),
    ],
    ids=["moved end", "more power", "melted twice", "first line missing", "nothing"],
)
def test_wrong_paths_fail(build: Build, change: Callable[[bytes], bytes], expected: set[str]) -> None:
    path = build.damaged("obp/layer00050_contour.obp", change)
    assert obflib.verify(path).is_valid()
    assert expected <= build.failed(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"junk, not a beam path",
        lambda data: data[:-1],
        lambda data: data[:1] + b"\x5a" + data[2:],  # timed points instead of a line
        lambda data: data[:5] + b"\x99" + data[6:],
        lambda data: b"\xff" * 12,
        lambda data: b"\x00" + data,
    ],
    ids=["text", "cut off", "another kind", "unknown field", "endless length", "empty packet"],
)
def test_damaged_packets_are_refused(build: Build, change: Callable[[bytes], bytes]) -> None:
    path = build.damaged("obp/layer00050_contour.obp", change)
    assert obflib.verify(path).is_valid(), "the reference tool does not look into the packets"
    with pytest.raises(InputError, match="layer00050_contour"):
        examine_obf(path, build.cli, MACHINE)


def test_wrong_heating_fails(build: Build) -> None:
    def colder(data: bytes) -> bytes:
        info = json.loads(data)
        info["global"]["startHeat"]["targetTemperature"] = 500.0
        info["global"]["jumpSafe"]["repetitions"] = 1
        return json.dumps(info).encode()

    assert build.failed(build.damaged("buildInfo.json", colder)) == {"obf_preheat_settings"}

    def without_last(data: bytes) -> bytes:
        at, starts = 0, [0]
        while at < len(data):
            starts.append(at)
            at += 1 + data[at]
        return data[: starts[-1]]

    assert build.failed(build.damaged("obp/jumpSafe.obp", without_last)) == {"obf_preheat_pass_mm"}


def test_missing_layer_and_damaged_zip_are_refused(build: Build) -> None:
    def shorter(data: bytes) -> bytes:
        info = json.loads(data)
        del info["layers"][7]
        return json.dumps(info).encode()

    with pytest.raises(InputError, match="119 layers"):
        examine_obf(build.damaged("buildInfo.json", shorter), build.cli, MACHINE)
    raw = bytearray(build.obf.read_bytes())
    broken = build.obf.with_name("broken.obf")
    with zipfile.ZipFile(build.obf) as archive:
        entry = archive.getinfo("obp/layer00050_contour.obp")
    raw[entry.header_offset + 60 : entry.header_offset + 64] = b"\x00\xff\x00\xff"
    broken.write_bytes(raw)
    with pytest.raises(InputError, match="layer00050_contour"):
        examine_obf(broken, build.cli, MACHINE)
    broken.write_bytes(b"no zip")
    with pytest.raises(InputError, match="not a readable open build file"):
        examine_obf(broken, build.cli, MACHINE)


def test_zip_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from implantflow.build import zip_stream
    from implantflow.errors import QualityGateError

    monkeypatch.setattr(zip_stream, "MOST_ENTRIES", 2)
    entry = zip_stream.Entry.stored(b"x")
    with ZipStream(tmp_path / "z.obf") as out:
        out.add("a", entry)
        out.add("b", entry)
        with pytest.raises(QualityGateError, match="do not fit"):
            out.add("c", entry)


def test_order_keeps_the_lines_and_shortens_the_jumps(build: Build) -> None:
    found = examine_obf(build.obf, build.cli, MACHINE)
    assert found.differing == 0
    assert 0.0 < found.jump_mm < 0.7 * found.cli_jump_mm


def test_tiles_keep_outlines_whole_and_lines_complete() -> None:
    rng = np.random.default_rng(5)
    squares = []
    for x, y in rng.integers(0, 9000, (300, 2)):
        corners = np.array([[x, y], [x + 40, y], [x + 40, y + 40], [x, y + 40], [x, y]])
        squares.append(np.hstack([corners[:-1], corners[1:]]))
    outlines = np.concatenate(squares)
    singles = rng.integers(0, 9000, (500, 4))
    for lines in (outlines, singles):
        ordered = with_short_jumps(lines, 0.005)
        both = [np.where((a[:, :1] > a[:, 2:3]), a[:, [2, 3, 0, 1]], a) for a in (lines, ordered)]
        assert sorted(map(tuple, both[0].tolist())) == sorted(map(tuple, both[1].tolist()))
    runs = with_short_jumps(outlines, 0.005).reshape(300, 4, 4)
    assert (runs[:, 1:, :2] == runs[:, :-1, 2:]).all() and (runs[:, 0, :2] == runs[:, -1, 2:]).all()
    area = (runs[..., 0] * runs[..., 3] - runs[..., 2] * runs[..., 1]).sum(axis=1)
    assert (area == 2 * 40 * 40).all(), "outlines keep their direction"
    best = np.array([[0, 0, 10, 0], [11, 0, 20, 0], [21, 0, 30, 0]])
    assert with_short_jumps(best, 0.005) is best
