"""How sure each label is, where a person must look, and what a correction changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.segment.assemble import Placed
from implantflow.segment.filters import signed_depth
from implantflow.segment.grid import Box, crop
from implantflow.segment.labels import LABELS
from implantflow.segment.masks import BoolArray, bodies, bounding_box, counts, largest_component
from implantflow.volumes import Volume

#: Codes of ``confidence.nii.gz``.
FROM_PRIOR, BORDER_HIDDEN, DISPUTED, CLEAR = 1, 2, 3, 4
CLASSES = {
    "not_bone": 0,
    "filled_from_prior": FROM_PRIOR,
    "border_not_shown": BORDER_HIDDEN,
    "border_disputed": DISPUTED,
    "clear": CLEAR,
}
#: Voxels this near (mm) to a border through bright bone share its doubt.
DOUBT_MM = 1.5
#: Bridges smaller than this (mm2 of border) are touching plates; the largest few are listed.
MIN_BRIDGE_MM2, MOST_BRIDGES = 15.0, 8
#: Two bones nearer than this (mm) form a joint.
JOINT_MM = 4.0

_NAME_OF = {code: name for name, code in LABELS.items()}


def hidden_border(hu: Volume, region: NDArray[np.uint8], bright_hu: float) -> NDArray[np.float32]:
    """Area (mm2) of border through bone bright on both sides, written to the voxel before it (K, J, I).

    There the image shows no gap between two bones: a bony bridge, plates that touch, or a wrong cut.
    """
    from implantflow.segment.mask_kernels import touching_mm2

    spacing = hu.spacing_mm[::-1]
    face_mm2 = (np.prod(spacing) / spacing).astype(np.float32)
    return np.asarray(touching_mm2(hu.array, region, bright_hu, LABELS["other_bone"], face_mm2))


def bridges(hu: Volume, region: NDArray[np.uint8], area: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The largest places where two bones are one in the image: between which, where, how large, how bright."""
    hidden = area > 0
    if not hidden.any():
        return []
    box = bounding_box(hidden, 2)
    hidden, area, region = hidden[box.slices], area[box.slices], region[box.slices]
    hu = crop(hu, box)
    numbers, voxels_of = bodies(hidden, corners=True)
    sizes = np.bincount(numbers[hidden], area[hidden], minlength=len(voxels_of))[1:]
    found = []
    for n in np.argsort(-sizes, kind="stable")[:MOST_BRIDGES]:
        if sizes[n] < MIN_BRIDGE_MM2:
            break
        voxels = np.argwhere(numbers == n + 1)
        low, high = voxels.min(axis=0), voxels.max(axis=0) + 2
        around = region[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
        codes, votes = np.unique(around[(around > 0) & (around < LABELS["other_bone"])], return_counts=True)
        pair = sorted(codes[np.argsort(-votes, kind="stable")][:2].tolist())
        middle = voxels[np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).argmin()]
        found.append(
            {
                "between": [_NAME_OF[c] for c in pair],
                "place_lps_mm": _point(hu.index_to_lps(middle[::-1][None])[0]),
                "border_mm2": float(sizes[n]),
                "mean_hu": float(hu.array[tuple(voxels.T)].mean()),
            }
        )
    return found


def confidence(
    full: NDArray[np.uint8],
    cut: tuple[Volume, Box],
    area: NDArray[np.float32],
    disputed: BoolArray | None,
    solids: dict[str, Placed],
) -> NDArray[np.uint8]:
    """Codes of :data:`CLASSES` (K, J, I) on the canonical grid: the least certain of what is true of a voxel."""
    hu, box = cut
    out = np.where(full > 0, np.uint8(CLEAR), np.uint8(0))
    part = out[box.slices]
    if disputed is not None:
        part[(part > 0) & disputed] = DISPUTED
    hidden = area > 0
    if hidden.any():
        around = bounding_box(hidden, 2 + int(DOUBT_MM / hu.spacing_mm.min()))
        doubtful = signed_depth(hidden[around.slices], crop(hu, around), 2.0 * DOUBT_MM) >= -DOUBT_MM
        near = part[around.slices]
        near[(near > 0) & doubtful] = BORDER_HIDDEN
    for placed in solids.values():
        target = part[placed.box.slices]
        target[placed.solid.from_prior & (target > 0)] = FROM_PRIOR
    return out


