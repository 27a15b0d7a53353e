"""Slicing: ours and the peers in one run, each a whole process.

Part of ``make bench``; alone: ``python -m tests.bench.slicing``. Writes results/bench/slicing.json and the table of
docs/validation/slicing.md; with ``--only GROUP`` it measures that group and prints it, and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bench.measure import Cost, peer, run, warm

OUT = Path("results/bench")
PAGE = Path("docs/validation/slicing.md")
DEMO = Path("results/demo/lattice")
LAYER_MM = 0.05
HEIGHT_MM = 110.0
CUBE_MM = 20.0
#: (label, cell, strut mm, limit of CPU-s)
LATTICES = (
    ("diamond 2.5/0.5", "diamond", 0.5, 1.5),
    ("diamond 2.5/0.67", "diamond", 0.67, 4.0),
    ("rhombic dodecahedron 2.5/0.5", "rhombic_dodecahedron", 0.5, 4.0),
    ("gyroid 2.5/0.8", "gyroid", 0.8, 4.0),
    ("gyroid sheet 2.5/0.3", "gyroid_sheet", 0.3, 4.0),
)
#: The throw-away prototype that the limits were set with, where it lies beside the checkout, and its CPU-s there
#: (plain numba, kernels compiled; docs/additive.md beside it): it tells how much slower this machine is.
PROTOTYPE = Path(__file__).parents[3] / "shared" / "prototypes" / "slicer" / "slim.py"
PROTOTYPE_CPU_S = 0.98
#: Layers that the peers are given of the meshed cube: enough for a time per layer, few enough to end.
TRIMESH_LAYERS, PYSLM_LAYERS = 40, 4

#: Groups of contestants, in the order in which they are measured.
GROUPS = ("lattice", "check", "solid", "height", "implant", "contours")

#: Peers that could not be run; the page says so.
MISSING: list[str] = []

TEXT = """\
# Slicing: cost against the peers

Made by `python -m tests.bench.slicing` (part of `make bench`): every row a whole process with its imports, kernels
compiled before, CPU-seconds of the best repetition. `contours` rows are warm, in process, imports left out.
{machine}, Python {python}.

Ours: a hemisacrum-like solid (89 x 58 x 110 mm, 244 cm3, 134 thousand triangles, two foramina, a screw hole), STL to
a CLI file with contours and hatches; reading that file back is the `check` row. The peers take a lattice as triangles
only: they get a cube of {cube:.0f} mm of diamond 2.5/0.5 meshed at 0.1 mm, whose layers hold about a fifth of the
lattice that ours hold, and their time per layer counts. PrusaSlicer writes bitmaps, no vectors and no hatches.
"""


def _apart(call: str, path: Path, number: float) -> None:
    """Make an input in a process of its own: a child's peak memory counts its parent's before it starts."""
    code = "import sys; from pathlib import Path; from tests.bench import inputs; "
    code += f"inputs.{call}(Path(sys.argv[1]), float(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(path), str(number)], check=True)


def lattices(work: Path, solid: Path) -> list[Cost]:
    """STL -> CLI with contours and hatches, for every kind of lattice."""
    layers = round(HEIGHT_MM / LAYER_MM)
    costs = []
    for label, cell, strut, limit in LATTICES:
        cli = work / f"{cell}{strut}.cli"
        command = peer("ours_write.py", str(solid), str(cli), cell, "2.5", str(strut))
        run("lattice", label, command, work=layers, repeats=1)
        costs.append(
            run("lattice", f"implantflow {label}", command, work=layers, note=f"at most {limit} CPU-s")
        )
    command = peer("ours_write.py", str(solid), str(work / "graded.cli"), "diamond", "2.5", "0.5", "0.7")
    run("lattice", "graded", command, work=layers, repeats=1)
    note = "struts moved to their radius point by point; at most 4.0 CPU-s"
    costs.append(
        run("lattice", "implantflow diamond 2.5/0.5-0.7 graded", command, work=layers, repeats=1, note=note)
    )
    return costs


def prototype(work: Path, solid: Path) -> list[Cost]:
    """Diamond 2.5/0.5 by the throw-away prototype: the machine's speed, in the unit of the limits."""
    if not PROTOTYPE.is_file():
        MISSING.append("The prototype that the limits were set with is not beside the checkout: no row")
        return []
    command = ["env", f"NUMBA_CACHE_DIR={work / 'prototype'}", sys.executable, str(PROTOTYPE), str(solid)]
    command.append(str(work / "prototype.cli"))
    layers = round(HEIGHT_MM / LAYER_MM)
    run("lattice", "prototype", command, work=layers, repeats=1)
    note = f"contours and hatches, nothing checked; {PROTOTYPE_CPU_S} CPU-s where the limits were set"
    return [run("lattice", "throw-away prototype, diamond 2.5/0.5", command, work=layers, note=note)]


