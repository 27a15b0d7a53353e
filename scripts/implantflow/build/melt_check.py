"""What the beam does in dense metal, from the file as read back: paths in their place, and metal that none reaches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cli_reader import CliLayer
from implantflow.build.cli_writer import (
    CONTOUR_ID,
    EDGE_ID,
    HATCH_ID,
    INNER_ID,
    OUTER_ID,
    OUTLINE_ID,
    SUPPORT_ID,
)
from implantflow.build.islands import Rows
from implantflow.config.build import Machine
from implantflow.geometry import FloatArray

#: A place counts as melted up to this far beyond half the melt's width (mm): the radius of a grain of the powder (45 to
#: 105 um across), which the melt that touches it draws in. Strips between struts and dense metal may be that far off.
GRAIN_MM = 0.04


class MeltRules(NamedTuple):
    """Where paths must lie, in units: least depth of each label below an outline, reach of a path, turned hatches?"""

    depths: dict[int, float]
    reach: float
    turned: bool

    @classmethod
    def of(cls, machine: Machine) -> MeltRules | None:
        """Rules of a machine; None where the beam runs along outlines."""
        paths = machine.paths
        if paths is None:
            return None
        passes = [depth / machine.unit_mm for depth in paths.contour_depths_mm]
        depths = {
            OUTER_ID: passes[0],
            INNER_ID: passes[min(1, len(passes) - 1)],
            HATCH_ID: paths.hatch_depth_mm / machine.unit_mm,
            EDGE_ID: 0.0,
        }
        reach = passes[0] + GRAIN_MM / machine.unit_mm
        return cls(depths, reach, paths.hatch_turn_deg % 90.0 != 0.0)


class MeltSeen(NamedTuple):
    """What can be said of one layer's paths: faults, and places of dense metal on the grid, all and bare ones."""

    stray: int
    near: int
    places: int
    bare: int


def in_frame(rules: MeltRules | None, layer: CliLayer) -> NDArray[np.bool_]:
    """(H,) lines of a layer that must run along x or y: fillings, unless the hatches turn."""
    straight = layer.hatch_label != SUPPORT_ID
    for label in (OUTER_ID, INNER_ID, EDGE_ID) if rules is not None else ():
        straight &= layer.hatch_label != label
    if rules is not None and rules.turned:
        straight &= layer.hatch_label != HATCH_ID
    return np.asarray(straight)


def look(rules: MeltRules, layer: CliLayer, rows: Rows, levels: FloatArray, slack: float) -> MeltSeen:
    """Examine the paths of one layer; may run in any thread.

    Parameters
    ----------
    rows : the layer cut by rows at ``levels``. slack : what rounding may take (units).
    """
    from implantflow.build import melt_check_kernels as kernels

    offset = layer.label == OUTLINE_ID
    followed = (layer.label == CONTOUR_ID) & (layer.direction == 0)
    depth = np.zeros(len(layer.hatches))
    own = np.zeros(len(layer.hatches), dtype=bool)
    for label, least in rules.depths.items():
        mine = layer.hatch_label == label
        depth[mine], own = least, own | mine
    cut = (levels, rows.begin, rows.where)
    stray, near = kernels.path_faults(
        layer.hatches[own],
        depth[own],
        ~in_frame(rules, layer)[own],
        layer.points,
        layer.starts,
        offset,
        *cut,
        slack,
    )
    paths = layer.hatches[layer.hatch_label != SUPPORT_ID]
    places, bare = kernels.bare_places(
        paths, layer.points, layer.starts, offset, followed, *cut, rows.owner, rules.reach
    )
    return MeltSeen(stray, near, places, bare)
