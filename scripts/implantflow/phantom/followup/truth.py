"""What is true in a simulated scan, for tests and for the report's comparison; no stage reads it."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.config.simulated_followup import FollowupScan
from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.followup.coverage_kernels import first_bone
from implantflow.phantom.followup.faces import Face, FaceGrids, depth_below, pore_bone_at
from implantflow.phantom.followup.implant_field import ImplantField
from implantflow.phantom.followup.motion import Placed, moved_by, relative_to_baseline
from implantflow.phantom.followup.sampling_kernels import sample_regions
from implantflow.phantom.followup.scan import Patient

#: Depth bands below each contact face, mm.
BANDS_MM = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0))
_BAND_FACES = ("si_joint", "midline", "caudal")
#: Sampling of the implant for volumes and means, mm; not a divisor of any cell, so that no phase is favoured.
_SAMPLE_MM = 0.793
#: What counts as bone for the gap, how far it is looked for, and what counts as touching.
_BONE_HU, _REACH_MM, _TOUCHING_MM = 90.0, 8.0, 0.1
#: Share of a face's points that is enough for its gaps.
_EVERY = 5


def truth_of(
    series: str,
    scan: FollowupScan,
    found: Placed,
    patient: Patient,
    implant: ImplantField,
    faces: list[Face],
    grids: FaceGrids,
    threads: int,
) -> dict[str, Any]:
    """Transforms, migration, face states and pore contents of one scan."""
    return {
        "simulated": True,
        "notice": "SIMULATED: no patient was scanned; known by construction",
        "series": series,
        "study_date": scan.study_date.isoformat(),
        "frame": "planning_lps to scan_lps, mm",
        "scan_from_planning": found.scan_from_planning,
        "scan_from_implant": found.scan_from_implant,
        "implant_motion_in_planning": found.motion,
        "implant_centroid_planned_mm": found.centroid_mm,
        "relative_to_plan": moved_by(found.motion, found.centroid_mm),
        "relative_to_baseline": relative_to_baseline(found),
        "faces": _faces(scan, found, patient, faces),
        "screws": {name: state.model_dump() for name, state in scan.screws.items()},
        "pores": _pores(scan, implant, faces, grids, threads),
    }


def _faces(scan: FollowupScan, found: Placed, patient: Patient, faces: list[Face]) -> dict[str, Any]:
    """State of each face, and the gap to the bone that the surgery left, along the face's normals.

    A fused face carries its layer of bone everywhere; ``bridged_pct`` counts only where that layer, or contact, reaches
    remaining bone, and so leaves out what faces the canal, a foramen or muscle.
    """
    out: dict[str, Any] = {}
    for face in faces:
        state = scan.faces.get(face.name)  # type: ignore[call-overload]
        name = state.state if state else "as_placed"
        width = (state.width_mm or 0.0) if state else 0.0
        gap, areas = _gaps(found, patient, face)
        # Resorbed bone is gone whatever the gap; a gap that is filled or closed is a bridge.
        bridged = np.zeros(len(gap), bool) if name == "lucent" else gap <= max(width, _TOUCHING_MM)
        out[face.name] = {
            "state": name,
            "lucency_mm": width if name == "lucent" else 0.0,
            "filled_gap_mm": width if name == "fused" else None,
            "filled_bone_fraction": state.bone_fraction if state else None,
            "area_mm2": float(face.areas_mm2.sum()),
            "gap_p50_mm": float(np.median(gap)),
            "gap_meaning": f"along the normal to the first remaining tissue above {_BONE_HU:.0f} HU, before resorption "
            f"or filling; {_REACH_MM:g} mm where there is none",
            "filled_layer_pct": 100.0 if name == "fused" else 0.0,
            "bridged_pct": float(100.0 * areas[bridged].sum() / areas.sum()),
        }
    return out


def _gaps(found: Placed, patient: Patient, face: Face) -> tuple[FloatArray, FloatArray]:
    """Gap (N,) at points of a face where the implant is now, and the area each stands for."""
    points = transform_points(found.motion, face.points[::_EVERY])
    normals = np.ascontiguousarray(face.normals[::_EVERY] @ found.motion[:3, :3].T)
    gap = np.empty(len(points))
    index = np.asarray(np.linalg.inv(patient.anatomy.affine), np.float64)
    first_bone(points, normals, patient.anatomy.hu, index, patient.bed, _BONE_HU, 0.1, _REACH_MM, gap)
    return gap, face.areas_mm2[::_EVERY]


def _pores(
    scan: FollowupScan, implant: ImplantField, faces: list[Face], grids: FaceGrids, threads: int
) -> dict[str, Any]:
    """Bone in the pores of the porous part, whole and by depth below the faces."""
    size = np.ceil((implant.high_mm - implant.low_mm) / _SAMPLE_MM).astype(int) + 1
    regions = np.zeros(size[::-1], np.uint8)
    sample_regions(
        implant.solid,
        implant.dense,
        implant.origin_mm,
        implant.spacing_mm,
        implant.low_mm,
        _SAMPLE_MM,
        regions,
    )
    k, j, i = np.nonzero(regions == 1)
    points = implant.low_mm + _SAMPLE_MM * np.column_stack([i, j, k])
    bone = pore_bone_at(grids, points)
    points = transform_points(np.linalg.inv(implant.build_from_planning), points)
    voxel = _SAMPLE_MM**3
    out: dict[str, Any] = {
        "meaning": "bone_fraction is bone per pore space, of solid cortical bone (1.92 g/cm3); per_volume counts the "
        "titanium in; depth is the distance to the nearest point of the face; porous part only",
        "fill_hu": scan.pores.fill_hu,
        "titanium_fraction": implant.lattice_fraction,
        "porous_volume_mm3": len(points) * voxel,
        **_bone(bone, implant.lattice_fraction),
        "regions": {},
    }
    for face in faces:
        if face.name not in _BAND_FACES:
            continue
        depth = depth_below(face, points, BANDS_MM[-1][1] + 0.1, threads)
        out["regions"][face.name] = [_band(depth, bone, band, implant, voxel) for band in BANDS_MM]
    return out


def _band(
    depth: FloatArray, bone: FloatArray, band: tuple[float, float], implant: ImplantField, voxel_mm3: float
) -> dict[str, Any]:
    inside = (depth >= band[0]) & (depth < band[1])
    entry: dict[str, Any] = {"depth_mm": list(band), "porous_volume_mm3": int(inside.sum()) * voxel_mm3}
    if not inside.any():
        return {**entry, "bone_fraction": None, "reason": "no porous volume at this depth: the face is dense"}
    return {**entry, **_bone(bone[inside], implant.lattice_fraction)}


def _bone(bone: FloatArray, titanium: float) -> dict[str, float]:
    mean = float(bone.mean())
    return {"bone_fraction": mean, "bone_fraction_per_volume": mean * (1.0 - titanium)}
