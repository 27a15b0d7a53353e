"""The layer slider and the plot of orientations, from files to figures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from implantflow.artifacts import read_json, write_json
from implantflow.report import svgplot
from implantflow.report.figures import building
from implantflow.report.figures.base import Context
from implantflow.report.page import _encoded
from implantflow.report.sources import CaseFiles


def _context(case_dir: Path) -> Context:
    return Context(CaseFiles(case_dir, None), {"build": {"revisions": [{"id": "r1"}]}}, "MADE UP")


def test_slider_holds_every_layer_of_a_short_file(made_up_case: Path) -> None:
    figure = building.layer_slider(_context(made_up_case))
    assert figure is not None and figure.frames == 4
    picture = np.asarray(Image.open(io.BytesIO(figure.data)).convert("RGB"))
    assert picture.shape[1] == 4 * building.SIDE_PX
    shown = _encoded(figure)
    assert shown["frames"] == 4 and shown["width"] == building.SIDE_PX
    # Every frame shows the same square: outline in blue, hatch of the label 1 as dense metal.
    frames = np.split(picture, 4, axis=1)
    for frame in frames:
        blue = (np.abs(frame.astype(int) - [0, 114, 178]).sum(axis=2) < 40).sum()
        assert blue == pytest.approx(
            (np.abs(frames[0].astype(int) - [0, 114, 178]).sum(axis=2) < 40).sum(), abs=5
        )
        assert blue > 500


def test_no_build_no_slider(tmp_path: Path) -> None:
    context = _context(tmp_path)
    assert building.layer_slider(context) is None and building.orientations(context) is None


def test_orientations_are_dots_by_group(case_copy: Path) -> None:
    def row(
        time_h: float, area: float, *, chosen: bool = False, unbeaten: bool = False, fits: bool = True
    ) -> dict:
        return {
            "time_h": time_h,
            "dense_area_mm2": area,
            "chosen": chosen,
            "unbeaten": unbeaten,
            "fits": fits,
        }

    rows = [row(20, 900, chosen=True), row(15, 300, unbeaten=True), row(22, 950), row(9, 90, fits=False)]
    write_json(case_copy / "build/r1/orientation.json", {"overhang_deg": 45.0, "orientations": rows})
    figure = building.orientations(_context(case_copy))
    assert figure is not None and figure.mime == "image/svg+xml"
    svg = figure.data.decode()
    assert svg.count("<circle") == 3 and "polyline" not in svg
    assert "1 do not fit" in figure.caption and "45°" in figure.caption
    assert len(read_json(case_copy / "build/r1/orientation.json")["orientations"]) == 4


def test_dots_lie_where_their_values_are() -> None:
    line = svgplot.Line(np.array([0.0, 10.0]), np.array([1.0, 2.0]), "#000000", radius=3.0)
    svg = svgplot.plot("t", "x", "y", [line])
    assert svg.count("<circle") == 2 and 'cx="64.0"' in svg and 'cx="406.0"' in svg
