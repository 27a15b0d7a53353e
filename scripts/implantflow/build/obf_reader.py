"""Reading an open build file back: JSON by name, packets one by one, against the CLI file's own lines.

``obftool verify`` looks at the JSON and at the presence of files; it accepts junk under the name of a beam path. Here
every packet is parsed; the lines of every layer and theme must be the CLI file's (in any order and direction), and
power, speed and spot those of the theme.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.pipeline import ordered
from implantflow.config.build import Machine
from implantflow.errors import InputError
from implantflow.geometry import FloatArray


class ObfFile:
    """An open build file: its JSON at once, beam paths by name.

    Raises
    ------
    InputError
        No zip file, a JSON that is missing, or one that does not say what is needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            self.manifest = json.loads(self._zip.read("manifest.json"))
            self.build_info = json.loads(self._zip.read(self.manifest["buildInfo"]))
            self.files: dict[str, str] = dict(self.build_info["files"])
            self.layers: list[list[str]] = [list(layer["melt"]) for layer in self.build_info["layers"]]
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a readable open build file: {error}", where=str(path)) from error

    def __enter__(self) -> ObfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def settings(self) -> dict[str, Any]:
        """``global`` of the build's information: start heat, preheat passes."""
        return dict(self.build_info.get("global", {}))

    def raw(self, name: str) -> bytes:
        """Bytes of a beam path by the name that the layers use."""
        try:
            return self._zip.read(self.files[name])
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(
                f"beam path {name!r} cannot be read: {error}", where=str(self.path), fix="build it again"
            ) from error

    def parse(self, name: str, raw: bytes) -> FloatArray:
        """(N, 7) x0, y0, x1, y1 (um), speed (um/s), power (W), spot (um) of the lines of a beam path.

        Raises
        ------
        InputError
            A packet that is no line, or does not end where it says.
        """
        from implantflow.build import obp_reader_kernels

        lines, wrong = obp_reader_kernels.read_lines(np.frombuffer(raw, np.uint8))
        if wrong >= 0:
            raise InputError(
                f"beam path {name!r} holds a packet that cannot be read as a line",
                where=f"{self.path}, byte {wrong} of {self.files[name]}",
                fix="the file is damaged: build it again",
            )
        return lines

    def lines(self, name: str) -> FloatArray:
        """The lines of a beam path by name."""
        return self.parse(name, self.raw(name))


@dataclass
class ObfFindings:
    """What reading an open build file back found.

    Attributes
    ----------
    lines : count. length_mm, melt_s, melt_j : (layers,) from the packets' own speed and power.
    jump_mm, cli_jump_mm : ways between lines of a theme, in this file's order and in the CLI file's.
    differing : files (one a layer and theme) that do not hold the CLI file's lines.
    foreign_beam : lines whose power, speed or spot is not the theme's.
    pass_mm : length of one preheat pass. places : where, first few.
    """

    lines: int = 0
    length_mm: list[float] = field(default_factory=list)
    melt_s: list[float] = field(default_factory=list)
    melt_j: list[float] = field(default_factory=list)
    differing: int = 0
    foreign_beam: int = 0
    jump_mm: float = 0.0
    cli_jump_mm: float = 0.0
    pass_mm: float = 0.0
    passes: int = -1
    temperature_c: float = float("nan")
    places: list[str] = field(default_factory=list)

    def note(self, place: str) -> None:
        """Remember a place (the first five)."""
        if len(self.places) < 5:
            self.places.append(place)


class _Seen(NamedTuple):
    """One layer: lines, files that are not the CLI file's, lines with another beam; what the packets sum to."""

    lines: int
    differing: int
    foreign: int
    length_mm: float
    melt_s: float
    melt_j: float
    jump_mm: float
    cli_jump_mm: float


def expected_lines(layer: CliLayer, unit_mm: float, centre_um: FloatArray) -> dict[int, FloatArray]:
    """Label -> (N, 4) lines in um from the plate's centre that a CLI layer holds, in file order."""
    out: dict[int, list[FloatArray]] = {}
    step = unit_mm * 1000.0
    ends = np.ones(len(layer.points), dtype=bool)
    ends[layer.starts[1:] - 1] = False
    first = np.flatnonzero(ends)
    pairs = np.concatenate([layer.points[first], layer.points[first + 1]], axis=1)
    owner = np.repeat(layer.label, np.diff(layer.starts) - 1)
    for labels, lines in ((owner, pairs), (layer.hatch_label, layer.hatches)):
        single = len(labels) > 0 and bool((labels == labels[0]).all())
        for label in [int(labels[0])] if single else np.unique(labels).tolist():
            chosen = lines if single else lines[labels == label]
            out.setdefault(label, []).append(chosen * step - np.tile(centre_um, 2))
    return {label: np.concatenate(parts) for label, parts in sorted(out.items())}


