"""The open build file (OBF 1.0): a zip with the layers' beam paths as OBP packets and JSON that orders them.

It holds the lines of the CLI file that the beam follows, in an order with shorter jumps, and besides them the heating:
one pass over the heated rectangle, run ``jumpSafe.repetitions`` times before each layer. The recoater, the powder
pistons, the temperature sensor and the time-out of the start heat are settings of a machine; they are not in the
presets, so they are not in the file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cli_reader import CliFile
from implantflow.build.cli_writer import (
    EDGE_ID,
    HATCH_ID,
    INNER_ID,
    LABELS,
    OUTER_ID,
    SUPPORT,
    SUPPORT_ID,
    THIN_ID,
)
from implantflow.build.pipeline import ordered
from implantflow.build.themes import heated_mm
from implantflow.build.zip_stream import Entry, ZipStream
from implantflow.config.build import Machine
from implantflow.config.site import NOT_CLINICAL
from implantflow.geometry import FloatArray

#: Layers that one thread works on before it hands them over; a layer takes a hundred times its CLI words.
_BLOCK = 4
#: Side of the tiles that the beam goes through one after another (mm): about a cell of the lattice.
TILE_MM = 2.5


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def beam_fields(
    spot_um: float, power_w: float, speed_mm_s: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Encoded fields of a line that do not depend on its place: beam parameters, and speed."""
    head = b"\x0a\x0a\x0d" + struct.pack("<f", spot_um) + b"\x15" + struct.pack("<f", power_w)
    tail = b"\x30" + _varint(round(speed_mm_s * 1000.0))
    return np.frombuffer(head, np.uint8), np.frombuffer(tail, np.uint8)


class Encoder:
    """Encodes lines as compressed OBP packets, driven with a theme of the machine."""

    def __init__(self, machine: Machine, theme: str) -> None:
        from implantflow.build import obp_kernels

        beam = getattr(machine, theme)
        power_w = machine.voltage_kv * beam.current_ma
        self._unit_um = machine.unit_mm * 1000.0
        self._centre_um = 500.0 * machine.envelope_mm[0], 500.0 * machine.envelope_mm[1]
        self._packet = obp_kernels.packet_of(*beam_fields(beam.spot_um, power_w, beam.speed_mm_s))
        self._table = obp_kernels.crc_tables(len(self._packet))

    def encode(self, lines: NDArray[np.int64]) -> Entry:
        """Beam path of (N, 4) lines in units of the build file; may run in any thread, without the interpreter lock."""
        from implantflow.build import obp_kernels

        data, crc, size = obp_kernels.compress_lines(
            lines, self._unit_um, *self._centre_um, self._packet, self._table
        )
        return Entry.deflated(data.data, crc, size)


def with_short_jumps(
    lines: NDArray[np.int64], unit_mm: float, order: str = "tiles", *, may_turn: bool = True
) -> NDArray[np.int64]:
    """The lines in an order with shorter jumps, where that is shorter than the order of the CLI file.

    ``order`` is ``tiles`` or ``nearest``; single lines may be run backwards only where they ``may_turn``.
    """
    from implantflow.build import order_kernels

    if order == "nearest":
        found = order_kernels.by_nearness(lines, may_turn)
    else:
        found = order_kernels.by_tiles(lines, round(TILE_MM / unit_mm), may_turn)
    return found if order_kernels.jumps(found) < order_kernels.jumps(lines) else lines


def themes_of(machine: Machine) -> dict[str, tuple[int, ...]]:
    """Themes of the machine that melt -> ids in the CLI file of the kinds of path that they melt."""
    more = {"contour": (OUTER_ID, INNER_ID, EDGE_ID), "net": (THIN_ID,)} if machine.paths is not None else {}
    found = {theme: (label, *more.get(theme, ())) for label, theme in LABELS.items()}
    return found if machine.support is None else {**found, SUPPORT: (SUPPORT_ID,)}


def heating_lines(machine: Machine, box_mm: FloatArray) -> NDArray[np.int64]:
    """(N, 4) lines in units of one pass over the heated rectangle, to and fro.

    The distance of the lines is the preset's, rounded so that a whole number of them fills the rectangle.
    """
    low, high = heated_mm(machine, box_mm)
    height = float(high[1] - low[1])
    count = max(round(height / machine.preheat.offset_mm), 1)
    y = low[1] + (np.arange(count) + 0.5) * height / count
    left, right = np.full(count, low[0]), np.full(count, high[0])
    odd = np.arange(count) % 2 == 1
    ends = np.column_stack([np.where(odd, right, left), y, np.where(odd, left, right), y])
    return np.round(ends / machine.unit_mm).astype(np.int64)


