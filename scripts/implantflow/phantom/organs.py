"""Vessels, bladder, rectum, nerve roots and bowel loops, anatomy frame."""

from __future__ import annotations

import itertools

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.phantom.anatomy import Patient
from implantflow.phantom.parameters import Shape
from implantflow.phantom.primitives import Parts
from implantflow.phantom.sacrum_tables import FORAMINA
from implantflow.phantom.tissue_tables import Tissue

_LOOPS = 95


def organ_parts(patient: Patient) -> list[tuple[Tissue, Parts]]:
    """Tissue and parts of the organs, in the order of painting."""
    outer, inner = Parts(), Parts()
    outer.capsule((-12, -72, -116), (12, -72, -116), 34, weights=(0.85, 1.1, 1.0))
    inner.capsule((-12, -72, -116), (12, -72, -116), 31, weights=(0.85, 1.1, 1.0))
    rectum, lumen = _rectum(patient)
    return [
        (Tissue.BLADDER_WALL, outer),
        (Tissue.URINE, inner),
        (Tissue.BOWEL_FULL, rectum),
        (Tissue.GAS, lumen),
        (Tissue.BLOOD, _vessels(patient)),
        (Tissue.NERVE, _nerves(patient)),
    ]


def _rectum(patient: Patient) -> tuple[Parts, Parts]:
    line = patient.line
    path = [line.point(x, u, s) for x, u, s in ((4, 47, 48), (6, 31, 72), (2, 25, 96), (0, 22, 122))]
    wall, lumen = Parts(), Parts()
    for start, end in itertools.pairwise(path):
        wall.capsule(start, end, 14, 13)
    lumen.capsule(path[1], path[2], 5, 7)
    return wall, lumen


def _vessels(patient: Patient) -> Parts:
    """Aorta, vena cava, and the iliac vessels along the pelvic brim."""
    parts = Parts()
    top = patient.levels[0].centre
    fork = np.array([0.0, top[1] - 36.0, top[2] + 8.0])
    parts.capsule(fork + np.array([8.0, 0, 0]), fork + np.array([10.0, 6, 95]), 9)
    parts.capsule(fork + np.array([-13.0, 4, -10]), fork + np.array([-15.0, 10, 95]), 10.5)
    for side in (1, -1):
        brim, groin = np.array([side * 44.0, -44.0, -14.0]), np.array([side * 72.0, -74.0, -104.0])
        artery = (fork + np.array([side * 6.0, 0, 0]), brim, groin)
        shift = np.array([-side * 5.0, 9.0, -4.0])
        vein = (fork + np.array([-13.0, 5, -10]), brim + shift, groin + shift)
        for path, radius in ((artery, 5.0), (vein, 6.2)):
            for start, end in itertools.pairwise(path):
                parts.capsule(start, end, radius)
        # Internal iliac vessels, in front of the ala and along the side wall.
        inner = (brim, np.array([side * 47.0, -8.0, -44.0]), np.array([side * 48.0, 16.0, -74.0]))
        for start, end in itertools.pairwise(inner):
            parts.capsule(start, end, 3.6, 3.0)
    return parts


def _nerves(patient: Patient) -> Parts:
    """Sacral roots through the foramina, gathering at the notch; the lumbosacral trunk over the ala."""
    parts = Parts()
    for side in (1, -1):
        plexus = np.array([side * 50.0, 22.0, -78.0])
        for s, x, front, _, _, _, u_hub in FORAMINA[:3]:
            hub = patient.line.point(side * x, u_hub, s)
            mouth = patient.line.point(side * (x + 5), u_hub + 11, s + 2)
            parts.capsule(hub, mouth, 0.4 * front)
            parts.capsule(mouth, plexus, 0.4 * front, 0.45 * front)
        start = patient.levels[0].to_anatomy((side * 22, 16, -10))
        ala = patient.line.point(side * 36, 14, 2)
        parts.capsule(start, ala, 2.6)
        parts.capsule(ala, plexus, 2.6, 2.6)
        parts.capsule(plexus, (side * 84, 34, -116), 5.5, 6)
    return parts


def bowel_loops(shape: Shape) -> list[tuple[Tissue, Parts]]:
    """Loops of bowel, some with gas above their content (the patient lies on the back)."""
    rng = np.random.default_rng([shape.seed, 77])
    found = []
    loops = 0
    while loops < _LOOPS:
        start = rng.uniform((-95, -98, -92), (95, 0, 118))
        # The cavity narrows and turns backwards below the brim.
        low = float(np.clip((-10.0 - start[2]) / 60.0, 0, 1))
        width, middle, depth = 105 - 55 * low, -50 + 12 * low, 58 - 18 * low
        if (start[0] / width) ** 2 + ((start[1] - middle) / depth) ** 2 > 1 or _beside_spine(start):
            continue
        end = start + rng.normal(0, 17, 3)
        radius, full, gas, share = rng.uniform(9, 17), rng.random(), rng.random(), rng.uniform(0.3, 0.7)
        loop = Parts()
        loop.capsule(start, end, radius, 0.9 * radius)
        found.append((Tissue.BOWEL if full < 0.6 else Tissue.BOWEL_FULL, loop))
        if gas < 0.4:
            bubble = Parts()
            lift = np.array([0.0, -0.3 * radius, 0.0])
            bubble.capsule(start + lift, end + lift, radius * share * 0.8)
            found.append((Tissue.GAS, bubble))
        loops += 1
    return found


def _beside_spine(point: FloatArray) -> bool:
    """True where aorta, cava and the lumbosacral spine lie."""
    return bool(abs(point[0]) < 34 and point[1] > -66 - 1.3 * min(point[2], 0))
