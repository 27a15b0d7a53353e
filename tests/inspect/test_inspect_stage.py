"""From the scan of a print to the verdict, against the truth of the simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from print_bench import Bench  # type: ignore[import-not-found]

from implantflow.artifacts import read_json, read_stl, write_json, write_stl
from implantflow.errors import GeometryError, InputError, ProvenanceError
from implantflow.geometry import rotation_angle_deg

Found = tuple[dict[str, Any], Path]


def _pose(rows: list[list[str]]) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in rows])


@pytest.mark.requirement("print-inspected")
def test_uncompensated_print_is_rejected_for_its_size(bench: Bench, first: Found) -> None:
    found, truth = first[0], bench.truth("r1", "surface")
    error = np.array(found["scale_error_xyz_pct"]) - truth["scale_error_pct"]
    assert np.abs(error).max() < 0.1
    assert found["scale_error_pct"] == pytest.approx(np.mean(truth["scale_error_pct"]), abs=0.1)
    assert max(found["scale_error_se_xyz_pct"]) < 0.05
    assert found["decision"] == "rejected"
    assert found["verdict"] == "outside"
    assert sum("size along build" in reason for reason in found["reasons"]) == 3
    proposed = np.array(found["compensation"]["scale_xyz"])
    assert proposed * truth["scale_relative_to_file"] == pytest.approx(np.ones(3), abs=1e-3)
    assert found["simulated"] is True


def test_pose_bow_and_gap_are_found(bench: Bench, first: Found) -> None:
    found, truth = first[0], bench.truth("r1", "surface")
    apart = _pose(found["alignment"]["build_from_scan"]) @ _pose(truth["scan_from_build"])
    middle = np.array([*truth["centre_mm"], 1.0])
    assert rotation_angle_deg(apart[:3, :3]) < 0.3
    assert np.linalg.norm((apart @ middle - middle)[:3]) < 0.25
    assert found["bow"]["along"] == "z" and found["bow"]["towards"] == "x"
    assert found["bow"]["mm"] == pytest.approx(truth["bow_mm"], abs=0.03)
    patch = next(p for p in found["unseen_patches"] if p["region"] == "midline")
    off = np.linalg.norm(
        np.subtract(patch["centre_build_xyz_mm"], truth["missing_patch"]["centre_build_xyz_mm"])
    )
    assert off < 1.5
    assert patch["radius_mm"] == pytest.approx(truth["missing_patch"]["radius_mm"], abs=1.0)
    assert found["regions"]["midline"]["coverage_pct"] < 95.0


def test_struts_are_judged_where_the_file_draws_them(first: Found, second: Found) -> None:
    for found, limit in ((first[0], 0.05), (second[0], 0.12)):
        assert found["regions"]["struts"]["rms_mm"] < limit
        assert found["regions"]["struts"]["area_mm2"] > 100
        assert found["shape_fit"]["struts_found_share"] > 0.95


def test_compensated_print_is_accepted_by_ct(bench: Bench, second: Found) -> None:
    found, truth = second[0], bench.truth("r2", "ct")
    error = np.array(found["scale_error_xyz_pct"]) - truth["scale_error_pct"]
    assert np.abs(error).max() < 0.1
    assert found["reasons"] == []
    assert (found["verdict"], found["decision"]) == ("within", "accepted")
    assert found["within_tolerance_pct"] > 95
    assert found["coverage_pct"] > 99
    assert found["scan"]["threshold_hu"] == pytest.approx((truth["air_hu"] + truth["metal_hu"]) / 2, abs=20)


@pytest.mark.slow
def test_the_same_bytes_again(bench: Bench, first: Found) -> None:
    again = bench.inspect("r1", "surface", bench.folder / "scan" / "r1_surface" / "scan.stl")
    for name in ("deviation.json", "deviation.ply", "deviation.png"):
        assert (again / name).read_bytes() == (first[1] / name).read_bytes(), name


def test_map_says_what_it_is_and_holds_the_deviations(first: Found) -> None:
    data = (first[1] / "deviation.ply").read_bytes()
    head, body = data.split(b"end_header\n", 1)
    assert b"SIMULATED" in head and b"NOT FOR CLINICAL USE" in head and b"patient LPS" in head
    counts = [int(line.split()[-1]) for line in head.decode().splitlines() if line.startswith("element")]
    vertex = np.dtype([("place", "<f4", 3), ("colour", "u1", 3), ("deviation", "<f4")])
    assert len(body) == counts[0] * vertex.itemsize + counts[1] * 13
    points = np.frombuffer(body, vertex, counts[0])
    assert -0.6 < points["deviation"].min() < -0.05
    # The design stands in patient space at 0 .. 34 mm; the map lies on it.
    assert np.all(points["place"].min(0) > -1.5) and np.all(points["place"].max(0) < 36)
    blue, red = points["colour"][points["deviation"].argmin()], points["colour"][points["deviation"].argmax()]
    assert blue[2] > blue[0] and red[0] > red[2]


def _changed(bench: Bench, name: str, change: Any) -> Path:
    vertices, faces = read_stl(bench.folder / "scan" / "r1_surface" / "scan.stl")
    path = bench.folder / name
    write_stl(path, *change(vertices.astype(np.float64), faces), "changed scan")
    return path


@pytest.mark.requirement("print-inspected")
def test_what_was_not_scanned_cannot_be_judged(bench: Bench, first: Found) -> None:
    axis = _pose(bench.truth("r1", "surface")["scan_from_build"])[:3, 1]

    def without_one_side(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along = (vertices - vertices.mean(0)) @ axis
        return vertices, faces[(along[faces] < 6.0).all(axis=1)]

    scan = _changed(bench, "half.stl", without_one_side)
    found = read_json(bench.inspect("r1", "surface", scan, coverage_min_pct=96.0) / "deviation.json")
    assert (found["verdict"], found["decision"]) == ("cannot_be_judged", "rejected")
    assert found["compensation"]["scale_xyz"] is None
    assert "outer surface: only" in found["reasons"][0]


def test_other_parts_and_other_units_are_refused(bench: Bench, first: Found) -> None:
    mirrored = _changed(bench, "mirrored.stl", lambda v, f: (v * [-1, 1, 1], f[:, ::-1]))
    with pytest.raises(GeometryError):
        bench.inspect("r1", "surface", mirrored)
    metres = _changed(bench, "metres.stl", lambda v, f: (v * 1e-3, f))
    with pytest.raises(InputError, match="millimetres"):
        bench.inspect("r1", "surface", metres)
    (bench.folder / "none").mkdir()
    with pytest.raises(InputError, match="0 STL files"):
        bench.inspect("r1", "surface", bench.folder / "none")


def test_files_of_different_designs_are_refused(bench: Bench, first: Found) -> None:
    scan = bench.folder / "scan" / "r1_surface"
    other = Bench(bench.folder / "other")
    other.folder.mkdir()
    for name in ("field.json", "field.npz", "implant.stl", "build"):
        (other.folder / name).symlink_to(bench.folder / name)
    regions = read_json(bench.folder / "regions.json")
    write_json(other.folder / "regions.json", {**regions, "implant_stl_sha256": "0" * 64})
    with pytest.raises(ProvenanceError, match=r"regions\.json was made from another"):
        other.inspect("r1", "surface", scan)
