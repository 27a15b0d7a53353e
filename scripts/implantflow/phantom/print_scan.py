"""Print what a build file says, with a known error of the process, and scan the print."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from implantflow.artifacts import sha256_file, write_json, write_stl
from implantflow.config.simulated_print import SimulatedPrintConfig
from implantflow.geometry import FloatArray, invert_rigid, transform_points, unit
from implantflow.jobs import Job, progress
from implantflow.phantom.printed import ct_scan, surface_scan
from implantflow.phantom.printed.cli_file import BuildFile
from implantflow.phantom.printed.material import Material, melt
from implantflow.phantom.printed.process import Process, lying_rotation, pose_about, random_rotation

KIND: TypeAdapter[Literal["surface", "ct"]] = TypeAdapter(Literal["surface", "ct"])


def simulate_print(job: Job) -> None:
    """Write the output folder ``scan``: ``scan.stl`` (kind surface) or DICOM files (kind ct).

    Input: ``cli``, the build file. Side output ``truth``: a JSON that no stage reads. Settings:
    ``simulated_print`` (SimulatedPrintConfig), ``kind`` and ``revision``.

    Raises
    ------
    InputError
        The build file cannot be read.
    """
    config = SimulatedPrintConfig.model_validate(job.settings["simulated_print"])
    kind = KIND.validate_python(job.settings["kind"])
    revision = str(job.settings["revision"])
    progress("simulate print: melting the layers")
    build = BuildFile.read(job.input("cli"))
    material = melt(build, config.resolution_mm, job.threads)
    process = Process.of(config.shrink_pct, config.bow_mm, build.box_mm)
    folder = job.outputs["scan"]
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"simulate print: {kind} scan", done=0.4)
    if kind == "surface":
        found = scan_surface(folder / "scan.stl", material, process, config, 1, job.threads)
    else:
        found = scan_ct(folder, material, process, config, revision, 2, job.threads)
    truth = {
        "simulated": True,
        "revision": revision,
        "kind": kind,
        "build_file_sha256": sha256_file(job.input("cli")),
        "scale_of_file": build.scale_xyz,
        "scale_relative_to_file": process.factors,
        "scale_relative_to_design": process.factors * build.scale_xyz,
        "scale_error_pct": 100.0 * (process.factors * build.scale_xyz - 1.0),
        "bow_mm": process.bow_mm,
        "bow": "the middle of the height is pushed towards build +x against both ends",
        "centre_mm": process.centre_mm,
        **found,
    }
    write_json(job.side_outputs["truth"], truth)


def _digits(matrix: FloatArray) -> list[list[str]]:
    """A pose to its last digit (JSON figures are rounded to 1e-6)."""
    return [[repr(float(x)) for x in row] for row in matrix]


def scan_surface(
    path: Path,
    material: Material,
    process: Process,
    config: SimulatedPrintConfig,
    stream: int,
    threads: int,
) -> dict[str, Any]:
    """Write the STL of a structured-light scan of the cold part and return its truth; ``stream`` of the seed."""
    scanner, rng = config.surface, np.random.default_rng([config.seed, stream])
    skin = surface_scan.skin_of(material)
    views = surface_scan.directions(scanner.directions)
    skin = skin.only(surface_scan.seen_from(skin, views, material.voxel_mm, threads))
    gap = surface_scan.gap_centre(skin, unit(scanner.missing_towards_xyz))
    away = np.linalg.norm(skin.vertices - gap, axis=1) > scanner.missing_radius_mm
    skin = surface_scan.without_flakes(skin.only(away))
    noise = rng.standard_normal(len(skin.vertices)) * scanner.noise_mm
    cold = process.cold(skin.vertices.astype(np.float64)) + noise[:, None] * skin.normals
    pose = pose_about(random_rotation(rng), process.centre_mm, rng.uniform(-200.0, 200.0, 3))
    write_stl(path, transform_points(pose, cold), skin.faces, "SIMULATED scan of a print, scanner frame, mm")
    return {
        "scan_from_build": _digits(pose),
        "noise_mm": scanner.noise_mm,
        "missing_patch": {
            "centre_build_xyz_mm": process.cold(gap[None])[0],
            "centre_file_mm": gap,
            "radius_mm": scanner.missing_radius_mm,
        },
        "triangles": len(skin.faces),
    }


def scan_ct(
    folder: Path,
    material: Material,
    process: Process,
    config: SimulatedPrintConfig,
    part: str,
    stream: int,
    threads: int,
) -> dict[str, Any]:
    """Write the DICOM files of an industrial CT of the cold part, named ``part`` in them, and return its truth.

    The pose is of ``stream`` of the seed, the noise of the next.
    """
    scanner, rng = config.ct, np.random.default_rng([config.seed, stream])
    pose = pose_about(lying_rotation(rng), process.centre_mm, rng.uniform(-30.0, 30.0, 3))
    half = material.voxel_mm * np.array(material.share.shape[::-1]) / 2
    middle = material.origin_mm - material.voxel_mm / 2 + half
    corners = np.array([middle + half * sign for sign in itertools.product((-1, 1), repeat=3)])
    affine, shape = ct_scan.ct_affine(transform_points(pose, corners), scanner.voxel_mm)
    seed = (config.seed, stream + 1)
    image = ct_scan.scan(material, process, invert_rigid(pose), affine, shape, scanner, seed, threads)
    ct_scan.write_ct(folder, image, affine, part)
    return {
        "scan_from_build": _digits(pose),
        "voxel_mm": scanner.voxel_mm,
        "blur_mm": scanner.blur_mm,
        "noise_hu": scanner.noise_hu,
        "air_hu": ct_scan.AIR_HU,
        "metal_hu": scanner.metal_hu,
    }
