"""Reading an open build file back: JSON by name, packets one by one, against the CLI file's own lines.

``obftool verify`` looks at the JSON and at the presence of files; it accepts junk under the name of a beam path. Here
every packet is parsed and summed up, none is kept; the lines of every layer and theme must be the CLI file's (in any
order and direction), and power, speed and spot those of the theme.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.cli_writer import OUTLINE
from implantflow.build.pipeline import ordered
from implantflow.config.build import Machine
from implantflow.errors import InputError
from implantflow.geometry import FloatArray


class PathFigures(NamedTuple):
    """Lines of a beam path, with another beam, on no unit; fingerprint; sums (mm, s, J, mm), longest jump (mm)."""

    lines: int
    foreign: int
    astray: int
    mark: int
    length_mm: float
    melt_s: float
    melt_j: float
    jump_mm: float
    jump_longest_mm: float


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

    def lines(self, name: str) -> FloatArray:
        """(N, 7) x0, y0, x1, y1 (um), speed (um/s), power (W), spot (um) of the lines of a beam path.

        Raises
        ------
        InputError
            A packet that is no line, or does not end where it says.
        """
        from implantflow.build import obp_reader_kernels as kernels

        lines, wrong = kernels.read_lines(np.frombuffer(self.raw(name), np.uint8))
        self._refuse(name, wrong)
        return lines

    def figures(self, name: str, beam: FloatArray, grid_um: tuple[float, float, float]) -> PathFigures:
        """What the lines of a beam path sum to, without keeping them; errors as those of :meth:`lines`.

        ``beam`` is (3,) speed (um/s), power (W) and spot (um); ``grid_um`` the unit and the plate's centre (um).
        """
        from implantflow.build import obp_reader_kernels as kernels

        wrong, *counts, sums = kernels.path_figures(np.frombuffer(self.raw(name), np.uint8), beam, *grid_um)
        self._refuse(name, wrong)
        return PathFigures(*counts, *sums.tolist())

    def _refuse(self, name: str, wrong: int) -> None:
        if wrong >= 0:
            raise InputError(
                f"beam path {name!r} holds a packet that cannot be read as a line",
                where=f"{self.path}, byte {wrong} of {self.files[name]}",
                fix="the file is damaged: build it again",
            )


@dataclass
class ObfFindings:
    """What reading an open build file back found.

    Attributes
    ----------
    lines : count. length_mm, melt_s, melt_j : (layers,) from the packets' own speed and power.
    layer_jump_mm, layer_cli_jump_mm : (layers,) ways between lines of a theme, in this file's order and in the CLI
        file's; layer_longest_mm, layer_cli_longest_mm : the longest of each.
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
    layer_jump_mm: list[float] = field(default_factory=list)
    layer_longest_mm: list[float] = field(default_factory=list)
    layer_cli_jump_mm: list[float] = field(default_factory=list)
    layer_cli_longest_mm: list[float] = field(default_factory=list)
    pass_mm: float = 0.0
    passes: int = -1
    temperature_c: float = float("nan")
    places: list[str] = field(default_factory=list)

    @property
    def jump_mm(self) -> float:
        """All jumps in this file's order."""
        return sum(self.layer_jump_mm)

    @property
    def cli_jump_mm(self) -> float:
        """All jumps in the CLI file's order."""
        return sum(self.layer_cli_jump_mm)

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
    longest_mm: float
    cli_jump_mm: float
    cli_longest_mm: float


def beam_of(machine: Machine, theme: str) -> FloatArray:
    """(3,) speed (um/s), power (W) and spot (um) that a theme of the machine asks for; zeros for no theme of it."""
    said = getattr(machine, theme, None)
    if said is None:
        return np.zeros(3)
    return np.array([said.speed_mm_s * 1000.0, machine.voltage_kv * said.current_ma, said.spot_um])


def _grid_um(machine: Machine, unit_mm: float) -> tuple[float, float, float]:
    """Unit and centre of the plate (um)."""
    return (unit_mm * 1000.0, 500.0 * machine.envelope_mm[0], 500.0 * machine.envelope_mm[1])


def _compare(obf: ObfFile, cli: CliFile, machine: Machine, layer: CliLayer, names: list[str]) -> _Seen:
    """Hold one layer's packets against the CLI layer; may run in any thread."""
    from implantflow.build import obp_reader_kernels as kernels

    grid_um = _grid_um(machine, cli.unit_mm)
    used = np.concatenate([layer.label[np.diff(layer.starts) > 1], layer.hatch_label])
    # A label begins with the theme that melts its lines; an outline is no path of the beam.
    wanted: dict[str, list[int]] = {}
    for label in kernels.distinct(used).tolist():
        theme = cli.labels.get(label, str(label)).partition(" ")[0]
        if theme != OUTLINE:
            wanted.setdefault(theme, []).append(label)
    count, differing, foreign = 0, 0, 0
    figures, longest = np.zeros(4), [0.0]
    cli_jumps, cli_longest = 0.0, [0.0]
    for name in names:
        theme = name.rpartition("_")[2]
        found = obf.figures(name, beam_of(machine, theme), grid_um)
        ours = [0, 0, 0]
        if theme in wanted:
            *ours, ways, far = kernels.cli_figures(
                layer.points,
                layer.starts,
                layer.label,
                layer.hatches,
                layer.hatch_label,
                np.array(wanted.pop(theme), dtype=np.int64),
            )
            cli_jumps += ways * cli.unit_mm
            cli_longest.append(far * cli.unit_mm)
        count += found.lines
        differing += 0 if [found.lines, found.astray, found.mark] == ours else 1
        foreign += found.foreign
        figures += [found.length_mm, found.melt_s, found.melt_j, found.jump_mm]
        longest.append(found.jump_longest_mm)
    differing += len(wanted)
    jumps = [max(longest), cli_jumps, max(cli_longest)]
    return _Seen(count, differing, foreign, *figures.tolist(), *jumps)


def examine_obf(path: Path, cli_path: Path, machine: Machine, threads: int = 1) -> ObfFindings:
    """Read every packet of an open build file and hold it against the CLI file; memory does not grow with layers.

    Raises
    ------
    InputError
        A file cannot be read, or the two have different numbers of layers.
    """
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
            heat = obf.figures(name, beam_of(machine, "preheat"), _grid_um(machine, cli.unit_mm))
            found.foreign_beam += heat.foreign
            found.pass_mm += heat.length_mm

        def look(item: tuple[CliLayer, list[str]]) -> _Seen:
            return _compare(obf, cli, machine, *item)

        items = zip(cli.layers(), obf.layers, strict=True)
        for number, seen in enumerate(ordered(items, look, threads, 4)):
            found.lines += seen.lines
            found.length_mm.append(seen.length_mm)
            found.melt_s.append(seen.melt_s)
            found.melt_j.append(seen.melt_j)
            found.differing += seen.differing
            found.layer_jump_mm.append(seen.jump_mm)
            found.layer_longest_mm.append(seen.longest_mm)
            found.layer_cli_jump_mm.append(seen.cli_jump_mm)
            found.layer_cli_longest_mm.append(seen.cli_longest_mm)
            found.foreign_beam += seen.foreign
            if seen.differing or seen.foreign:
                found.note(
                    f"build.obf, layer {number}: {seen.differing} themes hold other lines, "
                    f"{seen.foreign} lines another beam"
                )
    return found
