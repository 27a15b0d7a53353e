"""Twelve landmarks that a reader can find in any viewer, taken from the drawn anatomy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.anatomy import Patient, Pose
from implantflow.phantom.ilium_tables import HIP_CENTRE
from implantflow.phantom.sacrum_tables import BODY_DEPTH
from implantflow.phantom.si_joint import joint_x
from implantflow.phantom.surfaces import Mesh, nearest_vertex

LANDMARKS = (
    "asis_left",
    "asis_right",
    "psis_left",
    "psis_right",
    "promontory",
    "s1_endplate_posterior",
    "sacral_apex",
    "ala_si_left",
    "ala_si_right",
    "notch_left",
    "notch_right",
    "l5_endplate_superior",
)


def landmarks_lps(patient: Patient, meshes: Mapping[str, Mesh], pose: Pose) -> dict[str, FloatArray]:
    """Landmark name -> (3,) patient LPS mm; ``meshes`` are the bones' surfaces in patient LPS.

    asis, psis: foremost and rearmost point of the iliac crest. promontory, s1_endplate_posterior: front and back
    edge of the S1 endplate in the mid-line. sacral_apex: caudal end of S5 in front. ala_si: foremost and highest
    point of the sacroiliac joint, on the sacral side. notch: apex of the greater sciatic notch.
    l5_endplate_superior: centre of the upper L5 endplate.
    """
    here = pose.anatomy_from_lps
    inside = {
        name: (transform_points(here, mesh[0]), mesh[1])
        for name, mesh in meshes.items()
        if name in ("sacrum", "hip_left", "hip_right", "l5")
    }
    found: dict[str, FloatArray] = {}
    for side, name in ((1, "left"), (-1, "right")):
        hip, sacrum = inside[f"hip_{name}"][0], inside["sacrum"][0]
        found[f"asis_{name}"] = _foremost_of_crest(hip)
        found[f"psis_{name}"] = _rearmost_of_crest(hip)
        found[f"notch_{name}"] = _notch(hip)
        found[f"ala_si_{name}"] = _ala(sacrum, patient, side)
    line = patient.line
    depth = BODY_DEPTH[0] * patient.shape.endplate_half_depth_mm / 16
    for name, point in (
        ("promontory", line.point(0, depth, 0.5)),
        ("s1_endplate_posterior", line.point(0, -depth, 0.5)),
        ("sacral_apex", line.point(0, BODY_DEPTH[-1], 112.0)),
    ):
        found[name] = nearest_vertex(inside["sacrum"], point)
    level = patient.levels[0]
    top = level.to_anatomy((0, 0, level.height_mm / 2))
    found["l5_endplate_superior"] = nearest_vertex(inside["l5"], top)
    return {name: transform_points(pose.lps_from_anatomy, found[name][None])[0] for name in LANDMARKS}


def _extreme(points: FloatArray, score: FloatArray) -> FloatArray:
    """The point closest to the middle of those within half a millimetre of the best ``score``.

    A single extreme vertex of a blunt spine would jump by millimetres with the roughness of the bone.
    """
    best = points[score > score.max() - 0.5]
    return np.asarray(best[np.argmin(np.sum((best - best.mean(0)) ** 2, axis=1))])


def _foremost_of_crest(hip: FloatArray) -> FloatArray:
    """ASIS: foremost point above the AIIS, favouring the lower part of a blunt spine."""
    upper = hip[hip[:, 2] > -45]
    return _extreme(upper, -upper[:, 1] - 0.15 * upper[:, 2])


def _rearmost_of_crest(hip: FloatArray) -> FloatArray:
    """PSIS: rearmost point of the crest, favouring its lower end."""
    upper = hip[hip[:, 2] > -45]
    return _extreme(upper, upper[:, 1] - 0.2 * upper[:, 2])


def _notch(hip: FloatArray) -> FloatArray:
    """Deepest point of the notch: rear border between hip joint and PIIS, furthest from the line of both.

    The rear border is the vertex furthest back at each millimetre of height, within a band that holds vertices
    on the coarsest grid too.
    """
    border = []
    for level in range(round(HIP_CENTRE[2]) - 6, -56):
        ring = hip[np.abs(hip[:, 2] - level) < 1.5]
        if len(ring):
            border.append(ring[np.argmax(ring[:, 1])])
    rear = np.array(border)
    spine, piis = rear[0], rear[np.argmax(rear[:, 1])]
    along = (piis - spine)[1:] / np.linalg.norm((piis - spine)[1:])
    offset = (rear - spine)[:, 1:]
    return _extreme(rear, offset[:, 1] * along[0] - offset[:, 0] * along[1])


def _ala(sacrum: FloatArray, patient: Patient, side: int) -> FloatArray:
    """Foremost and highest vertex of the sacrum's joint face (within 2.5 mm of the joint's middle)."""
    c = patient.sacrum.joint[1 if side > 0 else 0]
    near = sacrum[(sacrum[:, 0] * side > 35) & (sacrum[:, 2] > -45)]
    off = np.array([joint_x(float(y), float(z), c) - side * x for x, y, z in near])
    face = near[off < 2.5]
    return _extreme(face, (face[:, 2] - face[:, 1]) * 0.7)
