"""The curved axis of the sacrum and the levels of its foramina, read off the bone's surface.

The axis is the anterior contour of the bone in the mid-plane, from the promontory to the apex: it exists in every
scan and a tumour in one ala does not move it. A position along it is a length ``s_mm`` below the promontory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.solids.booleans import to_manifold
from implantflow.solids.mesh import Solid

#: Where the centres of the four anterior foramina lie between promontory (0) and apex (1); used, and said so,
#: for foramina that cannot be seen. Mean of the project's phantom, whose tables follow anatomical means.
FORAMEN_FRACTIONS = (0.26, 0.48, 0.66, 0.82)
#: The same for a sacrum that the scan cuts off within S3: read off the 20 pelves of the atlas (docs/validation).
_CUT_OFF_FRACTIONS = (0.53, 0.92)
#: Used, and said so, where no foramen can be seen at all.
_LATERAL_MM = 17.0
#: A foramen is a hole to the canal; hollows of the front of the bone are shallower than this.
_PIT_DEPTH_MM = 8.0


@dataclass(frozen=True)
class SacralAxis:
    """The anterior midline of the sacrum.

    Attributes
    ----------
    curve_lps_mm : (N, 3) array
        Points 1 mm apart, promontory first.
    caudal_lps : (N, 3) array
        Unit tangents, pointing caudally.
    anterior_lps : (N, 3) array
        Unit normals within the mid-plane, pointing out of the bone to the front.
    left_lps : (3,) array
        Normal of the mid-plane.
    """

    curve_lps_mm: FloatArray
    caudal_lps: FloatArray
    anterior_lps: FloatArray
    left_lps: FloatArray

    @property
    def length_mm(self) -> float:
        """Length of the axis in mm."""
        return float(len(self.curve_lps_mm) - 1)

    def at(self, s_mm: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Point, caudal tangent and anterior normal at ``s_mm`` below the promontory (ends are extended)."""
        i = int(np.clip(round(s_mm), 0, len(self.curve_lps_mm) - 1))
        point = self.curve_lps_mm[i] + (s_mm - i) * self.caudal_lps[i]
        return point, self.caudal_lps[i], self.anterior_lps[i]

    def plane_at(self, s_mm: float) -> Plane:
        """Plane across the axis at ``s_mm``, normal pointing cranially."""
        point, caudal, _ = self.at(s_mm)
        return Plane.of(point, -caudal)


def find_axis(sacrum: Solid, midplane: Plane) -> SacralAxis:
    """Anterior midline contour of ``sacrum`` in ``midplane`` (normal to the patient's left).

    ``sacrum`` must have triangles of a few millimetres, since the contour is read off its edges.

    Raises
    ------
    GeometryError
        The mid-plane meets less than 40 mm of sacrum.
    """
    left = np.asarray(midplane.normal)
    posterior = unit(np.array([0.0, 1.0, 0.0]) - left[1] * left)
    cranial = np.cross(left, posterior)
    section = _section_points(sacrum, midplane)
    flat = np.column_stack([-(section @ posterior), section @ cranial])  # anterior, cranial
    # The promontory is the most anterior point of the upper section. S1's end plate slopes 30-50 degrees to the
    # front, so a direction 25 degrees above the horizontal meets its front lip first.
    promontory = flat[int(np.argmax(flat @ [0.91, 0.42]))]
    lowest = flat[flat[:, 1] <= flat[:, 1].min() + 2.0]
    apex = lowest[int(np.argmax(lowest[:, 0]))]
    length = float(np.linalg.norm(apex - promontory))
    if length < 40.0:
        raise GeometryError(f"the mid-plane meets only {length:.0f} mm of sacrum", where="sacrum")
    chord = (apex - promontory) / length
    front = np.array([-chord[1], chord[0]])
    if front[0] < 0:
        front = -front
    profile = _front_profile(flat - promontory, chord, front, length)
    curve2 = promontory + profile[:, :1] * chord + profile[:, 1:] * front
    tangent2 = np.gradient(curve2, axis=0)
    tangent2 /= np.linalg.norm(tangent2, axis=1, keepdims=True)
    in_plane = np.column_stack([-posterior, cranial])
    base = (float(np.dot(midplane.point, left))) * left
    curve = base + curve2 @ in_plane.T
    caudal = tangent2 @ in_plane.T
    anterior = np.cross(left, caudal)
    anterior *= np.sign(anterior @ -posterior)[:, None]
    return SacralAxis(curve, caudal, anterior, left)


def _section_points(sacrum: Solid, plane: Plane) -> FloatArray:
    """Points (N, 3) where the triangle edges of ``sacrum`` cross ``plane``."""
    distance = plane.distance(sacrum.vertices)
    edges = np.concatenate([sacrum.faces[:, [0, 1]], sacrum.faces[:, [1, 2]], sacrum.faces[:, [2, 0]]])
    a, b = edges.T
    crossing = (distance[a] < 0) & (distance[b] >= 0)
    a, b = a[crossing], b[crossing]
    share = (distance[a] / (distance[a] - distance[b]))[:, None]
    points = sacrum.vertices[a] * (1 - share) + sacrum.vertices[b] * share
    if len(points) < 20:
        raise GeometryError("the mid-plane does not meet the sacrum", where="sacrum")
    return np.asarray(points)


