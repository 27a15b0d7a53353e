"""Heads of the screws: where the shank ends, how the head tilts, and where the rod lies in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.fixation import HeadConfig
from implantflow.geometry import FloatArray, unit
from implantflow.solids.shapes import frame_of

#: Places on a head's skin that must be free of bone: rings along its height, places around.
_RINGS, _AROUND = 5, 12


@dataclass(frozen=True)
class Screw:
    """A planned screw.

    Attributes
    ----------
    name, diameter_mm
    entry_mm, tip_mm : (3,) arrays
        Where the corridor begins and ends, patient LPS.
    """

    name: str
    diameter_mm: float
    entry_mm: FloatArray
    tip_mm: FloatArray

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Screw:
        """Of an entry of ``plan.json``."""
        start, end = np.array(entry["start_lps_mm"]), np.array(entry["end_lps_mm"])
        return cls(str(entry["name"]), float(entry["diameter_mm"]), start, end)

    @property
    def out(self) -> FloatArray:
        """Unit vector out of the bone along the shank."""
        return unit(self.entry_mm - self.tip_mm)

    def seated(self, values: FloatArray, sizes: HeadConfig) -> Head:
        """The head for ``values`` (3,): how proud it stands (mm), and its tilt along two axes (share of the most)."""
        tilt = np.asarray(values[1:])
        length = float(np.linalg.norm(tilt))
        if length > 1.0:
            tilt = tilt / length
        angle = np.radians(sizes.tilt_max_deg) * min(length, 1.0)
        axes = frame_of(self.out)
        sideways = axes[:, :2] @ (tilt / max(min(length, 1.0), 1e-9))
        up = np.cos(angle) * self.out + np.sin(angle) * sideways
        return Head(self, float(values[0]), float(np.degrees(angle)), unit(up), sizes)


@dataclass(frozen=True)
class Head:
    """A head on its screw: ``proud_mm`` above the entry, its axis ``up`` (3,) tilted by ``tilt_deg``."""

    screw: Screw
    proud_mm: float
    tilt_deg: float
    up: FloatArray
    sizes: HeadConfig

    @property
    def foot_mm(self) -> FloatArray:
        """The shank's upper end (3,)."""
        return np.asarray(self.screw.entry_mm + self.proud_mm * self.screw.out)

    @property
    def saddle_mm(self) -> FloatArray:
        """Where the rod's axis lies in the head (3,)."""
        return np.asarray(self.foot_mm + self.sizes.saddle_mm * self.up)

    @property
    def top_mm(self) -> FloatArray:
        """Upper end of the head's axis (3,)."""
        return np.asarray(self.foot_mm + self.sizes.height_mm * self.up)

    def skin_mm(self) -> FloatArray:
        """Places (60, 3) on the head's side, from its foot to its top."""
        axes = frame_of(self.up)
        turns = 2.0 * np.pi / _AROUND * np.arange(_AROUND)
        ring = (
            self.sizes.diameter_mm
            / 2.0
            * (np.cos(turns)[:, None] * axes[:, 0] + np.sin(turns)[:, None] * axes[:, 1])
        )
        heights = np.linspace(0.0, self.sizes.height_mm, _RINGS)[:, None, None] * axes[:, 2]
        return np.asarray((self.foot_mm + heights + ring).reshape(-1, 3))

    def slot_tilt_deg(self, along: FloatArray) -> float:
        """How far a rod running along ``along`` (3,) is from square to the head's axis."""
        return float(np.degrees(np.arcsin(np.clip(abs(self.up @ unit(along)), 0.0, 1.0))))

    def as_json(self, along: FloatArray) -> dict[str, Any]:
        """Entry of ``construct.json``."""
        return {
            "name": self.screw.name,
            "proud_mm": self.proud_mm,
            "length_with_proud_mm": float(np.linalg.norm(self.screw.tip_mm - self.screw.entry_mm))
            + self.proud_mm,
            "head_tilt_deg": self.tilt_deg,
            "slot_tilt_deg": self.slot_tilt_deg(along),
            "head_foot_lps_mm": self.foot_mm,
            "head_axis_lps": self.up,
            "saddle_lps_mm": self.saddle_mm,
        }
