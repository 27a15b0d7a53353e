"""The renderer against analytic shapes: size, place, side, thickness, sections, and the layer reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import report_fabricated as made

from implantflow.errors import InputError
from implantflow.report import palette, svgplot
from implantflow.report.cli_layers import LayerFile
from implantflow.report.figures.base import plane_trace_px
from implantflow.report.figures.device import signed_distance_mm
from implantflow.report.meshes import Mesh, decimate, section, tube
from implantflow.report.slicing import Slice, sample, three_planes
from implantflow.report.views import VIEWS, Camera, Part, fit_camera, project, render, thickness_mm
from implantflow.volumes import Volume


def ball(centre: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 20.0, rings: int = 60) -> Mesh:
    vertices, faces = made.ellipsoid(centre, (radius, radius, radius), rings)
    return Mesh(vertices, faces.astype(np.int64))


def camera(view: str, mm_per_px: float = 0.5, size: int = 161) -> Camera:
    forward, up, markers = VIEWS[view]
    return Camera(forward, up, (0.0, 0.0, 0.0), mm_per_px, size, size, markers)


def test_ball_covers_its_disc() -> None:
    image = render(camera("anterior"), [Part(ball(), (0.2, 0.4, 0.8))])
    covered = (image < 250).any(axis=2).sum() * 0.5**2
    assert covered == pytest.approx(np.pi * 20**2, rel=0.025)


@pytest.mark.parametrize(
    ("view", "edge"),
    [("anterior", "right"), ("posterior", "left"), ("top", "left"), ("left lateral", "middle")],
)
def test_patients_left_lies_where_the_letter_says(view: str, edge: str) -> None:
    place = project(camera(view), np.array([[30.0, 0.0, 0.0]]))[0]
    expected = {"right": 80 + 60, "left": 80 - 60, "middle": 80}[edge]
    assert place[0] == pytest.approx(expected)
    letters = VIEWS[view][2]
    if edge != "middle":
        assert letters[1 if edge == "right" else 0] == "L"


def test_nearer_part_hides_the_farther() -> None:
    red, blue = Part(ball((0, -30, 0), 10.0), (1.0, 0.0, 0.0)), Part(ball((0, 30, 0), 10.0), (0.0, 0.0, 1.0))
    front, back = render(camera("anterior"), [red, blue]), render(camera("posterior"), [red, blue])
    assert front[80, 80, 0] > front[80, 80, 2]
    assert back[80, 80, 2] > back[80, 80, 0]


def test_translucent_part_mixes_with_what_is_behind() -> None:
    behind = Part(ball((0, 30, 0), 10.0), (0.0, 0.0, 1.0))
    glass = Part(ball((0, -30, 0), 10.0), (1.0, 0.0, 0.0), alpha=0.5)
    pixel = render(camera("anterior"), [glass, behind])[80, 80].astype(int)
    assert pixel[0] > 60
    assert pixel[2] > 60


def test_thickness_of_a_ball() -> None:
    thickness = thickness_mm(camera("left lateral"), [ball(rings=90)])
    assert thickness[80, 80] == pytest.approx(40.0, abs=0.2)
    assert thickness[80, 80 + 24] == pytest.approx(2 * np.sqrt(20**2 - 12**2), abs=0.3)
    assert thickness[2, 2] == 0.0


def test_fitted_camera_shows_everything() -> None:
    mesh = ball((100.0, -40.0, 7.0), 33.0)
    for view in VIEWS:
        place = project(fit_camera(view, [mesh], 300, 200), mesh.vertices)
        assert place[:, 0].min() > 5
        assert place[:, 0].max() < 295
        assert place[:, 1].min() > 5
        assert place[:, 1].max() < 195


def test_section_of_a_ball_is_a_closed_circle() -> None:
    segments = section(ball(), (0.0, 0.0, 12.0), (0.0, 0.0, 1.0))
    radius = np.linalg.norm(segments[..., :2], axis=2)
    assert radius.min() > 15.8
    assert radius.max() < 16.05
    ends, counts = np.unique(segments.reshape(-1, 3), axis=0, return_counts=True)
    assert (counts == 2).all(), "every end point belongs to two segments: the outline is closed"
    assert len(ends) == len(segments)


def test_mask_of_a_ball_has_its_area() -> None:
    for plane in three_planes((0.0, 0.0, 0.0), 60.0, 60.0, 0.25):
        assert plane.mask_of(ball()).sum() * 0.25**2 == pytest.approx(np.pi * 20**2, rel=0.01)


def test_slice_takes_values_from_the_right_place() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (-10.0, 5.0, 7.0)
    k, j, i = np.meshgrid(np.arange(8), np.arange(9), np.arange(10), indexing="ij")
    place = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    volume = Volume((place @ [1.0, 10.0, 100.0]).astype(np.float32), affine)
    for orientation in ("axial", "coronal", "sagittal"):
        plane = Slice(orientation, (-2.0, 14.0, 20.0), 1.0, 5, 5)
        expected = (plane.grid_mm() @ [1.0, 10.0, 100.0]).reshape(5, 5)
        np.testing.assert_allclose(sample(volume, plane), expected, rtol=1e-5)
    outside = sample(volume, Slice("axial", (500.0, 14.0, 20.0), 1.0, 5, 5))
    assert np.isnan(outside).all()


def test_plane_trace_runs_through_the_plane() -> None:
    plane = Slice("axial", (0.0, 0.0, 0.0), 0.5, 101, 101)
    trace = plane_trace_px(plane, (10.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 5.0, 40.0), 10.0)
    np.testing.assert_allclose(trace[0, :, 0], 50 + 20)
    np.testing.assert_allclose(sorted(trace[0, :, 1]), [50 + 10 - 20, 50 + 10 + 20])
    oblique = plane_trace_px(plane, (10.0, 0.0, 0.0), (0.6, 0.0, 0.8), (0.0, 0.0, 0.0), 10.0)
    np.testing.assert_allclose(oblique[0, :, 0], 50 + 20)
    assert plane_trace_px(plane, (0, 0, 0), (0, 0, 1), (0, 0, 0), 10.0).size == 0


def test_signed_distance_between_balls() -> None:
    distance = signed_distance_mm(ball(radius=21.0), ball(radius=20.0, rings=80))
    assert np.median(distance) == pytest.approx(1.0, abs=0.05)
    assert np.median(signed_distance_mm(ball(radius=18.0), ball(radius=20.0))) == pytest.approx(
        -2.0, abs=0.05
    )


def test_tube_is_closed_and_as_long_as_its_path() -> None:
    mesh = tube([(0.0, 0.0, 0.0), (0.0, 0.0, 50.0)], 3.0)
    through = thickness_mm(camera("top", 0.25), [mesh])
    assert through[80, 80] == pytest.approx(50.0, abs=0.1)


def test_decimated_surface_stays_in_place() -> None:
    mesh = ball(rings=120)
    small = decimate(mesh, 2000)
    assert len(small.faces) <= 2000
    assert np.abs(np.linalg.norm(small.vertices, axis=1) - 20.0).max() < 0.3
    np.testing.assert_array_equal(small.vertices, decimate(mesh, 2000).vertices)


def test_layers_are_read_from_the_build_file(made_up_case: Path) -> None:
    cli = LayerFile(made_up_case / "build/r1/build.cli")
    assert len(cli) == 4
    layer = cli.layer(2)
    assert layer.z_mm == pytest.approx(0.15)
    assert layer.outlines[0][0] == 1
    np.testing.assert_allclose(layer.outlines[0][1][0], [5.0, 5.0])
    np.testing.assert_allclose(layer.hatches[0][1][0], [[5.5, 10.0], [24.5, 10.0]])


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_truncated_build_file_is_refused(made_up_case: Path, tmp_path: Path, cut: int) -> None:
    data = (made_up_case / "build/r1/build.cli").read_bytes()
    path = tmp_path / "build.cli"
    path.write_bytes(data[:-cut])
    with pytest.raises(InputError):
        LayerFile(path)


def test_diverging_colours_are_alike_on_both_sides() -> None:
    grey = palette.diverging(np.array([-3.0, -1.5, 0.0, 1.5, 3.0]), 3.0).astype(float) @ [0.3, 0.59, 0.11]
    assert abs(grey[0] - grey[4]) < 20
    assert abs(grey[1] - grey[3]) < 35
    assert grey[2] == grey.max()


def test_a_legend_does_not_run_into_the_title() -> None:
    x = np.arange(3.0)
    names = ("outline", "contour passes", "hatch", "net")
    crowded, roomy = (
        svgplot.plot("Length of paths per layer", "x", "m", [svgplot.Line(x, x, "#000", n) for n in some])
        for some in (names, names[3:])
    )
    assert 'x="64" y="18">Length' in crowded and 'y="35" style="fill:#000">net' in crowded
    assert 'y="18" style="fill:#000">net' in roomy
    assert 'viewBox="0 0 420 257"' in crowded and 'viewBox="0 0 420 240"' in roomy


def test_plot_names_axes_and_escapes() -> None:
    line = svgplot.Line(np.array([0.0, 10.0]), np.array([1.0, 2.0]), "#000000")
    svg = svgplot.plot("a <b>", "height, mm", "s", [line])
    assert "a &lt;b&gt;" in svg
    assert "height, mm" in svg
    x, y = svgplot.thinned(np.arange(1000.0), np.ones(1000))
    assert len(x) <= 300
    np.testing.assert_allclose(y, 1.0)
