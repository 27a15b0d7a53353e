"""``make bench``: every contestant in a process of its own, in one run; writes results/bench/bench.json."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench import ingest_torture, inputs
from tests.bench.measure import Cost, installed, ours, peer, run, warm

OUT = Path("results/bench")
LAYER_MM = 0.05
#: Only a few layers of the lattice: trimesh needs the meshed lattice and half a second a layer.
TRIMESH_LAYERS = 40


def ingest(work: Path) -> list[Cost]:
    """512 x 512 x 400 DICOM -> compressed NIfTI; ours with every check on."""
    series = work / "series"
    inputs.ct_series(series)
    niix = [installed("dcm2niix"), "-b", "n", "-w", "1", "-f", "out", "-o", str(work)]
    return [
        *arrays(series, niix),
        run("ingest", "implantflow", ours("ingest", str(series), str(work / "ours")), work=400),
        run("ingest", "SimpleITK", peer("sitk_read.py", str(series), str(work / "sitk.nii.gz")), work=400),
        run("ingest", "dcm2niix", [*niix, "-1", "-z", "i", str(series)], work=400, note="zlib level 1"),
    ]


def arrays(series: Path, niix: list[str]) -> list[Cost]:
    """The same series to an array in memory, warm, imports left out; ours with every check on.

    dcm2niix is a program: its whole run, with the uncompressed file it writes, is what it takes to an array.
    """
    readers = ("implantflow", "SimpleITK", "highdicom", "highdicom (int32)")
    return [
        *(warm("array", name, peer("read_array.py", name, str(series), "5"), work=400) for name in readers),
        run("array", "dcm2niix", [*niix, "-z", "n", str(series)], work=400, repeats=6, note="writes a file"),
    ]


def slicing(work: Path) -> list[Cost]:
    """A hemisacrum-like solid, full and lattice-filled -> CLI with hatches; peers: contours only."""
    solid = work / "hemisacrum.stl"
    inputs.hemisacrum(solid)
    layers = 2200
    lattice = ["--lattice", "diamond", "--cell-mm", "2.5", "--strut-mm", "0.5"]
    thick = ["--lattice", "diamond", "--cell-mm", "2.5", "--strut-mm", "0.67"]
    found = [
        run(
            "solid",
            "implantflow (with hatches, CLI)",
            ours("slice", str(solid), str(work / "a")),
            work=layers,
        ),
        run(
            "solid",
            "manifold3d (contours)",
            peer("manifold_slice.py", str(solid), str(LAYER_MM)),
            work=layers,
        ),
        run(
            "solid",
            "trimesh (contours)",
            peer("trimesh_slice.py", str(solid), str(LAYER_MM), "400", "900"),
            work=400,
            repeats=1,
        ),
        run(
            "lattice",
            "implantflow diamond 2.5/0.5 (with hatches, CLI)",
            ours("slice", str(solid), str(work / "b"), *lattice),
            work=layers,
        ),
        run(
            "lattice",
            "implantflow diamond 2.5/0.67 (with hatches, CLI)",
            ours("slice", str(solid), str(work / "c"), *thick),
            work=layers,
        ),
    ]
    mesh = work / "lattice.stl"
    note = meshed_lattice(mesh)
    found.append(
        run(
            "lattice",
            "trimesh (contours of a meshed 20 mm cube)",
            peer("trimesh_slice.py", str(mesh), str(LAYER_MM), str(TRIMESH_LAYERS), "100"),
            work=TRIMESH_LAYERS,
            repeats=1,
            note=note,
        )
    )
    return found


def strength() -> list[Cost]:
    """One load case of an implant-like body on 2 mm hexahedra, imports and input files included."""
    solver = Path(__file__).parent / "peers" / "strength_solver.py"
    elements = int(subprocess.run([sys.executable, solver, "count"], capture_output=True, check=True).stdout)
    found = [run("strength", "implantflow", peer(solver.name, "implantflow"), work=elements)]
    if shutil.which("ccx"):
        note = "C3D8I, iterative Cholesky, one core"
        found.append(
            run("strength", "CalculiX", peer(solver.name, "calculix"), work=elements, repeats=1, note=note)
        )
    return found


def beam_paths() -> list[Cost]:
    """Lines to OBP packets in memory, warm, per thousand lines; obplib where it is installed (not in the lock)."""
    found = [warm("obp", "implantflow", peer("obp_write.py", "implantflow", "2000000"), work=2000)]
    if importlib.util.find_spec("obplib") is not None:
        found.append(warm("obp", "obplib", peer("obp_write.py", "obplib", "50000"), work=50))
    return found


def meshed_lattice(path: Path) -> str:
    """A 20 mm cube of the same diamond lattice as triangles at 0.1 mm, for the peers that need a mesh."""
    import numpy as np
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D
    from vtkmodules.vtkIOGeometry import vtkSTLWriter

    from implantflow.field.cells import cell_value

    step, side = 0.1, 20.0
    axis = np.arange(-step, side + 2 * step, step)
    image = vtkImageData()
    image.SetDimensions(len(axis), len(axis), len(axis))
    image.SetSpacing(step, step, step)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    value = cell_value("diamond", 2.5, 0.5, points)
    outside = np.maximum(np.abs(points - side / 2).max(axis=1) - side / 2, value)
    image.GetPointData().SetScalars(numpy_to_vtk(outside.astype(np.float32), deep=1))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.0)
    writer = vtkSTLWriter()
    writer.SetInputConnection(edges.GetOutputPort())
    writer.SetFileTypeToBinary()
    writer.SetFileName(str(path))
    writer.Write()
    triangles = path.stat().st_size // 50
    return f"cube of {side:.0f} mm, {triangles:,} triangles; the implant is about 30 times larger"


def main() -> None:
    work = OUT / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    costs = ingest(work) + slicing(work) + beam_paths() + strength()
    shutil.rmtree(work)
    first = {cost.group: cost for cost in reversed(costs)}
    rows = [
        {
            **asdict(cost),
            "cpu_ms_per_unit": cost.cpu_ms_per_unit,
            "ratio_to_ours": cost.cpu_ms_per_unit / first[cost.group].cpu_ms_per_unit,
            "wall_ratio_to_ours": (cost.wall_s / cost.work)
            / (first[cost.group].wall_s / first[cost.group].work),
        }
        for cost in costs
    ]
    (OUT / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(
        f"{'group':<9}{'contestant':<52}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'ms/unit':>9}{'x ours CPU':>12}"
        f"{'wall':>7}"
    )
    for row in rows:
        print(
            f"{row['group']:<9}{row['name']:<52}{row['cpu_s']:>8.2f}{row['wall_s']:>8.2f}{row['peak_mb']:>9.0f}"
            f"{row['cpu_ms_per_unit']:>9.2f}{row['ratio_to_ours']:>12.1f}{row['wall_ratio_to_ours']:>7.1f}"
        )
    ingest_torture.main()


if __name__ == "__main__":
    main()