def shares(codes: NDArray[np.uint8]) -> dict[str, float]:
    """Share (%) of the labelled voxels in each class."""
    each = counts(codes, CLEAR).astype(np.float64)
    total = max(float(each[1:].sum()), 1.0)
    return {name: 100.0 * each[code] / total for name, code in CLASSES.items() if code > 0}


def changes(before: NDArray[np.uint8], after: NDArray[np.uint8], voxel_mm3: float) -> list[dict[str, Any]]:
    """What went from one label to another (mm3), largest first."""
    moved = (before != after) & (before + after > 0)
    pairs, counts = np.unique(np.stack([before[moved], after[moved]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "from": _NAME_OF.get(int(pairs[0, n]), "none"),
            "to": _NAME_OF.get(int(pairs[1, n]), "none"),
            "volume_mm3": float(counts[n]) * voxel_mm3,
        }
        for n in order
    ]


def checklist(
    hu: Volume, solids: dict[str, Placed], found: list[dict[str, Any]], endplate_lps_mm: FloatArray | None
) -> list[dict[str, Any]]:
    """What a person confirms at the labels gate, each with the place to look at."""
    points = {name: placed.solid.surface.vertices_lps_mm[::3] for name, placed in solids.items()}
    sacrum = points["sacrum"]
    items = []
    for side in ("right", "left"):
        place = _meeting(sacrum, points[f"hip_{side}"])
        question = (
            f"Does the border follow the {side} sacro-iliac joint, with the space left out on both sides?"
        )
        items.append(_item(f"si_joint_{side}", question, place))
    behind = points["l5"]
    if endplate_lps_mm is not None:
        behind = behind[behind[:, 1] > endplate_lps_mm[1] + 12.0]
    middle = float(np.median(points["l5"][:, 0]))
    for side, half in (("right", behind[behind[:, 0] < middle]), ("left", behind[behind[:, 0] > middle])):
        question = f"Is the {side} L5/S1 facet joint cut between its two processes?"
        items.append(_item(f"facet_{side}", question, _meeting(sacrum, half)))
    for number, bridge in enumerate(found, start=1):
        pair = " and ".join(bridge["between"])
        question = f"{pair} touch without a gap over {bridge['border_mm2']:.0f} mm2: is the border right?"
        items.append(_item(f"bridge_{number}", question, np.asarray(bridge["place_lps_mm"])))
    question = "Is the vertebra on the sacrum L5, and not a transitional one? Count the levels."
    items.append(_item("level_count", question, points["l5"].mean(axis=0)))
    lowest = sacrum[sacrum[:, 2].argmin()]
    items.append(
        _item("caudal_end", "Does the sacrum end where it should, coccyx and loose bone apart?", lowest)
    )
    place = _filled(hu, solids["sacrum"])
    if place is not None:
        question = "Here the prior filled what the image does not show: tumour, thin cortex or a mistake?"
        items.append(_item("filled_from_prior", question, place))
    question = "Is the tumour's region labelled as the bone it grew in?"
    items.append(_item("tumour_region", question, None))
    return items


def _item(name: str, question: str, place: FloatArray | None) -> dict[str, Any]:
    return {"id": name, "question": question, "place_lps_mm": None if place is None else _point(place)}


def _point(place: FloatArray) -> list[float]:
    return [float(v) for v in np.round(place, 3)]


def _meeting(ours: FloatArray, theirs: FloatArray) -> FloatArray | None:
    """Middle of the part of one surface that comes near another, None when they stay apart."""
    from implantflow.segment.mesh_kernels import near_any

    if len(theirs) == 0:
        return None
    near = theirs[near_any(theirs, ours, JOINT_MM)]
    if len(near) < 5:
        return None
    return np.asarray(near[np.linalg.norm(near - np.median(near, axis=0), axis=1).argmin()])


def _filled(hu: Volume, placed: Placed) -> FloatArray | None:
    """A voxel in the middle of the largest part of the sacrum that the prior filled in, if that is much."""
    solid = placed.solid
    if solid.from_prior_mm3 < 100.0:
        return None
    voxels = np.argwhere(largest_component(solid.from_prior))
    middle = voxels[np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).argmin()]
    return np.asarray(hu.index_to_lps((middle + placed.box.start)[::-1][None])[0])
