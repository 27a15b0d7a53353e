"""The parts of a construct as simple closed solids, and which of them are meant to meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from implantflow.config.fixation import ConstructConfig
from implantflow.geometry import FloatArray
from implantflow.plan.cables import Loop
from implantflow.plan.connectors import Connector
from implantflow.plan.heads import Head, Screw
from implantflow.plan.rods import Rod
from implantflow.solids.booleans import difference
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import cylinder, tube

#: Bores are wider than what runs in them by this, so that a fit is no collision.
_PLAY_MM = 0.05
#: A shank reaches into its head by this.
_INTO_HEAD_MM = 2.0


def parts(
    screws: Mapping[str, Screw],
    rods: Sequence[Rod],
    connectors: Sequence[Connector],
    loops: Mapping[str, Loop],
    sizes: ConstructConfig,
) -> dict[str, Solid]:
    """Every part by name: ``screw NAME``, ``head NAME``, ``rod NAME``, ``connector A+B``, ``cable NAME``."""
    heads = {head.screw.name: (head, rod) for rod in rods for head in rod.heads}
    diameter = sizes.rod.diameter_mm
    found: dict[str, Solid] = {}
    for name, screw in screws.items():
        head, _ = heads.get(name, (None, None))
        top = screw.entry_mm if head is None else head.foot_mm + _INTO_HEAD_MM * screw.out
        found[f"screw {name}"] = cylinder(top, screw.tip_mm, screw.diameter_mm)
    for name, (head, rod) in heads.items():
        found[f"head {name}"] = _head(head, rod, screws[name], diameter)
    found |= {f"rod {rod.name}": tube(rod.path_mm, diameter) for rod in rods}
    by_name = {rod.name: rod for rod in rods}
    for connector in connectors:
        bores = [tube(_near(by_name[n].path_mm, connector), diameter + _PLAY_MM) for n in connector.joins]
        found[f"connector {'+'.join(connector.joins)}"] = difference(connector.solid(), *bores)
    widths = {cable.name: cable.diameter_mm for cable in sizes.cables}
    found |= {f"cable {name}": tube(loop.path_mm, widths[name]) for name, loop in loops.items()}
    return found


def meant_to_meet(
    screws: Mapping[str, Screw], rods: Sequence[Rod], homes: Mapping[str, Sequence[str]]
) -> set[frozenset[str]]:
    """Pairs of parts that share room by design: a screw with its head, its rod and the bones of its corridor."""
    pairs = {frozenset((f"screw {name}", f"head {name}")) for name in screws}
    pairs |= {frozenset((f"screw {name}", bone)) for name, home in homes.items() for bone in home}
    for rod in rods:
        pairs |= {frozenset((f"rod {rod.name}", f"screw {head.screw.name}")) for head in rod.heads}
    return {pair for pair in pairs if len(pair) == 2}


def _head(head: Head, rod: Rod, screw: Screw, rod_diameter_mm: float) -> Solid:
    """The head with its slot and its seat on the shank."""
    block = cylinder(head.foot_mm, head.top_mm, head.sizes.diameter_mm)
    shank = cylinder(
        head.foot_mm - head.sizes.diameter_mm * screw.out,
        head.foot_mm + _INTO_HEAD_MM * screw.out,
        screw.diameter_mm + _PLAY_MM,
    )
    near = np.linalg.norm(rod.path_mm - head.saddle_mm, axis=1) < head.sizes.diameter_mm + 4.0
    return difference(block, shank, tube(rod.path_mm[near], rod_diameter_mm + _PLAY_MM))


def _near(path_mm: FloatArray, connector: Connector) -> FloatArray:
    reach = float(np.linalg.norm(connector.size_mm)) / 2.0 + 4.0
    return np.asarray(path_mm[np.linalg.norm(path_mm - connector.middle_mm, axis=1) < reach])