def beam_of(machine: Machine, theme: str) -> FloatArray:
    """(3,) speed (um/s), power (W) and spot (um) that a theme of the machine asks for; zeros for no theme of it."""
    said = getattr(machine, theme, None)
    if said is None:
        return np.zeros(3)
    return np.array([said.speed_mm_s * 1000.0, machine.voltage_kv * said.current_ma, said.spot_um])


def _compare(
    obf: ObfFile,
    machine: Machine,
    labels: dict[int, str],
    unit_mm: float,
    layer: CliLayer,
    said: list[tuple[str, bytes]],
) -> _Seen:
    """Hold one layer's packets against the CLI layer; may run in any thread."""
    from implantflow.build import obp_reader_kernels as kernels

    centre_um = 500.0 * np.asarray(machine.envelope_mm[:2])
    grid = (unit_mm * 1000.0, float(centre_um[0]), float(centre_um[1]))
    wanted = {
        labels.get(label, str(label)): xy for label, xy in expected_lines(layer, unit_mm, centre_um).items()
    }
    count, differing, foreign = 0, 0, 0
    figures = np.zeros(5)
    for name, raw in said:
        theme = name.rpartition("_")[2]
        lines = obf.parse(name, raw)
        count += len(lines)
        ours = wanted.pop(theme, np.empty((0, 4)))
        same = len(ours) == len(lines) and kernels.fingerprint(lines, *grid) == kernels.fingerprint(
            ours, *grid
        )
        differing += 0 if same else 1
        strange, *melted = kernels.beam_figures(lines, beam_of(machine, theme))
        foreign += strange
        figures += [*melted, kernels.jump_mm(lines), kernels.jump_mm(ours)]
    differing += len(wanted)
    return _Seen(count, differing, foreign, *figures.tolist())


def examine_obf(path: Path, cli_path: Path, machine: Machine, threads: int = 1) -> ObfFindings:
    """Read every packet of an open build file and hold it against the CLI file; memory does not grow with layers.

    Raises
    ------
    InputError
        A file cannot be read, or the two have different numbers of layers.
    """
    from implantflow.build import obp_reader_kernels as kernels

    found = ObfFindings()
    cli = CliFile(cli_path)
    with ObfFile(path) as obf:
        if cli.declared_layers != len(obf.layers):
            raise InputError(
                f"the open build file has {len(obf.layers)} layers, the CLI file {cli.declared_layers}",
                where=str(path),
                fix="build it again",
            )
        settings = obf.settings.get("jumpSafe", {})
        found.passes = int(settings.get("repetitions", -1))
        found.temperature_c = float(obf.settings.get("startHeat", {}).get("targetTemperature", "nan"))
        for name in settings.get("files", []):
            lines = obf.lines(name)
            beam = beam_of(machine, "preheat")
            foreign, length_mm, _, _ = kernels.beam_figures(lines, beam)
            found.foreign_beam += foreign
            found.pass_mm += length_mm

        def items() -> Iterator[tuple[CliLayer, list[tuple[str, bytes]]]]:
            for layer, names in zip(cli.layers(), obf.layers, strict=True):
                # A zip file is read by one thread.
                yield layer, [(name, obf.raw(name)) for name in names]

        def look(item: tuple[CliLayer, list[tuple[str, bytes]]]) -> _Seen:
            return _compare(obf, machine, cli.labels, cli.unit_mm, *item)

        for number, seen in enumerate(ordered(items(), look, threads, 4)):
            found.lines += seen.lines
            found.length_mm.append(seen.length_mm)
            found.melt_s.append(seen.melt_s)
            found.melt_j.append(seen.melt_j)
            found.differing += seen.differing
            found.jump_mm += seen.jump_mm
            found.cli_jump_mm += seen.cli_jump_mm
            found.foreign_beam += seen.foreign
            if seen.differing or seen.foreign:
                found.note(
                    f"build.obf, layer {number}: {seen.differing} themes hold other lines, "
                    f"{seen.foreign} lines another beam"
                )
    return found
