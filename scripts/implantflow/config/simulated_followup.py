"""How the CT scans after the operation are simulated: scanner, field, and what is true at each time point."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section

FaceName = Literal["midline", "caudal", "si_joint", "l5s1"]
Triple = tuple[
    Annotated[float, Field(ge=-40, le=40)],
    Annotated[float, Field(ge=-40, le=40)],
    Annotated[float, Field(ge=-40, le=40)],
]


class Motion(Section):
    """A small rigid motion: turns about x, then y, then z through the implant's centroid, then a shift."""

    turns_deg: Triple = Field(description="Turns about the x, y and z axes of patient LPS, degrees.")
    shift_mm: Triple = Field(description="Shift along x, y and z of patient LPS, mm.")


class FaceTruth(Section):
    """What lies beside one contact face."""

    state: Literal["as_placed", "fused", "lucent"] = Field(
        description="as_placed: host bone where the surgery left it; fused: the gap is filled with bone; "
        "lucent: bone next to the face is resorbed to soft tissue."
    )
    width_mm: float | None = Field(
        default=None,
        gt=0,
        le=6,
        description="lucent: thickness of the soft layer on the face, mm; fused: widest gap that bone has filled, "
        "mm. Only these two states have it.",
    )
    bone_fraction: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="fused: fraction of solid cortical bone in the filled gap. Only this state has it.",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.width_mm is None) != (self.state == "as_placed"):
            raise ValueError("width_mm belongs to the states fused and lucent, and both need it")
        if (self.bone_fraction is None) != (self.state != "fused"):
            raise ValueError("bone_fraction belongs to the state fused, which needs it")
        return self


class Ingrowth(Section):
    """Bone that has grown into the pores from one face, less with depth."""

    at_face_fraction: float = Field(
        ge=0, le=0.9, description="Fraction of the pore space that is bone at the face (fraction)."
    )
    decay_mm: float = Field(
        gt=0.5, le=60, description="Depth over which it falls to 37 % of the way to core_fraction, mm."
    )


class Pores(Section):
    """What fills the pores of the lattice."""

    fill_hu: float = Field(ge=-120, le=100, description="HU of fluid, fibrous tissue or fat in the pores.")
    core_fraction: float = Field(
        ge=0, le=0.5, description="Fraction of the pore space that is bone far from every face (fraction)."
    )
    ingrowth: dict[FaceName, Ingrowth] = Field(
        description="Ingrowth by face; where two reach one place, the larger fraction holds."
    )


class ScrewTruth(Section):
    """What has become of one screw of the plan; what is not named is as it was planned."""

    advance_mm: float = Field(
        default=0.0,
        ge=-20,
        le=20,
        description="Motion along its axis, towards the tip; negative backs out, mm.",
    )
    across_mm: float = Field(default=0.0, ge=-10, le=10, description="Motion across its axis, mm.")
    broken_at: float | None = Field(
        default=None, gt=0, lt=1, description="Where it is broken, as a share of its length from its head."
    )
    gap_mm: float = Field(default=0.0, ge=0, le=10, description="Metal missing at the break, mm.")
    step_mm: float = Field(
        default=0.0, ge=-10, le=10, description="Offset of the part beyond the break across the axis, mm."
    )
    rim_mm: float = Field(
        default=0.0, ge=0, le=5, description="Bone around it that is resorbed to soft tissue, mm."
    )


class FollowupScan(Section):
    """One scan: when, how the patient lay, and what is true in it."""

    study_date: date = Field(description="Date of the scan, ISO 8601.")
    pose: Motion = Field(description="How the patient lies, against the planning CT.")
    migration: Motion = Field(
        description="Motion of the implant in the pelvis since it was placed, in axes of the planning CT."
    )
    soft_hu: float = Field(
        ge=-120,
        le=100,
        description="HU of what fills the resection bed, gaps and resorbed bone (blood, fluid, scar).",
    )
    faces: dict[FaceName, FaceTruth] = Field(
        description="State of each contact face; a face that is not named is as placed."
    )
    pores: Pores = Field(description="What fills the pores.")
    screws: dict[str, ScrewTruth] = Field(
        default={}, description="Screws that are not as planned, by the name of their corridor."
    )
    kvp: float | None = Field(
        default=None, ge=80, le=140, description="Tube voltage of this scan where it differs, kV."
    )
    kernel: Literal["soft", "sharp"] | None = Field(
        default=None, description="Reconstruction kernel of this scan where it differs."
    )


