"""Print a build file in simulation, machine its stock away with known errors, and scan the part again."""

from __future__ import annotations

import numpy as np

from implantflow.artifacts import read_json, read_stl, sha256_file, write_json
from implantflow.config.simulated_print import SimulatedPrintConfig
from implantflow.errors import InputError
from implantflow.geometry import transform_points
from implantflow.jobs import Job, progress
from implantflow.phantom.print_scan import KIND, scan_ct, scan_surface
from implantflow.phantom.printed.cli_file import BuildFile
from implantflow.phantom.printed.material import melt
from implantflow.phantom.printed.process import Process
from implantflow.phantom.printed.workshop import clamped, machined, tools_of

#: Streams of the seed: errors of the workshop, pose and noise of either scan.
_WORKSHOP, _SURFACE, _CT = 3, 4, 5


def simulate_machining(job: Job) -> None:
    """Write the output folder ``scan`` of the machined part: ``scan.stl`` (kind surface) or DICOM files (kind ct).

    Inputs: ``cli``, ``build`` (its JSON), ``field`` (JSON, for the place on the plate), ``regions``, ``implant``. Side
    output ``truth``: a JSON that no stage reads. Settings: ``simulated_print``, ``kind`` and ``revision``.

    Raises
    ------
    InputError
        The build file cannot be read, or the case says nothing of the workshop or has no stock.
    """
    config = SimulatedPrintConfig.model_validate(job.settings["simulated_print"])
    kind = KIND.validate_python(job.settings["kind"])
    revision = str(job.settings["revision"])
    regions = read_json(job.input("regions"))
    if config.workshop is None or not regions.get("machining"):
        raise InputError(
            "nothing says how the part is machined",
            where="simulated_print.workshop, implant.machining",
            fix="give both, or inspect no machined part",
        )
    progress("simulate machining: melting the layers")
    build = BuildFile.read(job.input("cli"))
    process = Process.of(config.shrink_pct, config.bow_mm, build.box_mm)
    material = melt(build, config.resolution_mm, job.threads)
    matrix = np.array(read_json(job.input("field"))["build_from_patient"], dtype=np.float64)
    vertices, faces = read_stl(job.input("implant"))
    designed = transform_points(matrix, vertices.astype(np.float64))
    centre = np.array(read_json(job.input("build"))["scale_centre_mm"])
    cold = process.cold(centre + build.scale_xyz * (designed - centre))
    rng = np.random.default_rng([config.seed, _WORKSHOP])
    tools, truth = tools_of(config.workshop, regions, (designed, faces), matrix, rng)
    progress("simulate machining: milling and boring", done=0.4)
    part = machined(material, process, tools, clamped(designed, cold))
    folder = job.outputs["scan"]
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"simulate machining: {kind} scan", done=0.6)
    if kind == "surface":
        found = scan_surface(folder / "scan.stl", part, process, config, _SURFACE, job.threads)
    else:
        found = scan_ct(folder, part, process, config, f"{revision} machined", _CT, job.threads)
    write_json(
        job.side_outputs["truth"],
        {
            "simulated": True,
            "revision": revision,
            "kind": kind,
            "part": "machined",
            "build_file_sha256": sha256_file(job.input("cli")),
            **truth,
            **found,
        },
    )