def _layers(cli: CliFile) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """Number and words of each layer, as they stand in the file."""
    from implantflow.build import cli_reader_kernels

    words, at, number = cli.words, 0, 0
    while at < len(words):
        end = cli_reader_kernels.measure_layer(words, at)[0]
        yield number, words[at:end]
        at, number = end, number + 1


def entry_name(layer: int, theme: str) -> str:
    """Name under which the paths of a theme in a layer are listed; layers count from 1."""
    return f"layer{layer + 1:05d}_{theme}"


def write_obf(
    path: Path,
    cli_path: Path,
    machine: Machine,
    box_mm: FloatArray,
    facts: Mapping[str, str],
    clinical: bool,
    threads: int,
) -> None:
    """Write the open build file of a CLI file that this project wrote (16-bit blocks).

    Parameters
    ----------
    box_mm : (2, 3) box of the part in build_xyz. facts : texts of the header, kept in ``buildInfo.global``.
    """
    from implantflow.build import obp_kernels

    themes = themes_of(machine)
    encoders = {theme: Encoder(machine, theme) for theme in themes}
    order = "tiles" if machine.paths is None else machine.paths.line_order
    one_way = machine.paths is not None and machine.paths.hatch_order == "one_way"

    def encode(item: tuple[int, NDArray[np.uint16]]) -> list[tuple[str, Entry]]:
        number, words = item
        made = []
        for theme, labels in themes.items():
            lines = np.concatenate([obp_kernels.lines_of(words, label) for label in labels])
            if len(lines):
                may_turn = not (one_way and HATCH_ID in labels)
                lines = with_short_jumps(lines, machine.unit_mm, order, may_turn=may_turn)
                entry = encoders[theme].encode(lines)
                made.append((entry_name(number, theme), entry))
        return made

    files: dict[str, str] = {}
    layers: list[dict[str, Any]] = []
    with ZipStream(path) as out:

        def add(name: str, entry: Entry) -> None:
            files[name] = f"obp/{name}.obp"
            out.add(files[name], entry)

        heat = Encoder(machine, "preheat").encode(heating_lines(machine, box_mm))
        add("startHeat", heat)
        add("jumpSafe", heat)
        for made in ordered(_layers(CliFile(cli_path)), encode, threads, _BLOCK):
            for name, entry in made:
                add(name, entry)
            layers.append({"melt": [name for name, _ in made]})
        for name, content in _documents(machine, facts, clinical, files, layers).items():
            out.add(name, Entry.stored((json.dumps(content, indent=1) + "\n").encode("ascii")))


def _documents(
    machine: Machine,
    facts: Mapping[str, str],
    clinical: bool,
    files: dict[str, str],
    layers: list[dict[str, Any]],
) -> dict[str, Any]:
    """The JSON files of the archive, each under its name."""
    themes = [machine.preheat, *(getattr(machine, name) for name in themes_of(machine))]
    return {
        "manifest.json": {
            "obfFormatVersion": "1.0",
            "name": " ".join(facts.get(key, "") for key in ("case", "revision")).strip() or "part",
            "description": "beam paths of one part" if clinical else NOT_CLINICAL,
            "version": "1.0",
            "author": "implantflow",
            "license": "not stated",
            "repository": "none",
            "modules": {},
            "buildInfo": "buildInfo.json",
            "buildProcessors": "buildProcessors/buildProcessors.json",
            "machineCapabilities": "machineCapabilities.json",
        },
        "buildInfo.json": {
            "files": files,
            "global": {
                "implantflow": {
                    **({} if clinical else {"notice": NOT_CLINICAL}),
                    **facts,
                    "not in this file": "recoater, powder pistons, temperature sensor and time-out of the start heat",
                    "machineCapabilities": "beamPower in W, beamSize in mm, beamSpeed in m/s",
                },
                "layerfeed": {"build_piston_distance": -machine.layer_mm},
                "startHeat": {"file": "startHeat", "targetTemperature": machine.preheat.temperature_c},
                "jumpSafe": {"files": ["jumpSafe"], "repetitions": machine.preheat.passes},
            },
            "layers": layers,
        },
        "buildProcessors/buildProcessors.json": {"buildProcessors": {}},
        "machineCapabilities.json": {
            "buildModule": {
                "tankSize": machine.envelope_mm[2],
                "platform": {"x": machine.envelope_mm[0], "y": machine.envelope_mm[1]},
            },
            "meltSystem": {
                "beamPower": max(machine.voltage_kv * theme.current_ma for theme in themes),
                "beamSize": max(theme.spot_um for theme in themes) / 1000.0,
                "beamSpeed": max(theme.speed_mm_s for theme in themes) / 1000.0,
            },
            "turnaroundStation": {},
            "software": {},
        },
    }