class SimulatedFollowupConfig(Section):
    """Simulated CT after the operation: a polychromatic scanner and the truth of each time point."""

    seed: int = Field(ge=1, le=999_999, description="Photon noise follows from it.")
    kvp: float = Field(ge=80, le=140, description="Tube voltage, kV.")
    kernel: Literal["soft", "sharp"] = Field(
        description="Reconstruction kernel: soft is ramp with Hann (1.4 mm wide), sharp is Shepp-Logan (0.8 mm)."
    )
    spacing_mm: tuple[
        Annotated[float, Field(ge=0.3, le=2)],
        Annotated[float, Field(ge=0.3, le=2)],
        Annotated[float, Field(ge=1, le=2)],
    ] = Field(description="Pixel size, twice the same, and slice thickness (1 or 2), mm.")
    views: int = Field(
        ge=96,
        le=2400,
        multiple_of=8,
        description="Views over half a turn (720 is clinical; a multiple of 8).",
    )
    cell_mm: float = Field(ge=0.3, le=1.5, description="Detector cell at the axis of rotation, mm.")
    box_mm: float = Field(ge=0.1, le=0.5, description="Voxel of the grid that resolves the struts, mm.")
    anatomy_mm: float = Field(ge=0.5, le=2.0, description="Pixel of the grid that holds the anatomy, mm.")
    field_mm: tuple[Annotated[float, Field(ge=60, le=450)], Annotated[float, Field(ge=60, le=450)]] = Field(
        description="Width (x) and depth (y) of the reconstructed field, mm. It must hold the implant and enough "
        "unoperated bone for the registration."
    )
    field_offset_mm: tuple[
        Annotated[float, Field(ge=-120, le=120)], Annotated[float, Field(ge=-120, le=120)]
    ] = Field(description="Centre of the field from the implant's centroid, x and y, mm.")
    cranial_mm: float = Field(ge=2, le=80, description="How far the scan reaches above the implant, mm.")
    caudal_mm: float = Field(ge=2, le=80, description="How far the scan reaches below the implant, mm.")
    photons: float = Field(
        gt=1e3,
        le=1e9,
        description="Photons per view, detector cell and 0.5 mm row without a patient (count).",
    )
    scatter_residual: float = Field(
        ge=0,
        le=1,
        description="Share of the scattered radiation that the scanner does not correct (fraction).",
    )
    screw_head_mm: tuple[Annotated[float, Field(ge=0, le=20)], Annotated[float, Field(ge=0, le=20)]] = Field(
        description="Diameter and length of the heads of screws outside the implant, mm."
    )
    median_pixels: Literal[1, 3, 5] = Field(
        description="In-plane median filter of the anatomy, pixels; 1 is none. A real CT brings its own noise, which "
        "must not be projected; simulated anatomy is free of noise."
    )
    placement: Motion = Field(
        description="Where the surgeon put the implant, against the plan, in axes of the planning CT."
    )
    scans: dict[Name, FollowupScan] = Field(
        min_length=1, description="The scans by the name of their series under ingest.series."
    )

    @model_validator(mode="after")
    def _whole_rows_and_square_pixels(self) -> Self:
        if self.spacing_mm[0] != self.spacing_mm[1]:
            raise ValueError("spacing_mm: pixels must be square")
        if self.spacing_mm[2] not in (1.0, 2.0):
            raise ValueError("spacing_mm: slices are 1 or 2 mm thick (whole detector rows)")
        return self
