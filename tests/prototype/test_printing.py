"""What goes to the printer: every plate inside the bed, nothing lost, pegs that fit, G-code with time and material."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implantflow.artifacts import read_json, sha256_path
from implantflow.config.prototype import Printer, PrototypeConfig, load_printer
from implantflow.errors import GeometryError
from implantflow.jobs import Job
from implantflow.prototype import gcode
from implantflow.prototype.layout import Part, fitted, plates
from implantflow.prototype.print_stage import lay_out_prototype, slice_prototype
from implantflow.prototype.printing import read_3mf
from implantflow.solids.mesh import read_solid
from implantflow.solids.shapes import box, cylinder

needs_slicer = pytest.mark.skipif(
    gcode.slicer() is None and os.environ.get("CI") != "true", reason="prusa-slicer is not installed here"
)


@pytest.fixture(scope="module")
def mini() -> Printer:
    return load_printer("prusa-mini")


def job(rule: str, inputs: dict[str, Path], folder: Path, printer: str) -> Job:
    outputs = {"folder": folder / rule, "record": folder / f"{rule}.json"}
    settings: dict[str, Any] = {"printer": printer, "case": "synthetic", "purpose": "demo"}
    return Job(rule, folder, {}, inputs, outputs, settings, function="test", code_digest="test")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def laid_out(rp2: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    made = job(
        "print",
        {"model": rp2 / "model.3mf", "prototype": rp2 / "prototype.json"},
        tmp_path_factory.mktemp("print"),
        "prusa-mk4",
    )
    lay_out_prototype(made)
    return made


def test_every_plate_lies_in_the_bed_and_nothing_is_lost(laid_out: Job, rp2: Path) -> None:
    record, folder = read_json(laid_out.outputs["record"]), laid_out.outputs["folder"]
    printer = Printer.model_validate(record["printer"])
    names = {p["plate"] for p in record["plates"]}
    assert (
        {f.stem for f in folder.glob("plate_*.stl")} == names == {f.stem for f in folder.glob("plate_*.3mf")}
    )
    volume = 0.0
    for name in names:
        plate = read_solid(folder / f"{name}.stl", name)
        assert (plate.bounds_mm[0] >= [printer.margin_mm, printer.margin_mm, -1e-4]).all()
        assert (plate.bounds_mm[1][:2] <= np.array(printer.bed_mm[:2]) - printer.margin_mm + 1e-3).all()
        assert plate.bounds_mm[0][2] == pytest.approx(0.0, abs=1e-4)
        volume += plate.volume_mm3 if name.startswith("plate_model") else 0.0
    model = read_3mf(rp2 / "model.3mf")
    assert volume == pytest.approx(sum(s.volume_mm3 for s in model.values()), rel=1e-4)


def test_halves_show_the_fit(laid_out: Job, rp2: Path) -> None:
    record, folder = read_json(laid_out.outputs["record"]), laid_out.outputs["folder"]
    level = record["cut_for_halves"]["point_lps_mm"][2]
    upper, lower = (read_3mf(folder / f"half_{n}.3mf") for n in ("upper", "lower"))
    assert set(upper) == set(lower) == {"implant", "bone"}
    assert min(s.bounds_mm[0][2] for s in upper.values()) == pytest.approx(level, abs=1e-3)
    assert max(s.bounds_mm[1][2] for s in lower.values()) == pytest.approx(level, abs=1e-3)
    assembly = read_solid(folder / "assembly.stl", "assembly")
    halves = sum(s.volume_mm3 for half in (upper, lower) for s in half.values())
    assert 0.0 <= halves - assembly.volume_mm3 < 600.0, "the halves are the assembly, plus their own letters"
    faces = read_json(rp2 / "prototype.json")["fit"]["faces"]
    assert level == pytest.approx(faces["si_joint"]["point_lps_mm"][2])


def test_same_bytes_twice(laid_out: Job, tmp_path: Path) -> None:
    again = job("print", dict(laid_out.inputs), tmp_path, "prusa-mk4")  # type: ignore[arg-type]
    lay_out_prototype(again)
    assert sha256_path(again.outputs["folder"]) == sha256_path(laid_out.outputs["folder"])


def test_too_long_is_split_with_pegs_that_fit(mini: Printer) -> None:
    bar = box([0, 0, 0], [300, 30, 40])
    parts, cuts = fitted([Part("bar", bar)], mini)
    assert cuts == [{"part": "bar", "axis": "x", "at_mm": 150.0, "pegs": 2}]
    assert [p.name for p in parts] == ["bar_peg_1", "bar_peg_2", "bar_a", "bar_b"]
    drill = np.pi * ((mini.peg_mm + mini.peg_play_mm) / 2.0) ** 2 * 16.0
    halves = sum(p.solid.volume_mm3 for p in parts if "peg" not in p.name)
    assert halves == pytest.approx(bar.volume_mm3 - 2 * drill, rel=1e-6)
    for peg in (p.solid for p in parts if "peg" in p.name):
        assert peg.volume_mm3 == pytest.approx(np.pi * (mini.peg_mm / 2.0) ** 2 * 15.0, rel=1e-6)
    room = np.array(mini.bed_mm[:2]) - 2 * mini.margin_mm
    for placed in plates(parts, mini):
        size = placed.solid.bounds_mm[1] - placed.solid.bounds_mm[0]
        assert (size[:2] <= room + 1e-9).all()


def test_parts_on_one_plate_do_not_touch(mini: Printer) -> None:
    parts = [Part(f"p{i}", box([0, 0, 0], [60 + i, 50, 20])) for i in range(7)]
    placed = plates(parts, mini)
    assert {p.plate for p in placed} == {1, 2}
    for number in (1, 2):
        boxes = [p.solid.bounds_mm for p in placed if p.plate == number]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                assert ((a[1][:2] + 5.9 < b[0][:2]) | (b[1][:2] + 5.9 < a[0][:2])).any()


def test_no_room_for_pegs_is_refused(mini: Printer) -> None:
    rod = cylinder([0, 0, 0], [0, 0, 300], 8.0)
    with pytest.raises(GeometryError, match="no room for two pegs"):
        fitted([Part("rod", rod)], mini)


@pytest.mark.parametrize("name", ["prusa-mk4", "prusa-mini"])
def test_presets_say_where_they_come_from(name: str) -> None:
    printer = load_printer(name)
    assert printer.source and not printer.verified
    assert f"bed_shape = 0x0,{printer.bed_mm[0]:g}x0" in gcode.slicer_settings(printer)


def test_unknown_printer_is_a_config_error() -> None:
    iteration = {"id": "rp1", "parent": None, "plan": "p1", "corrections": [], "questions": ["?"]}
    with pytest.raises(ValueError, match="no preset called 'nobody'"):
        PrototypeConfig.model_validate({"iterations": [iteration], "printer": "nobody", "approved": "rp1"})


@needs_slicer
@pytest.mark.slow
def test_gcode_with_time_and_material(laid_out: Job, tmp_path: Path) -> None:
    folders = []
    for run in ("one", "two"):
        inputs = {"folder": laid_out.outputs["folder"], "record": laid_out.outputs["record"]}
        sliced = job("gcode", inputs, tmp_path / run, "prusa-mk4")
        sliced.outputs["record"].parent.mkdir(parents=True)
        slice_prototype(sliced)
        folders.append(sliced.outputs["folder"])
    record = read_json(sliced.outputs["record"])
    assert record["sliced"] and record["reason"] is None
    model = [p for p in read_json(laid_out.outputs["record"])["plates"] if p["set"] == "model"]
    assert [p["plate"] for p in record["plates"]] == [p["plate"] for p in model]
    # Three outlines and 15 % infill: less material than the solid, more than a tenth of it.
    solid_g = 1.24e-3 * sum(
        read_solid(laid_out.outputs["folder"] / f"{p['plate']}.stl", "plate").volume_mm3 for p in model
    )
    assert 0.1 * solid_g < record["filament_g"] < 1.3 * solid_g
    assert record["time_h"] > 1.0
    for plate in record["plates"]:
        text = (folders[-1] / f"{plate['plate']}.gcode").read_text()
        assert "\nG1 " in text and text.startswith("; generated by PrusaSlicer")
        assert " UTC" not in text.split("\n", 1)[0]
    assert sha256_path(folders[0]) == sha256_path(folders[1]), "the same plate gives the same bytes"


def test_without_a_slicer_it_says_so(laid_out: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcode.shutil, "which", lambda name: None)
    inputs = {"folder": laid_out.outputs["folder"], "record": laid_out.outputs["record"]}
    sliced = job("gcode", inputs, tmp_path, "prusa-mk4")
    slice_prototype(sliced)
    record = read_json(sliced.outputs["record"])
    assert not record["sliced"] and "not installed" in record["reason"] and record["time_h"] is None
    assert list(sliced.outputs["folder"].iterdir()) == []


def test_a_slicer_that_fails_is_reported(laid_out: Job, tmp_path: Path, mini: Printer) -> None:
    plate = next(laid_out.outputs["folder"].glob("plate_model_1.stl"))
    with pytest.raises(GeometryError, match="could not slice"):
        gcode.slice_plate("false", plate, tmp_path / "x.gcode", mini)
    assert not (tmp_path / "x.gcode").exists()
