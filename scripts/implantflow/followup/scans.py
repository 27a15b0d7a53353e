"""A follow-up scan from its files to poses: pelvis, implant, point spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FollowupJob
from implantflow.followup.design import Coverage
from implantflow.followup.found import Found
from implantflow.followup.hardware import hidden_by_metal, near_hardware, unoperated_bone
from implantflow.followup.implant_pose import ImplantPose, locate_implant
from implantflow.followup.inputs import Inputs
from implantflow.followup.metal_fit import voxel_levels
from implantflow.followup.pelvis import PelvisPose, locate_pelvis
from implantflow.followup.profile import Scan
from implantflow.followup.sampling import crop_around, smooth
from implantflow.followup.spread import measure_blur
from implantflow.followup.tissue import read_grid, without_metal
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.jobs import progress
from implantflow.volumes import Volume

#: Scan kept around the implant: profiles reach 6 mm out and migration may be a few mm more.
_ROOM_MM = 9.0
#: Voxels up to this far outside the implant are compared with the design, mm (the field knows 1.5).
_OUTSIDE_MM = 1.4
#: Surfaces nearer to bone than this are not compared, nor is what lies less than this under them, mm.
_BESIDE_BONE_MM, _UNDER_FACE_MM = 5.0, 1.5
#: Deep in the lattice: this far from its surface and from dense metal, mm.
_CORE_MM = 2.5
#: A screw's bloom, kept away from the comparison with the design, mm.
_SCREW_BLOOM_MM = 2.5


@dataclass(frozen=True)
class Located:
    """A scan with both poses."""

    scan: Scan
    found: Found
    pelvis: PelvisPose
    implant: ImplantPose


def locate(inputs: Inputs, volume: Volume, coverage: Coverage, settings: FollowupJob, side: str) -> Located:
    """Find pelvis and implant in ``volume``.

    Raises
    ------
    GeometryError
        One of them is not found with certainty.
    """
    progress("pelvis, by unoperated bone")
    pelvis = locate_pelvis(
        inputs.planning,
        unoperated_bone(inputs.labels, side, inputs.plan, inputs.centroid_mm),
        volume,
        hidden_by_metal(volume, settings.metal.threshold_hu, settings.metal.margin_mm),
        settings.agreement_max_mm,
    )
    progress("implant, by its metal")
    surface = inputs.surface_lps
    planned = pelvis.scan_from_planning
    part = crop_around(volume, transform_points(planned, surface), _ROOM_MM)
    levels = voxel_levels(part, _compared(inputs, part, planned))
    implant = locate_implant(
        coverage,
        levels,
        lambda places: _core(inputs, places),
        lambda pose: measure_blur(coverage, levels[-1], pose),
        planned,
        surface,
        settings.agreement_max_mm,
    )
    found = Found(planned, implant.scan_from_design, implant.blur, pelvis.gain, pelvis.offset_hu)
    progress("tissue beside the metal")
    return Located(scan_of(inputs, volume, found, coverage), found, pelvis, implant)


def scan_of(inputs: Inputs, volume: Volume, found: Found, coverage: Coverage) -> Scan:
    """The scan ready to be read, from poses that are known."""
    surface = inputs.surface_lps
    part = crop_around(volume, transform_points(found.scan_from_design, surface), _ROOM_MM)
    model = coverage.blurred(found.blur, found.scan_from_design)
    tissue = without_metal(part, found, coverage, model, inputs.depths, inputs.regions, inputs.way_to_bone)
    return Scan(
        smooth(part),
        tissue,
        model,
        found.scan_from_design,
        found.scan_from_planning,
        found.gain,
        found.offset_hu,
        found.blur.read_linearly(part.spacing_mm).covariance(found.scan_from_design),
    )


def _core(inputs: Inputs, places: FloatArray) -> NDArray[np.bool_]:
    """(N,) True for planned places deep in the lattice."""
    depths = inputs.depths
    return np.asarray((depths.below_surface(places) > _CORE_MM) & (depths.to_dense(places) > _CORE_MM))


def _compared(inputs: Inputs, part: Volume, planned: FloatArray) -> NDArray[np.bool_]:
    """(K, J, I) voxels of ``part`` that the design should explain: the implant, but no screw and no mating face.

    Bone beside a face brightens its edge as a shift of the metal would; where and how much is what is to be found
    out, so the pose must not rest on it.
    """
    nk, nj, ni = part.array.shape
    k, j, i = np.meshgrid(np.arange(nk), np.arange(nj), np.arange(ni), indexing="ij")
    index = np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1).astype(np.float64)
    places = transform_points(invert_rigid(planned), part.index_to_lps(index))
    near = inputs.depths.near_surface(places) < _OUTSIDE_MM
    chosen = np.flatnonzero(near)
    inner = places[chosen]
    to_bone = read_grid(inputs.way_to_bone, inner)
    mating = (to_bone < _BESIDE_BONE_MM) & (inputs.depths.below_surface(inner) < _UNDER_FACE_MM)
    near[chosen[mating | near_hardware(inner, inputs.regions, _SCREW_BLOOM_MM)]] = False
    return near.reshape(part.array.shape)
