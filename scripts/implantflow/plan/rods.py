"""Rods through screw heads: bent as little as the heads, the bone and the bender allow.

A rod is a cubic spline through the saddles of its heads, a free point between two of them, and straight ends. What is
searched is how proud each head stands, how it tilts, and where the free points lie. Bends sharper than the rod allows,
bone nearer than the clearance, heads in bone and rods askew in their slots all cost; so does metal that stands proud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.fixation import ConstructConfig
from implantflow.geometry import FloatArray, unit
from implantflow.plan.heads import Head, Screw
from implantflow.plan.room import Room
from implantflow.solids.shapes import frame_of

_STEP_MM = 2.0
#: A rod whose bow is less than this over its length is straight: no bender makes less (mm).
STRAIGHT_MM = 0.1
#: How proud the heads are that a search begins with, and those of a second one, mm.
LOW_MM, MIDDLE_MM = 1.0, 4.0
#: What the search keeps beyond what is asked: its grid of distances is good to 0.3 mm, its bends to a few per cent.
_SPARE_MM, _HEAD_SPARE_MM, _SPARE_SHARE = 0.5, 1.0, 1.1
#: Free points may be moved this far off the straight line between two heads.
_FREE_MM = 25.0
#: Above this price more than its length, bends and tilts costs something: a rod is not free of bone.
_SETTLED = 15.0
#: Prices: mm2 too near, (share of the sharpest bend)^2 over it, slot askew, and the small ones that choose among good.
_NEAR, _SHARP, _ASKEW, _BEND, _PROUD, _TILT, _LONG = 4.0, 60.0, 400.0, 1.0, 0.004, 0.05, 0.02


@dataclass(frozen=True)
class Rod:
    """A bent rod.

    Attributes
    ----------
    name : str
    path_mm : (N, 3) array
        Points on its axis at most 2 mm apart, from above down.
    heads : tuple of Head
        In the order of the rod.
    bend_radius_mm : float
        Sharpest bend; infinite when straight: bent all along like its sharpest place, it would bow by less than
        :data:`STRAIGHT_MM`.
    """

    name: str
    path_mm: FloatArray
    heads: tuple[Head, ...]
    bend_radius_mm: float

    def along(self, place_mm: FloatArray) -> FloatArray:
        """Unit direction (3,) of the rod, downwards, nearest to a place."""
        i = int(np.argmin(np.linalg.norm(self.path_mm - place_mm, axis=1)))
        a, b = max(i - 1, 0), min(i + 1, len(self.path_mm) - 1)
        return unit(self.path_mm[b] - self.path_mm[a])

    @property
    def length_mm(self) -> float:
        """Length along the bends."""
        return float(np.linalg.norm(np.diff(self.path_mm, axis=0), axis=1).sum())

    def as_json(self, diameter_mm: float) -> dict[str, Any]:
        """Entry of ``construct.json``."""
        return {
            "name": self.name,
            "screws": [head.screw.name for head in self.heads],
            "diameter_mm": diameter_mm,
            "length_mm": self.length_mm,
            "shape": "bent" if np.isfinite(self.bend_radius_mm) else "straight",
            "bend_radius_min_mm": self.bend_radius_mm if np.isfinite(self.bend_radius_mm) else None,
            "path_lps_mm": self.path_mm,
        }


@dataclass(frozen=True)
class Search:
    """One rod to be found.

    Attributes
    ----------
    screws : Screw from above down
    before : (K, 3) array
        Fixed points that the rod begins with, above its first head (those of a connector), or none.
    keep_off : function (N, 3) -> (N,)
        How much nearer than allowed each place of the rod is to other metal, mm; negative where it is free.
    """

    screws: Sequence[Screw]
    before: FloatArray
    sizes: ConstructConfig
    room: Room
    back: FloatArray
    keep_off: Callable[[FloatArray], FloatArray] | None = None

    @property
    def _gaps(self) -> int:
        return len(self.screws) - 1 + (1 if len(self.before) else 0)

    def start(self, proud_mm: float) -> FloatArray:
        """Where the search begins: heads ``proud_mm`` above bone, tilted half-way to the back, rods straight."""
        heads = []
        for screw in self.screws:
            up = screw.seated(np.array([1.0, 0.0, 0.0]), self.sizes.head).up
            side = frame_of(up)[:, :2].T @ (self.back - (self.back @ up) * up)
            length = float(np.linalg.norm(side))
            heads.append([proud_mm, *(0.5 * side / max(length, 1e-9) * min(1.0, length))])
        return np.concatenate([np.array(heads).ravel(), np.zeros(2 * self._gaps)])

    def bounds(self) -> list[tuple[float, float]]:
        """Least and greatest of every value."""
        head = [(0.0, self.sizes.head.proud_max_mm), (-1.0, 1.0), (-1.0, 1.0)]
        return head * len(self.screws) + [(-_FREE_MM, _FREE_MM)] * (2 * self._gaps)

    def heads(self, values: FloatArray) -> tuple[Head, ...]:
        """Heads for the searched values."""
        return tuple(
            screw.seated(values[3 * i : 3 * i + 3], self.sizes.head) for i, screw in enumerate(self.screws)
        )

    def path(self, values: FloatArray, step_mm: float = _STEP_MM) -> FloatArray:
        """The rod (N, 3) for the searched values."""
        from scipy.interpolate import CubicSpline

        saddles = np.array([head.saddle_mm for head in self.heads(values)])
        free = values[3 * len(self.screws) :].reshape(-1, 2)
        knots = [*self.before]
        for i, saddle in enumerate(saddles):
            if knots:
                a, b = knots[-1], saddle
                along = unit(b - a)
                lift = unit(self.back - (self.back @ along) * along)
                offset = free[i if len(self.before) else i - 1]
                knots.append((a + b) / 2.0 + offset[0] * lift + offset[1] * np.cross(along, lift))
            knots.append(saddle)
        fixed = np.array(knots)
        chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fixed, axis=0), axis=1))])
        curve = CubicSpline(chord, fixed, bc_type="natural")
        at = np.linspace(0.0, chord[-1], max(8, round(chord[-1] / step_mm)) + 1)
        count = int(np.ceil(self.sizes.rod.overhang_mm / step_mm))
        beyond = np.linspace(0.0, self.sizes.rod.overhang_mm, count + 1)[1:, None]
        first, last = unit(curve(0.0, 1)), unit(curve(chord[-1], 1))
        return np.vstack([fixed[0] - beyond[::-1] * first, curve(at), fixed[-1] + beyond * last])

    def price(self, values: FloatArray) -> float:
        """What a rod costs."""
        heads, path = self.heads(values), self.path(values)
        rod, head = self.sizes.rod, self.sizes.head
        bend = rod.bend_radius_min_mm * curvature_per_mm(path)
        need = rod.diameter_mm / 2.0 + rod.bone_clearance_mm + _SPARE_MM
        skins = [head.skin_mm() for head in heads]
        away = self.room.about_mm(np.concatenate([path, *skins]))
        near = np.maximum(need - away[: len(path)], 0.0)
        sunk = np.maximum(_HEAD_SPARE_MM - away[len(path) :], 0.0)
        total = _NEAR * float((near**2).sum() + (sunk**2).sum()) + _BEND * float((bend**2).sum())
        total += _SHARP * float((np.maximum(_SPARE_SHARE * bend - 1.0, 0.0) ** 2).sum())
        total += _LONG * _STEP_MM * len(path)
        if self.keep_off is not None:
            total += _NEAR * float((np.maximum(self.keep_off(path) + _SPARE_MM, 0.0) ** 2).sum())
        for i, one in enumerate(heads):
            nearest = int(np.argmin(np.linalg.norm(path - one.saddle_mm, axis=1)))
            along = path[min(nearest + 1, len(path) - 1)] - path[max(nearest - 1, 0)]
            allowed = 0.7 * np.sin(np.radians(head.slot_tilt_max_deg))
            askew = max(abs(float(one.up @ along)) / float(np.linalg.norm(along)) - allowed, 0.0)
            tilt = values[3 * i + 1 : 3 * i + 3]
            beyond = max(float(np.linalg.norm(tilt)) - 1.0, 0.0)
            total += _ASKEW * askew**2
            total += _PROUD * float(values[3 * i]) ** 2 + _TILT * float(tilt @ tilt) + 20.0 * beyond**2
        return total

    def best(self) -> tuple[FloatArray, float]:
        """The cheapest values found, and their price.

        Low heads first. Where these end in bone a ridge may lie between them and free ones: then from high heads too.
        Where one ends at a limit of its own, from somewhat higher heads the search may end at gentler bends.
        """
        low, price = self._from(self.start(LOW_MM))
        if price <= _SETTLED and not self._at_limits(low):
            return low, price
        higher = MIDDLE_MM if price <= _SETTLED else self.sizes.head.proud_max_mm
        high, other = self._from(self.start(higher))
        return (high, other) if other < price else (low, price)

    def _at_limits(self, values: FloatArray) -> bool:
        """Does a head stand as proud, or tilt as far, as it may?"""
        heads = values[: 3 * len(self.screws)].reshape(-1, 3)
        proud = heads[:, 0] > self.sizes.head.proud_max_mm - 0.1
        return bool((proud | (np.linalg.norm(heads[:, 1:], axis=1) > 0.99)).any())

    def _from(self, start: FloatArray) -> tuple[FloatArray, float]:
        from scipy.optimize import minimize

        best, price = start, np.inf
        # A quasi-Newton search stops at kinks of the price; begun anew from there it gets past them.
        for _ in range(3):
            found = minimize(
                self.price,
                best,
                method="L-BFGS-B",
                bounds=self.bounds(),
                options={"maxiter": 80, "eps": 1e-4},
            )
            if found.fun > 0.98 * price:
                break
            best, price = found.x, float(found.fun)
        return best, price

    def rod(self, name: str, values: FloatArray) -> Rod:
        """The rod for the searched values."""
        path = self.path(values)
        sharpest = float(curvature_per_mm(path).max())
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        straight = sharpest * length**2 / 8.0 < STRAIGHT_MM
        return Rod(name, path, self.heads(values), np.inf if straight else 1.0 / sharpest)


def curvature_per_mm(path: FloatArray) -> FloatArray:
    """Curvature (N - 2,) of a polyline (N, 3): of the circle through three successive points."""
    u, v = path[1:-1] - path[:-2], path[2:] - path[1:-1]
    w = path[2:] - path[:-2]
    cross = np.empty_like(u)
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        cross[:, i] = u[:, j] * v[:, k] - u[:, k] * v[:, j]
    sides = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1) * (w * w).sum(axis=1))
    return np.asarray(2.0 * np.sqrt((cross * cross).sum(axis=1)) / np.maximum(sides, 1e-12))
