"""What every picture of the report carries, and the helpers that all of them use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.report import canvas, slicing
from implantflow.report.meshes import Mesh
from implantflow.report.palette import BONES, Rgb
from implantflow.report.slicing import Slice
from implantflow.report.sources import CaseFiles
from implantflow.report.views import Camera, Part, fit_camera, render
from implantflow.volumes import Volume

Float = NDArray[np.float64]
Image = NDArray[np.uint8]

#: Bone window of CT slices: level and width in HU.
BONE_WINDOW_HU = (450.0, 1900.0)


@dataclass(frozen=True)
class Figure:
    """One picture of the page.

    Attributes
    ----------
    key : short unique name, used as anchor.
    title, caption : shown with it; the caption says what is seen and by which rule it was drawn.
    alt : the same for people who do not see it.
    mime, data : encoded picture; ``image/svg+xml`` is put into the page as markup.
    frames : pictures of equal width side by side in it, of which a slider shows one.
    """

    key: str
    title: str
    caption: str
    alt: str
    mime: str
    data: bytes
    frames: int = 1


@dataclass(frozen=True)
class Context:
    """What a figure function may use: the files, the summary and the words stamped on every picture."""

    files: CaseFiles
    summary: Mapping[str, Any]
    stamp: str

    @property
    def ct(self) -> Volume | None:
        """The planning CT."""
        name = self.files.config.get("segment", {}).get("ct", "ct_planning")
        return self.files.volume(f"ingest/{name}/volume.nii.gz")

    @property
    def bones(self) -> dict[str, Mesh]:
        """The segmented bones that exist, by name."""
        found = {name: self.files.mesh(f"segment/{name}.stl") for name in BONES}
        return {name: mesh for name, mesh in found.items() if mesh is not None}

    @property
    def tumour(self) -> Mesh | None:
        """The tumour in planning space."""
        return self.files.mesh("tumour/tumour.stl")

    def plan_file(self, name: str) -> str:
        """Path of a file of the plan in force (a path that does not exist when there is no plan)."""
        return f"plan/{self.summary['plan'].get('revision', 'none')}/{name}"

    @property
    def focus_mm(self) -> Float | None:
        """Where slices are taken: middle of the tumour, else of the specimen, else of the sacrum."""
        for mesh in (self.tumour, self.files.mesh(self.plan_file("specimen.stl")), self.bones.get("sacrum")):
            if mesh is not None:
                return mesh.centre
        return None


def finish(
    context: Context,
    key: str,
    title: str,
    caption: str,
    alt: str,
    image: Image,
    *,
    photo: bool = False,
    stamp: str = "",
) -> Figure:
    """Stamp and encode a picture; ``photo`` (scans) as JPEG, renders as PNG; ``stamp`` goes before the case's."""
    stamped = canvas.stamp(image, " · ".join(words for words in (stamp, context.stamp) if words))
    if photo:
        return Figure(key, title, caption, alt, "image/jpeg", canvas.to_jpeg(stamped))
    return Figure(key, title, caption, alt, "image/png", canvas.to_png(stamped))


def scan_panel(volume: Volume, plane: Slice, level: float, width: float) -> Image:
    """A grey slice of ``volume``."""
    return slicing.windowed(slicing.sample(volume, plane), level, width)


def outline(image: Image, plane: Slice, mesh: Mesh, colour: Rgb, width_px: float = 1.6) -> Image:
    """Draw where ``mesh`` meets the plane."""
    return canvas.lines(image, plane.segments_px(mesh), colour, width_px)


def tint(image: Image, plane: Slice, mesh: Mesh, colour: Rgb, share: float) -> Image:
    """Colour the inside of a closed ``mesh``."""
    return canvas.blend(image, plane.mask_of(mesh) * share, colour)


def mask_edge(image: Image, plane: Slice, mask: Volume, colour: Rgb) -> Image:
    """Draw the border of a label mask, two pixels wide, inside the labelled area."""
    from scipy.ndimage import binary_erosion

    inside = slicing.sample(mask, plane, outside=0.0) >= 0.5
    return canvas.blend(image, inside & ~binary_erosion(inside, iterations=2), colour)


