"""The section ``segment``: from the planning CT to one solid per bone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from implantflow.config.base import Point, Section

PriorKind = Literal["atlas", "template", "label_map"]


class PriorConfig(Section):
    """Where the expected shape of the bones comes from."""

    required_when: ClassVar[dict[str, str]] = {
        "path": "with kind 'atlas' or 'label_map'",
        "landmarks": "with kind 'template', or landmarks_file",
        "landmarks_file": "with kind 'template', or landmarks",
    }

    kind: PriorKind = Field(
        description="'atlas': statistical model of the surfaces in the atlas folder, posed without clicks; "
        "'template': one shape made by the project, posed by `landmarks`; 'label_map': bones labelled in "
        "another program, only checked and surfaced here. A clinical case may not use 'atlas' (its licence "
        "says not for clinical use)."
    )
    path: str | None = Field(
        default=None,
        description="Atlas folder (below `data_root`) or label map file; relative paths start at the "
        "repository or at the site's `data_root`. Not used by 'template', which the project makes.",
    )
    landmarks: dict[str, Point] | None = Field(
        default=None,
        description="Anatomical points in patient LPS mm (x to the patient's left, y to the back, z to the "
        "head), by name; at least `min_landmarks` of the template's names. Needed by 'template'. "
        "An error of about 10 mm in a point does not matter.",
    )
    landmarks_file: str | None = Field(
        default=None,
        description="3D Slicer markups file (.mrk.json or .json) holding the same points by label, instead "
        "of `landmarks`; RAS files are converted.",
    )
    min_landmarks: int = Field(
        default=6,
        ge=4,
        le=12,
        description="Fewest landmarks that may pose a template; four fix a similarity, two more let the "
        "residual show a slip.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> PriorConfig:
        if self.landmarks is not None and self.landmarks_file is not None:
            raise ValueError("give landmarks or landmarks_file, not both")
        if self.kind == "template" and self.landmarks is None and self.landmarks_file is None:
            raise ValueError("kind 'template' needs landmarks or landmarks_file")
        if self.kind in ("atlas", "label_map") and self.path is None:
            raise ValueError(f"kind '{self.kind}' needs path")
        return self


class Stroke(Section):
    """A person's correction: a line through voxels that belong to one bone."""

    bone: Literal[
        "sacrum", "hip_left", "hip_right", "l5", "l4_and_above", "femora", "coccyx", "other_bone"
    ] = Field(
        description="The bone these voxels belong to; 'other_bone' takes an osteophyte, calcification or contrast "
        "away from all of them."
    )
    points_lps_mm: list[Point] = Field(
        min_length=1,
        description="Points of the line in patient LPS mm (x to the patient's left, y to the back, z to the head).",
    )
    radius_mm: float = Field(default=1.5, gt=0.0, le=6.0, description="Half thickness of the line (mm).")
    reason: str = Field(min_length=3, description="Why, for the record.")


class SegmentConfig(Section):
    """Threshold, prior, fit, cut and surface of the bones."""

    threshold_hu: float = Field(
        ge=100.0,
        le=500.0,
        description="Lowest CT number (HU) that counts as bone in the reported threshold mask. 226 HU is the "
        "lower limit of the bone preset used in the published case; below 100 HU contrast-filled bowel and "
        "muscle join the bone, above 500 HU the cortex of an osteopenic sacrum is lost.",
    )
    prior: PriorConfig = Field(description="The shape prior and how it is posed.")
    corrections: list[Stroke] = Field(
        default=[],
        description="Corrections after a look at the labels: each fixes the voxels it covers, and the cut is solved "
        "again around it. The JSON shows what changed.",
    )
    edited_labels: str | None = Field(
        default=None,
        description="Label map (codes of segment.json) edited in another program on labels that this stage made; "
        "where it says otherwise it counts as strokes. Relative paths start at the repository.",
    )
    modality_opt_in: Literal["ct_only", "mr_without_cortex"] = Field(
        default="ct_only",
        description="'mr_without_cortex' lets a threshold run on MR, where cortical bone is black and the "
        "result is marrow at best; the JSON then says so. Only with prior.kind 'label_map'.",
    )
    fit_threshold_hu: float = Field(
        default=200.0,
        ge=100.0,
        le=500.0,
        description="Lowest smoothed CT number (HU) of bone for the edges that the prior is fitted to; "
        "stable from 120 to 280 HU on the Visible Human CT (docs/validation/bones.md).",
    )
    fit_spacing_mm: float = Field(
        default=1.5,
        ge=1.0,
        le=4.0,
        description="Voxel size (mm) of the isotropic copy that pose and edges are searched in.",
    )
    band_mm: float = Field(
        default=8.0,
        gt=2.0,
        le=15.0,
        description="Voxels whose distances (mm) to the two nearest fitted bones differ by less than this are "
        "disputed and go to the min-cut; leave-one-out error of the atlas fit is 1.4-8.4 mm.",
    )
    valley_scale_hu: float = Field(
        default=12.0,
        gt=0.0,
        le=100.0,
        description="Curvature (HU at the scale of 0.8 mm) of a dark sheet that quarters the price of cutting "
        "through it twice over: price / (1 + (valley/scale)^2).",
    )
    min_explained_fraction: float = Field(
        default=0.65,
        ge=0.3,
        le=1.0,
        description="Refuse when a smaller share of the bone edges at the height of the pelvis lies within 4 mm of "
        "the fitted prior. Measured: 0.71-1.00 where the fit was right (Visible Human, totalseg, phantom, 20 atlas "
        "members), 0.67 after a roll of 15 degrees, 0.64 with slices of twice their distance, 0.15-0.58 with flipped "
        "or exchanged axes, half a pelvis or landmarks 60 mm off.",
    )
    min_matched_fraction: float = Field(
        default=0.6,
        ge=0.3,
        le=1.0,
        description="Refuse when fewer of the prior's vertices inside the scan found a bone edge within 3 mm "
        "(right fits: 0.75-0.99).",
    )
    min_inside_fraction: float = Field(
        default=0.4,
        ge=0.2,
        le=1.0,
        description="Refuse when fewer of the prior's vertices lie inside the scan: too little anatomy.",
    )
    smoothing_limit_mm: float = Field(
        default=0.2,
        ge=0.0,
        le=0.5,
        description="Farthest (mm) that smoothing may move a surface vertex from the half-maximum.",
    )
    remeshing_bound_mm: float = Field(
        default=0.1,
        ge=0.0,
        le=0.3,
        description="Farthest (mm) that remeshing a bone's surface in fewer triangles may move it, either way; proven "
        "and measured in segment.json, refused when not kept. 0.1 mm leaves a third to two thirds of the voxel grid's "
        "triangles and moves the surface by 0.01 mm on average, where the half-maximum itself is 0.14 mm off; 0 keeps "
        "them all.",
    )
