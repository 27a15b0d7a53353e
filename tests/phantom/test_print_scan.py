"""The simulated print: the build file read by its own reader, melted, shrunk, bent and scanned as the truth says."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implantflow.artifacts import read_json, read_stl, sha256_path
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import invert_rigid, transform_points
from implantflow.ingest.stage import ingest_series
from implantflow.jobs import Job
from implantflow.phantom.print_scan import simulate_print
from implantflow.phantom.printed.cli_file import BuildFile
from implantflow.phantom.printed.material import melt
from implantflow.phantom.printed.process import Process
from implantflow.phantom.printed.surface_scan import directions
from implantflow.volumes import read_volume

UNIT, LAYER = 0.005, 0.05
LOW, HIGH, BORE = np.array([50.0, 60.0, 2.0]), np.array([80.0, 72.0, 24.0]), 5.0

CONFIG: dict[str, Any] = {
    "seed": 3,
    "shrink_pct": [0.8, 1.0, 0.9],
    "bow_mm": 0.2,
    "resolution_mm": 0.25,
    "surface": {
        "directions": 14,
        "noise_mm": 0.01,
        "missing_radius_mm": 4.0,
        "missing_towards_xyz": [1.0, 0.0, 0.0],
    },
    "ct": {"voxel_mm": 0.4, "blur_mm": 0.2, "noise_hu": 60.0, "metal_hu": 2500.0},
}


def _polyline(points: np.ndarray, long: bool) -> bytes:
    closed = np.vstack([points, points[:1]]) / UNIT
    if long:
        return struct.pack("<Hiii", 130, 1, 1, len(closed)) + closed.astype("<f4").tobytes()
    return struct.pack("<HHHH", 129, 1, 1, len(closed)) + np.round(closed).astype("<u2").tobytes()


def write_block(path: Path, scale: str = "", long: bool = False) -> Path:
    """A block with a round bore along z, in hand-made CLI; every layer also has hatches, which mean nothing here."""
    turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    middle = (LOW + HIGH)[:2] / 2
    bore = middle + BORE * np.column_stack([np.cos(turn), -np.sin(turn)])
    outer = np.array([[LOW[0], LOW[1]], [HIGH[0], LOW[1]], [HIGH[0], HIGH[1]], [LOW[0], HIGH[1]]])
    box = ",".join(f"{v:.4f}" for v in (*LOW, *HIGH))
    head = f"$$HEADERSTART\n$$BINARY\n$$UNITS/{UNIT}\n$$VERSION/200\n$$DIMENSION/{box}\n"
    head += f"$$USERDATA/implantflow,20,{scale}\n" if scale else ""
    hatch = struct.pack("<HHH4H", 131, 2, 1, 10_000, 12_000, 16_000, 12_000)
    if long:
        hatch = struct.pack("<Hii4f", 132, 2, 1, 1e4, 1.2e4, 1.6e4, 1.2e4)
    body = []
    for layer in range(round((HIGH[2] - LOW[2]) / LAYER)):
        z = (LOW[2] + (layer + 1) * LAYER) / UNIT
        body += [struct.pack("<Hf", 127, z) if long else struct.pack("<HH", 128, round(z))]
        body += [_polyline(outer, long), _polyline(bore, long), hatch]
    path.write_bytes((head + "$$HEADEREND").encode() + b"".join(body))
    return path


def _job(folder: Path, kind: str, threads: int = 1, scale: str = "", **changes: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    return Job(
        rule="simulate_print",
        case_dir=folder,
        wildcards={"case": "x", "revision": "r1"},
        inputs={"cli": write_block(folder / "build.cli", scale)},
        outputs={"scan": folder / "scan"},
        settings={"simulated_print": {**CONFIG, **changes}, "kind": kind, "revision": "r1"},
        function="",
        code_digest="",
        threads=threads,
        side_outputs={"truth": folder / "truth.json"},
    )


@pytest.mark.parametrize("long", [False, True])
def test_material_has_the_volume_of_the_outlines(tmp_path: Path, long: bool) -> None:
    build = BuildFile.read(write_block(tmp_path / "b.cli", long=long))
    assert len(build.starts) - 1 == 440
    assert (build.bottom_mm, build.layer_mm) == (pytest.approx(2.0, abs=1e-4), pytest.approx(0.05))
    assert build.scale_xyz.tolist() == [1.0, 1.0, 1.0]
    material = melt(build, 0.2, 1)
    assert material.voxel_mm == pytest.approx(0.2)
    size = HIGH - LOW
    exact = (size[0] * size[1] - np.pi * BORE**2) * size[2]
    measured = material.share.sum(dtype=np.float64) / 255.0 * material.voxel_mm**3
    assert measured == pytest.approx(exact, rel=2e-3)
    # Its middle lies where the outlines say.
    weight = material.share.sum((1, 2), dtype=np.float64)
    z = material.origin_mm[2] + material.voxel_mm * np.arange(len(weight))
    assert (weight * z).sum() / weight.sum() == pytest.approx((LOW[2] + HIGH[2]) / 2, abs=1e-3)
    assert material.share[[0, -1]].max() == material.share[:, [0, -1]].max() == 0


def test_reader_refuses_what_is_no_build_file(tmp_path: Path) -> None:
    whole = write_block(tmp_path / "b.cli").read_bytes()
    (tmp_path / "short.cli").write_bytes(whole[:-5] + b"\x00")
    with pytest.raises(InputError, match="0 layers"):
        BuildFile.read(tmp_path / "short.cli")
    (tmp_path / "ascii.cli").write_bytes(whole.replace(b"$$BINARY", b"$$ASCII "))
    with pytest.raises(InputError, match="not a binary CLI"):
        BuildFile.read(tmp_path / "ascii.cli")
    (tmp_path / "bare.cli").write_bytes(whole.replace(b"$$DIMENSION/", b"$$LENGTHS///"))
    with pytest.raises(InputError, match="DIMENSION"):
        BuildFile.read(tmp_path / "bare.cli")


def test_process_shrinks_and_bends() -> None:
    process = Process.of((1.0, 0.5, 0.0), 0.3, np.array([LOW, HIGH]))
    middle = (LOW + HIGH) / 2
    cold = process.cold(np.array([middle, HIGH, [HIGH[0], HIGH[1], middle[2]]]))
    assert cold[0] == pytest.approx(middle + np.array([0.3, 0, 0]))
    assert cold[1] == pytest.approx(middle + (HIGH - middle) * [0.99, 0.995, 1.0])
    assert cold[2, 0] == pytest.approx(cold[1, 0] + 0.3)


def test_surface_scan_is_what_the_truth_says(tmp_path: Path) -> None:
    digests = []
    for threads in (1, 2):
        job = _job(tmp_path / str(threads), "surface", threads, scale="scale xyz=1.01 1.0 1.02")
        simulate_print(job)
        digests.append((sha256_path(job.outputs["scan"]), sha256_path(job.side_outputs["truth"])))
    assert digests[0] == digests[1]
    truth = read_json(job.side_outputs["truth"])
    assert truth["simulated"] is True
    assert truth["scale_of_file"] == [1.01, 1.0, 1.02]
    assert truth["scale_relative_to_design"] == pytest.approx([1.01 * 0.992, 0.99, 1.02 * 0.991], abs=1e-6)
    vertices, faces = read_stl(job.outputs["scan"] / "scan.stl")
    pose = np.array([[float(x) for x in row] for row in truth["scan_from_build"]])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    cold = transform_points(invert_rigid(pose), vertices.astype(float))
    # Undo bow and shrinkage: what is left is the block, within the noise and half a voxel at its edges.
    rel = cold - truth["centre_mm"]
    z = rel[:, 2] / 0.991
    rel[:, 0] -= 0.2 * (1.0 - (z / 11.0) ** 2)
    drawn = rel / [0.992, 0.99, 0.991] + (LOW + HIGH) / 2
    box = np.abs(np.maximum(LOW - drawn, drawn - HIGH).max(1))
    bore = np.abs(np.hypot(*(drawn - (LOW + HIGH) / 2)[:, :2].T) - BORE)
    assert np.percentile(np.minimum(box, bore), 99) < 0.06
    patch = truth["missing_patch"]
    gap = np.linalg.norm(cold - patch["centre_build_xyz_mm"], axis=1).min()
    assert patch["radius_mm"] - 0.3 < gap < patch["radius_mm"] + 0.6
    corners = cold[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(1) - truth["centre_mm"]
    top = corners.mean(1)[:, 2] > cold[:, 2].max() - 0.1
    assert (np.einsum("ij,ij->i", normal, outwards)[top] > 0).mean() > 0.99


def test_ct_passes_the_front_door(tmp_path: Path) -> None:
    digests = []
    for threads in (1, 2):
        job = _job(tmp_path / str(threads), "ct", threads)
        simulate_print(job)
        digests.append(sha256_path(job.outputs["scan"]))
    assert digests[0] == digests[1]
    files = {"volume": "v.nii.gz", "invented": "i.nii.gz", "manifest": "m.json"}
    outputs = {name: tmp_path / file for name, file in files.items()}
    inputs = {"dicom": job.outputs["scan"]}
    settings = {"series": {"modality": "CT"}}
    ingest_series(Job("ingest_series", tmp_path, {"series": "print_r1"}, inputs, outputs, settings, "", ""))
    assert read_json(outputs["manifest"])["verdict"] == "ok"
    volume = read_volume(outputs["volume"])
    truth = read_json(job.side_outputs["truth"])
    metal = (volume.array > (truth["air_hu"] + truth["metal_hu"]) / 2).sum() * volume.voxel_volume_mm3
    size = (HIGH - LOW) * [0.992, 0.99, 0.991]
    exact = (size[0] * size[1] - np.pi * BORE**2 * 0.992 * 0.99) * size[2]
    assert metal == pytest.approx(exact, rel=0.01)
    pose = np.array([[float(x) for x in row] for row in truth["scan_from_build"]])
    at = np.array([HIGH[0] - 3, LOW[1] + 3, HIGH[2] - 3])
    place = transform_points(np.linalg.inv(volume.affine_lps) @ pose, at[None])[0]
    i, j, k = np.round(place).astype(int)
    assert volume.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean() == pytest.approx(2500, abs=60)


def test_a_patch_beside_the_part_is_refused(tmp_path: Path) -> None:
    surface = {**CONFIG["surface"], "missing_towards_xyz": [0.0, 0.0, 1.0]}
    with pytest.raises(GeometryError, match="beside the part"):
        simulate_print(_job(tmp_path, "surface", surface=surface))


def test_directions_are_even() -> None:
    views = directions(20)
    assert np.linalg.norm(views, axis=1) == pytest.approx(np.ones(20))
    assert np.linalg.norm(views.mean(0)) < 0.05
    assert (views @ views.T - 2 * np.eye(20)).max(0).min() > 0.6