def dressed(image: Image, plane: Slice, *, dark: bool = True) -> Image:
    """Letters, scale bar and a title with the plane's place."""
    axis = {"axial": "z", "coronal": "y", "sagittal": "x"}[plane.orientation]
    image = canvas.scale_bar(canvas.letters(image, plane.markers, dark=dark), plane.mm_per_px, dark=dark)
    return canvas.titled(image, f"{plane.orientation}, {axis} = {plane.position_mm:.1f} mm")


def four_views(
    parts: list[Part],
    shown: list[Mesh],
    views: tuple[str, ...] = ("anterior", "posterior", "left lateral", "top"),
    width_px: int = 330,
    height_px: int = 300,
    written: Callable[[Image, Camera], Image] | None = None,
) -> Image:
    """Pictures of ``parts`` from several sides at one scale, framed on ``shown``; ``written`` puts words on each."""
    cameras = [fit_camera(view, shown, width_px, height_px) for view in views]
    scale = max(c.mm_per_px for c in cameras)
    panels = []
    for view, camera in zip(views, cameras, strict=True):
        same = replace(camera, mm_per_px=scale)
        image = render(same, parts)
        image = canvas.letters(image if written is None else written(image, same), same.markers, dark=False)
        panels.append(canvas.titled(canvas.scale_bar(image, scale, dark=False), view))
    return canvas.row(panels)


def plane_trace_px(
    plane: Slice, point_mm: ArrayLike, normal: ArrayLike, around_mm: ArrayLike, reach_mm: float
) -> Float:
    """(S, 2, 2) line in pixels along which another plane crosses this slice (empty when parallel).

    The line is drawn ``reach_mm`` to both sides of the place that is nearest to ``around_mm`` (3,).
    """
    n = np.asarray(normal, dtype=np.float64)
    across = np.array([n @ plane.right, n @ plane.down])
    if np.linalg.norm(across) < 0.05:
        return np.empty((0, 2, 2))
    start = np.asarray(around_mm, dtype=np.float64)
    start = start - ((start - np.asarray(plane.centre_mm)) @ plane.normal) * plane.normal
    offset_mm = (np.asarray(point_mm) - start) @ n
    foot = plane.to_px(start) + across * offset_mm / (across @ across) / plane.mm_per_px
    along = np.array([-across[1], across[0]]) / np.linalg.norm(across) * reach_mm / plane.mm_per_px
    return np.array([[foot - along, foot + along]])


def as_point(value: Any) -> Float | None:
    """A point (3,) from JSON, or None when it is not three numbers."""
    try:
        point = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return point if point.shape == (3,) and np.isfinite(point).all() else None


def segment_of(entry: Mapping[str, Any]) -> Float | None:
    """Start and end (2, 3) of a screw, hole or strut from JSON, patient LPS mm; None where one of them is no point."""
    start, end = as_point(entry.get("start_lps_mm")), as_point(entry.get("end_lps_mm"))
    return None if start is None or end is None else np.stack([start, end])


@dataclass(frozen=True)
class ResectionPlane:
    """A plane of the plan: where bone is cut (``osteotomy``) or a joint is taken apart without a cut."""

    name: str
    osteotomy: bool
    point_mm: Float
    normal: Float

    def foot_mm(self, place_mm: Float) -> Float:
        """Point (3,) of the plane nearest to a place."""
        n = self.normal / np.linalg.norm(self.normal)
        return np.asarray(place_mm - ((place_mm - self.point_mm) @ n) * n)


def planes_of(plan: Mapping[str, Any]) -> list[ResectionPlane]:
    """Resection planes of a plan; entries that are no plane are left out."""
    found = []
    for number, entry in enumerate(plan.get("resection_planes") or []):
        if not isinstance(entry, Mapping):
            continue
        point, normal = as_point(entry.get("point_lps_mm")), as_point(entry.get("normal_lps"))
        if point is not None and normal is not None and np.linalg.norm(normal) > 0:
            name = str(entry.get("name", f"plane {number + 1}"))
            found.append(ResectionPlane(name, entry.get("kind") != "disarticulation", point, normal))
    return found


def legend_of(image: Image, entries: Sequence[tuple[str, Rgb]]) -> Image:
    """Legend below, without doubles."""
    return canvas.legend(image, list(dict.fromkeys(entries)))