def _front_profile(flat: FloatArray, chord: FloatArray, front: FloatArray, length: float) -> FloatArray:
    """Front of the section as (distance along the chord, height above it) at about 1 mm of arc, smoothed."""
    from scipy.ndimage import gaussian_filter1d

    along, height = flat @ chord, flat @ front
    stations = np.arange(0.0, np.floor(length) + 1.0)
    best = np.array(
        [height[np.abs(along - t) <= 1.0].max(initial=-np.inf) for t in stations], dtype=np.float64
    )
    good = np.isfinite(best)
    best = np.interp(stations, stations[good], best[good])
    # 5 mm of smoothing: discs and end-plate lips must not tilt the tangent.
    best = gaussian_filter1d(best, 5.0, mode="nearest")
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(stations), np.diff(best)))])
    even = np.arange(0.0, np.floor(arc[-1]) + 1.0)
    return np.column_stack([np.interp(even, arc, stations), np.interp(even, arc, best)])


@dataclass(frozen=True)
class Foramina:
    """Anterior sacral foramina of one side, S1 first; S1-S4 of a whole sacrum, S1-S2 of one that ends within S3.

    Attributes
    ----------
    s_mm : tuple of floats
        Position along the axis.
    lateral_mm : tuple of floats
        Distance from the mid-plane, positive on either side; of a foramen not seen, that of the nearest seen one.
    seen : tuple of bools
        True where the foramen was found on the surface, False where it is placed by proportion.
    """

    s_mm: tuple[float, ...]
    lateral_mm: tuple[float, ...]
    seen: tuple[bool, ...]

    def level_s_mm(self, level: str) -> float:
        """Position along the axis of ``S1`` ... ``S4``.

        Raises
        ------
        GeometryError
            The scan does not hold that level.
        """
        number = int(level[1])
        if number > len(self.s_mm):
            raise GeometryError(
                f"the plan needs the sacrum down to {level}, the scan holds it to S{len(self.s_mm)} only",
                where="plan.caudal_level",
                fix="plan a level that is inside the scan, or scan again down to the coccyx",
            )
        return self.s_mm[number - 1]

    def as_json(self) -> dict[str, Any]:
        """``{"S1": {"s_mm": ..., "lateral_mm": ..., "source": "surface" | "proportion"}, ...}``."""
        return {
            f"S{i + 1}": {"s_mm": s, "lateral_mm": w, "source": "surface" if seen else "proportion"}
            for i, (s, w, seen) in enumerate(zip(self.s_mm, self.lateral_mm, self.seen, strict=True))
        }


def find_foramina(sacrum: Solid, axis: SacralAxis, side_sign: float, complete: bool = True) -> Foramina:
    """Foramina of one side as pits of the front of the sacrum.

    Parameters
    ----------
    side_sign : float
        +1 for the patient's left, -1 for the right; use the healthy side.
    complete : bool
        False when the scan ends within S3: then S1 and S2 are looked for.
    """
    from scipy import ndimage

    lateral = np.arange(8.0, 33.0)
    stations = np.arange(8.0, axis.length_mm)
    height = _front_height(sacrum, axis, stations, side_sign * lateral)
    filled = ndimage.grey_closing(height, size=(19, 19), mode="nearest")
    pit = filled - height
    labels, count = ndimage.label(pit > _PIT_DEPTH_MM)
    expected = np.array(FORAMEN_FRACTIONS if complete else _CUT_OFF_FRACTIONS) * axis.length_mm
    found: dict[int, tuple[float, float, float]] = {}
    for number in range(1, count + 1):
        members = np.nonzero(labels == number)
        mass = float(pit[members].sum())
        centre = float(np.average(stations[members[0]], weights=pit[members]))
        level = int(np.argmin(np.abs(expected - centre)))
        # A pit must be large enough and near the place where a foramen can be.
        near = abs(expected[level] - centre) < 0.1 * axis.length_mm
        if len(members[0]) >= 12 and near and mass > found.get(level, (0.0, 0.0, 0.0))[0]:
            found[level] = (mass, centre, float(np.average(lateral[members[1]], weights=pit[members])))
    levels = range(len(expected))
    s = tuple(found[i][1] if i in found else float(expected[i]) for i in levels)
    w = tuple(found[min(found, key=lambda j: (abs(i - j), j))][2] if found else _LATERAL_MM for i in levels)
    return Foramina(s, w, tuple(i in found for i in levels))


def _front_height(sacrum: Solid, axis: SacralAxis, stations: FloatArray, lateral: FloatArray) -> FloatArray:
    """Height in mm above the axis of the first bone met from the front, (stations, lateral); -40 in a hole."""
    manifold = to_manifold(sacrum)
    out = np.full((len(stations), len(lateral)), -40.0)
    for i, s in enumerate(stations):
        point, _, front = axis.at(float(s))
        for j, w in enumerate(lateral):
            start = point + w * axis.left_lps + 40.0 * front
            hits = manifold.ray_cast(start.tolist(), (start - 80.0 * front).tolist())
            if hits:
                out[i, j] = 40.0 - 80.0 * hits[0].distance
        # Beside the bone there is nothing to hit; only a miss between hits is a hole.
        beyond = np.flatnonzero(out[i] > -40.0).max(initial=-1) + 1
        out[i, beyond:] = out[i, beyond - 1] if beyond else 0.0
    return out
