"""Config of the follow-up: time points, what counts as bone, gap and fusion, and the outcome table."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section, Sourced


class FollowupTimepoint(Section):
    """One CT after the operation."""

    name: Name = Field(description="Name of the time point, e.g. m12; the folder below followup/.")
    series: Name = Field(description="The CT series, a name under ingest.series.")
    months: float = Field(ge=0, le=240, description="Months since the operation.")
    baseline: Name | None = Field(
        description="An earlier time point that this one is compared with, or null. Without one, migration and "
        "change in the lattice are not determinable; faces are still read, less finely."
    )
    artefact_reduction: Literal["none", "applied", "unknown"] = Field(
        description="Whether the series was reconstructed with metal artefact reduction (iMAR, O-MAR, SEMAR, Smart "
        "MAR). No standard tag says it, so the clinic does. It invents the inside of metal: with anything but none the "
        "lattice is not read, and faces are not calibrated by the baseline."
    )


class MetalRules(Sourced):
    """What is hidden from the registration of bone."""

    threshold_hu: float = Field(
        ge=1500,
        le=3000,
        description="From here on a voxel is metal, HU; above the densest bone, below the scanner's ceiling of 3071.",
    )
    margin_mm: float = Field(ge=2, le=30, description="Streaks and bloom reach this far around metal, mm.")


class FaceRules(Sourced):
    """How profiles at the contact faces are read."""

    patch_mm: float = Field(
        ge=1.5, le=10, description="Edge of the patches whose profiles are averaged and read one by one, mm."
    )
    reach_mm: float = Field(
        gt=0.5,
        le=10,
        description="A patch faces bone when the planned bone surface lies within this distance along its normal, mm.",
    )
    soft_hu: float = Field(
        ge=-50,
        le=120,
        description="HU of what a gap holds: blood and fluid early, fibrous tissue late.",
    )
    bone_hu: float = Field(
        ge=100,
        le=600,
        description="Least HU that counts as bone in a gap, where the host bone is denser than that.",
    )
    evidence: float = Field(
        ge=2.7,
        le=30,
        description="A gap is called only when it explains a patch's profile better than bone by this chi-square; "
        "3.84 is wrong in 5 of 100 patches without a gap.",
    )
    baseline_months_max: float = Field(
        ge=0,
        le=3,
        description="Up to this time after the operation a baseline shows the planned bone next to the implant as "
        "it was sawn, with fluid in the gap: neither ingrowth nor resorption yet. Later baselines do not "
        "calibrate the faces.",
    )
    second_reading: Literal["none", "nmar"] = Field(
        default="none",
        description="Read the faces a second time, for lucency only, on an image whose metal artefacts this project "
        "has reduced by projections simulated from the slices (nmar), and show both readings side by side. Grades rest "
        "on the first alone. Not to be confused with `artefact_reduction` of a time point, the scanner's own. What it "
        "is worth: docs/validation/followup.md.",
    )


class GradeRules(Sourced):
    """Thresholds of the grade of a face."""

    earliest_months: float = Field(
        ge=1, le=24, description="Before this time contact is not called fusion, months after the operation."
    )
    bridged_min_pct: float = Field(
        gt=0,
        lt=100,
        description="Below this share of bridged area a face is not fused, percent.",
    )
    bridged_full_pct: float = Field(
        gt=0, le=100, description="From this share of bridged area on a face is wholly fused, percent."
    )
    lucency_min_mm: float = Field(
        gt=0,
        le=5,
        description="A gap of soft tissue of this width or more is a lucency that speaks against fusion, mm.",
    )
    subsidence_max_mm: float = Field(
        gt=0, le=10, description="Migration since the baseline beyond this is flagged as subsidence, mm."
    )
    patches_min: int = Field(
        ge=1,
        description="A face with fewer readable patches (`faces.patch_mm`) is not graded: one or two of them agree by "
        "chance (count).",
    )
    readable_min_pct: float = Field(
        gt=0, le=100, description="A face of which less area than this can be read is not graded, percent."
    )
    limit_max_mm: float = Field(
        gt=0, le=5, description="Patches that would not show a gap of this width are not read, mm."
    )


class LatticeRules(Sourced):
    """Where bone in the lattice is measured, and what the interval covers."""

    dense_margin_mm: float = Field(
        ge=1, le=8, description="The core of the lattice lies at least this far from dense metal, mm."
    )
    surface_margin_mm: float = Field(
        ge=0, le=8, description="The core lies at least this far below the surface, mm."
    )
    hardware_margin_mm: float = Field(
        ge=1, le=15, description="Distance kept from screws and cables through the implant, mm."
    )
    fluid_hu: float = Field(
        ge=-20, le=90, description="HU of the thinnest that fills the pores at the baseline (fluid)."
    )
    blood_hu: float = Field(
        ge=0,
        le=110,
        description="HU of the densest that may fill pores without bone, at the baseline or later (blood, a clot): "
        "later it passes for bone, at the baseline it hides bone. Not below `fluid_hu`.",
    )
    fat_hu: float = Field(
        ge=-130,
        le=0,
        description="HU of fat, which may take the place of fluid later and hides as much bone.",
    )
    drift_hu: float = Field(
        ge=0, le=100, description="How far two scans of one protocol may differ in HU inside metal, 95 %."
    )
    stray_drift: float = Field(
        ge=0,
        le=0.5,
        description="By which share the stray signal (scatter the scanner does not take off) of two scans of one "
        "protocol may differ, 95 %; what it does to this implant's lattice is worked out by rays through the patient.",
    )
    metal_share_error: float = Field(
        ge=0,
        le=0.1,
        description="How far the printed share of metal may lie from the designed one, as a fraction of 1.",
    )

    @model_validator(mode="after")
    def _blood_is_denser(self) -> Self:
        if self.blood_hu < self.fluid_hu:
            raise ValueError(f"blood_hu ({self.blood_hu:g}) lies below fluid_hu ({self.fluid_hu:g})")
        return self


class ScrewRules(Sourced):
    """What is called a broken or a moved screw."""

    gap_min_mm: float = Field(
        ge=0.5,
        le=10,
        description="Metal missing over this length between two parts of a screw is a break, mm.",
    )
    step_min_mm: float = Field(
        ge=0.3,
        le=10,
        description="Two parts of a screw whose axes miss each other by this much are a break or a bend, mm.",
    )
    moved_min_mm: float = Field(
        ge=0.3,
        le=10,
        description="A screw that has moved by this much since the baseline, against the bone or implant that holds "
        "it, is a sign of loosening, mm.",
    )
    rim_drop_hu: float = Field(
        ge=50,
        le=1000,
        description="Bone next to the screw that has become darker than the bone around it by this much, HU.",
    )
    rim_min_pct: float = Field(
        gt=0, le=100, description="Such a rim along this share of the screw is a sign of loosening, percent."
    )


class FollowupConfig(Section):
    """Follow-up CTs and how they are read."""

    timepoints: list[FollowupTimepoint] = Field(
        min_length=1, description="CTs after the operation, in time order."
    )
    agreement_max_mm: float = Field(
        gt=0,
        le=1.0,
        description="Registrations from different starts must agree within this, mm, or the scan is refused "
        "(0.5: imaging facts of this project).",
    )
    metal: MetalRules = Field(description="Metal in the scan.")
    faces: FaceRules = Field(description="Reading of the contact faces.")
    grade: GradeRules = Field(description="Grades of the contact faces.")
    lattice: LatticeRules = Field(description="Bone in the lattice.")
    screws: ScrewRules | None = Field(
        default=None,
        description="Reading of the screws; without it they are not looked at, and that is said.",
    )
    outcomes: str | None = Field(
        default=None,
        description="CSV with the patient's outcome measures (date, months, measure, value, unit, source), or "
        "nothing where there is none.",
    )

    @model_validator(mode="after")
    def _baselines_exist(self) -> Self:
        months: dict[str, float] = {}
        for timepoint in self.timepoints:
            if timepoint.name in months:
                raise ValueError(f"followup.timepoints uses the name '{timepoint.name}' twice")
            if timepoint.baseline is not None:
                if timepoint.baseline not in months:
                    raise ValueError(
                        f"time point '{timepoint.name}' names baseline '{timepoint.baseline}', which is no earlier one"
                    )
                if months[timepoint.baseline] >= timepoint.months:
                    raise ValueError(f"the baseline of '{timepoint.name}' is not earlier in months")
            months[timepoint.name] = timepoint.months
        return self


class FollowupJob(Section):
    """What one job of the follow-up gets: the section with its one time point in place of the list."""

    timepoint: FollowupTimepoint = Field(description="The time point to read.")
    agreement_max_mm: float = Field(gt=0, le=1.0, description="As in the case config.")
    metal: MetalRules = Field(description="As in the case config.")
    faces: FaceRules = Field(description="As in the case config.")
    grade: GradeRules = Field(description="As in the case config.")
    lattice: LatticeRules = Field(description="As in the case config.")
    screws: ScrewRules | None = Field(default=None, description="As in the case config.")
    outcomes: str | None = Field(description="As in the case config.")
