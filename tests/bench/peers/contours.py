"""Contours of every layer of a solid in memory, best of some times: ``contours.py WHO SOLID.stl LAYER_MM TIMES``."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from implantflow.artifacts import read_stl

who, path, layer_mm, times = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
vertices, faces = read_stl(Path(path))
low = float(vertices[:, 2].min())
heights = low + layer_mm * (np.arange(int((vertices[:, 2].max() - low) / layer_mm)) + 0.5)


def implantflow() -> int:
    """Closed integer loops, checked for crossing themselves, as the slicer goes on with them."""
    from implantflow.build.plan import Plan
    from implantflow.build.slicer import Slicer
    from implantflow.build.solid import Solid

    moved = vertices.astype(np.float64) + np.array([60.0, 100.0, -low])
    slicer = Slicer(Plan(Solid.of(moved, faces), None, None, layer_mm, 0.005, 0.2, 0.2, 0.01))
    return sum(len(slicer.outline(index).starts) - 1 for index in range(slicer.plan.layers))


def manifold3d() -> int:
    """Polygons of every layer; simplifying the input is left out."""
    import manifold3d as m3

    solid = m3.Manifold(m3.Mesh(vertices.astype(np.float32), faces.astype(np.uint32)))
    return sum(len(solid.slice(float(z)).to_polygons()) for z in heights)


def run(work: Callable[[], int]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    assert work() >= len(heights) - 1
    return time.process_time() - cpu, time.perf_counter() - wall


best = min(run({"implantflow": implantflow, "manifold3d": manifold3d}[who]) for _ in range(times))
print(json.dumps({"cpu_s": best[0], "wall_s": best[1]}))