def read_back(work: Path, solid: Path) -> list[Cost]:
    """The check of one of the files, without slicing."""
    checked = work / "diamond0.5.cli"
    if not checked.is_file():
        subprocess.run(peer("ours_write.py", str(solid), str(checked), "diamond", "2.5", "0.5"), check=True)
    command = peer("ours_check.py", str(checked))
    layers = round(HEIGHT_MM / LAYER_MM)
    return [run("check", "implantflow, diamond 2.5/0.5 read back", command, work=layers)]


def full_metal(work: Path, solid: Path) -> list[Cost]:
    """The solid without a lattice, ours and trimesh's contours of it."""
    command = peer("ours_write.py", str(solid), str(work / "solid.cli"))
    layers = round(HEIGHT_MM / LAYER_MM)
    arguments = [str(solid), str(LAYER_MM), "400", "900"]
    return [
        run("solid", "implantflow, full metal", command, work=layers),
        run("solid", "trimesh (contours)", peer("trimesh_slice.py", *arguments), work=400, repeats=1),
    ]


def heights(work: Path) -> list[Cost]:
    """One part and another twice as high: memory must not follow."""
    costs = []
    for name, height in (("single", 89.0), ("double", 178.0)):
        _apart("hemisacrum", work / f"{name}.stl", height)
        command = peer(
            "ours_write.py", str(work / f"{name}.stl"), str(work / "h.cli"), "diamond", "2.5", "0.5"
        )
        count = round(height / LAYER_MM)
        costs.append(
            run("height", f"implantflow diamond 2.5/0.5, {height:.0f} mm", command, work=count, repeats=2)
        )
    return costs


def implant(work: Path) -> list[Cost]:
    """The demo case's implant, where it is there."""
    costs = []
    if (DEMO / "field.json").is_file():
        build = json.loads((DEMO.parent / "build" / "r1" / "build.json").read_text())
        command = peer("ours_write.py", str(DEMO), str(work / "demo.cli"))
        note = "shell, strut, holes; loose bits of lattice found and left out; at most 4 CPU-s"
        costs.append(run("implant", "implantflow, demo implant", command, work=build["layers"], note=note))
    return costs


