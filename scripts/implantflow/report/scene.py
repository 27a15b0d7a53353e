"""The 3-D scene of the page: a k3d snapshot that carries its own viewer and asks nothing of the network."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.report import palette
from implantflow.report.figures import base
from implantflow.report.figures.base import Context
from implantflow.report.figures.planning import corridors
from implantflow.report.meshes import Mesh, decimate, joined, plane_patch, tube
from implantflow.report.palette import Rgb

#: Triangles of the whole scene; more make the page heavy without showing more on a screen.
_BUDGET = 190_000

#: Runs inside the viewer's frame once the scene stands; ``K3DInstance`` is the viewer.
_SWITCH = (Path(__file__).parent / "scene.js").read_text(encoding="utf-8")

#: Views on the page's buttons: name, where the eye stands (patient LPS), what is up.
VIEWS = (
    ("Anterior", "0 -1 0", "0 0 1"),
    ("Posterior", "0 1 0", "0 0 1"),
    ("Left", "1 0 0", "0 0 1"),
    ("Right", "-1 0 0", "0 0 1"),
    ("From above", "0 0 1", "0 -1 0"),
)


@dataclass(frozen=True)
class ScenePart:
    """One part that can be switched: name on its button, surface, colour, opacity, shown at first."""

    name: str
    mesh: Mesh
    colour: Rgb
    opacity: float
    visible: bool


@dataclass(frozen=True)
class Scene:
    """The viewer's HTML and its parts as (id, name, CSS colour, visible)."""

    html: str
    parts: tuple[tuple[int, str, str, bool], ...]


def build_scene(context: Context) -> Scene | None:
    """Scene of every part that exists, or None when there is none."""
    parts = _parts(context)
    if not parts:
        return None
    import k3d

    total = sum(len(p.mesh.faces) for p in parts)
    plot = k3d.plot(
        grid_visible=False,
        camera_auto_fit=False,
        background_color=0xFFFFFF,
        menu_visibility=False,
        axes=["L", "P", "H"],
    )
    listed = []
    for number, part in enumerate(parts, 1):
        small = decimate(part.mesh, max(400, int(len(part.mesh.faces) * min(1.0, _BUDGET / total))))
        item = k3d.mesh(
            # Steps of 0.01 mm: finer than any display, and they compress to half.
            np.round(small.vertices, 2).astype(np.float32),
            small.faces.astype(np.uint32),
            color=part.colour[0] << 16 | part.colour[1] << 8 | part.colour[2],
            opacity=part.opacity,
            name=part.name,
            side="double",
        )
        item.id = number  # k3d numbers by memory address; a fixed number keeps the bytes
        item.visible = part.visible
        plot += item
        css = f"rgb({part.colour[0]},{part.colour[1]},{part.colour[2]})"
        listed.append((number, part.name, css, part.visible))
    plot.camera = _camera(parts)
    # The viewer sets its camera only after this code has run.
    start = f"var first = {json.dumps(plot.camera)};\n"
    html = plot.get_snapshot(6, additional_js_code=start + _SWITCH)
    return Scene(_without_fonts(_without_time(html)), tuple(listed))


def _without_time(html: str) -> str:
    return re.sub(r"<title>.*?</title>", "<title>3-D scene</title>", html, count=1, flags=re.DOTALL)


def _without_fonts(html: str) -> str:
    """Cut the viewer's second and third choice of fonts, which are files beside the page that do not exist."""

    def repacked(match: re.Match[str]) -> str:
        source = zlib.decompress(base64.b64decode(match[1])).decode("utf-8")
        source = re.sub(r',url\(fonts/[^)]*\) format\("[a-z]+"\)', "", source)
        return f"'{base64.b64encode(zlib.compress(source.encode(), 9)).decode()}'"

    return re.sub(r"(?<=window\.k3dCompressed = )'([A-Za-z0-9+/=]+)'", repacked, html, count=1)


def _camera(parts: Sequence[ScenePart]) -> list[float]:
    """Seen from the front and slightly from the left and above; position, target, up."""
    shown = [p for p in parts if p.visible] or list(parts)
    low = np.min([p.mesh.vertices.min(axis=0) for p in shown], axis=0)
    high = np.max([p.mesh.vertices.max(axis=0) for p in shown], axis=0)
    target = (low + high) / 2.0
    reach = float(np.linalg.norm(high - low))
    eye = target + 0.66 * reach * np.array([0.45, -1.0, 0.35])
    return [round(float(v), 2) for v in (*eye, *target, 0.0, 0.0, 1.0)]


def _parts(context: Context) -> list[ScenePart]:
    files = context.files
    planned = files.mesh(context.plan_file("remaining_bone.stl"))
    candidates: list[tuple[str, Mesh | None, Rgb, float, bool]] = [
        ("remaining bone", planned, palette.BONE, 1.0, planned is not None),
        ("sacrum before resection", context.bones.get("sacrum"), palette.SACRUM, 0.35, planned is None),
        ("left hip bone", context.bones.get("hip_left"), palette.BONE, 0.3, True),
        ("right hip bone", context.bones.get("hip_right"), palette.BONE, 0.3, True),
        ("L5", context.bones.get("l5"), palette.BONE, 0.3, True),
        ("tumour", context.tumour, palette.TUMOUR, 1.0, False),
        ("specimen", files.mesh(context.plan_file("specimen.stl")), palette.SPECIMEN, 0.9, False),
        ("implant", files.mesh("implant/implant.stl"), palette.IMPLANT, 1.0, True),
        (
            "dense strut and screw boss",
            _dense(files.json("implant/regions.json") or {}),
            palette.DENSE,
            1.0,
            False,
        ),
        ("screw corridors", _screws(context), palette.HOLE, 1.0, True),
        ("resection planes", _planes(context), palette.PLANE, 0.4, False),
    ]
    return [ScenePart(n, m, c, o, v) for n, m, c, o, v in candidates if m is not None]


def _screws(context: Context) -> Mesh | None:
    tubes = [tube([a, b], radius) for a, b, radius in corridors(context.summary["plan"])]
    return joined(tubes) if tubes else None


def _planes(context: Context) -> Mesh | None:
    specimen = context.files.mesh(context.plan_file("specimen.stl"))
    planes = base.planes_of(context.summary["plan"])
    if specimen is None or not planes:
        return None
    return joined([plane_patch(p.foot_mm(specimen.centre), p.normal, 90.0) for p in planes])


def _dense(regions: Mapping[str, Any]) -> Mesh | None:
    tubes = []
    for entry in (regions.get("strut") or {}).get("segments") or []:
        ends = base.segment_of(entry)
        if ends is not None:
            tubes.append(tube(ends, float(entry["radius_mm"])))
    for entry in regions.get("screw_holes") or []:
        ends = base.segment_of(entry)
        if ends is not None:
            diameter = float(entry.get("boss_diameter_mm") or entry["diameter_mm"])
            tubes.append(tube(ends, diameter / 2.0))
    return joined(tubes) if tubes else None