def peers(work: Path, solid: Path) -> list[Cost]:
    """The peers on a meshed cube of the same lattice."""
    mesh = work / "lattice.stl"
    _apart("meshed_lattice", mesh, CUBE_MM)
    cube = f"cube of {CUBE_MM:.0f} mm, {mesh.stat().st_size // 50:,} triangles"
    costs = []
    arguments = [str(mesh), str(LAYER_MM), str(TRIMESH_LAYERS), "100"]
    command = peer("trimesh_slice.py", *arguments)
    costs.append(run("lattice", "trimesh (contours)", command, work=TRIMESH_LAYERS, repeats=1, note=cube))
    prusa = shutil.which("prusa-slicer")
    if prusa is not None:
        command = [
            prusa,
            "--export-sla",
            "--layer-height",
            str(LAYER_MM),
            "--initial-layer-height",
            str(LAYER_MM),
        ]
        command += ["--supports-enable=0", "--pad-enable=0", "--output", str(work / "cube.sl1"), str(mesh)]
        note = f"bitmaps of 47 um, no vectors; {cube}"
        costs.append(
            run(
                "lattice",
                "PrusaSlicer SLA (bitmaps)",
                command,
                work=round(CUBE_MM / LAYER_MM),
                repeats=1,
                note=note,
            )
        )
    if importlib.util.find_spec("pyslm") is not None:
        command = peer("pyslm_slice.py", str(mesh), str(PYSLM_LAYERS), "10.0")
        costs.append(
            run("lattice", "PySLM (contours and hatches)", command, work=PYSLM_LAYERS, repeats=1, note=cube)
        )
    else:
        MISSING.append("PySLM (contours and hatches) was not installed in this run: no row")
    if prusa is None:
        MISSING.append("PrusaSlicer was not installed in this run: no row")
    return costs


def contours(solid: Path) -> list[Cost]:
    """Contours of the solid alone, warm; the best of three processes in turns, since a process has its own pace."""
    layers = round(HEIGHT_MM / LAYER_MM)
    best: dict[str, Cost] = {}
    for _ in range(3):
        for name in ("implantflow", "manifold3d"):
            command = peer("contours.py", name, str(solid), str(LAYER_MM), "5")
            cost = warm("contours", f"{name} (solid, contours only)", command, work=layers)
            if name not in best or cost.cpu_s < best[name].cpu_s:
                best[name] = cost
    return list(best.values())


def main(only: str | None = None) -> list[Cost]:
    """Measure everything, write the JSON and the page; or one group, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        solid = work / "hemisacrum.stl"
        _apart("hemisacrum", solid, HEIGHT_MM)
        groups = {
            "lattice": lambda: lattices(work, solid) + prototype(work, solid) + peers(work, solid),
            "check": lambda: read_back(work, solid),
            "solid": lambda: full_metal(work, solid),
            "height": lambda: heights(work),
            "implant": lambda: implant(work),
            "contours": lambda: contours(solid),
        }
        costs = [cost for name in GROUPS if only in (None, name) for cost in groups[name]()]
    if only is not None:
        print(page(costs))
        return costs
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "slicing.json").write_text(json.dumps([asdict(c) for c in costs], indent=2) + "\n")
    PAGE.write_text(page(costs))
    print(PAGE.read_text())
    return costs


def page(costs: list[Cost]) -> str:
    """The table with the ratio of every cost per layer to ours of the same group (the first of it)."""
    first = {cost.group: cost for cost in reversed(costs)}
    slower = [cost.cpu_s / PROTOTYPE_CPU_S for cost in costs if "prototype" in cost.name]
    lines = [
        *TEXT.format(machine=platform.machine(), python=platform.python_version(), cube=CUBE_MM).splitlines(),
        "",
        "| group | contestant | CPU s | wall s | peak MB | layers | CPU ms/layer | x ours | note |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        ratio = cost.cpu_ms_per_unit / first[cost.group].cpu_ms_per_unit
        lines.append(
            f"| {cost.group} | {cost.name} | {cost.cpu_s:.2f} | {cost.wall_s:.2f} | {cost.peak_mb:.0f} | {cost.work} "
            f"| {cost.cpu_ms_per_unit:.3f} | {ratio:.1f} | {cost.note} |"
        )
    for factor in slower:
        lines += [
            "",
            f"The prototype takes {factor:.1f} times as long here as where the limits were set: 1.5 CPU-s there are "
            f"{1.5 * factor:.1f} here, 4 are {4 * factor:.1f}.",
        ]
    lines += [line for name in MISSING for line in ("", f"{name}.")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.slicing", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, default=None, help="measure this group only, write nothing")
    main(parser.parse_args().only)
