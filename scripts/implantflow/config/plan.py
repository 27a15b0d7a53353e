"""The section ``plan``: where the bone is cut, with which margin, and where screws may go."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Point, Section

CaudalLevel = Literal["S1", "S2", "S3", "S4"]


class PlaneOverride(Section):
    """A plane that the surgeon gives instead of the computed one."""

    point_lps_mm: Point = Field(description="A point on the plane, patient LPS, mm.")
    normal_lps: Point = Field(
        description="Normal in patient LPS, any length, pointing INTO the specimen for the midline and caudal "
        "osteotomies, cranially for l5s1 and laterally for si_joint."
    )


class PlaneOverrides(Section):
    """Planes set by hand; what is left out is computed."""

    midline: PlaneOverride | None = Field(
        default=None, description="Midline osteotomy. Left out: the exact anatomical mid-plane."
    )
    caudal: PlaneOverride | None = Field(
        default=None, description="Caudal osteotomy. Left out: from `caudal_level` and `margin_mm`."
    )
    l5s1: PlaneOverride | None = Field(
        default=None, description="L5/S1 disc plane. Left out: fitted between the end plates."
    )
    si_joint: PlaneOverride | None = Field(
        default=None, description="Plane of the sacroiliac joint. Left out: fitted to the joint space."
    )


class CorridorConfig(Section):
    """A screw path to be found inside bone (or inside the implant)."""

    name: Name = Field(description="Name of the screw, e.g. s1_implant, s2ai_right.")
    kind: Literal["implant_s1", "s2_alar_iliac", "iliac"] = Field(
        description="implant_s1: from behind through the implant's S1 pedicle to its promontory; "
        "s2_alar_iliac: from the healthy sacrum's back between the S1 and S2 foramina across the joint into "
        "the ilium; iliac: from the posterior superior iliac spine forwards within the ilium."
    )
    side: Literal["implant", "healthy"] = Field(
        description="On the operated side (implant) or on the other one. implant_s1 is always 'implant', "
        "s2_alar_iliac always 'healthy' (on the operated side there is no sacral ala left)."
    )
    diameter_mm: float = Field(gt=2.0, le=12.0, description="Outer diameter of the screw thread, mm.")
    length_min_mm: float = Field(ge=15.0, le=140.0, description="Shortest screw worth placing, mm.")
    length_max_mm: float = Field(ge=15.0, le=140.0, description="Longest screw in the set, mm.")
    wall_mm: float = Field(
        ge=0.0, le=10.0, description="Least bone (or metal) that must remain around the thread, mm."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.length_max_mm < self.length_min_mm:
            raise ValueError("length_max_mm is below length_min_mm")
        if self.kind == "implant_s1" and self.side != "implant":
            raise ValueError("implant_s1 lies in the implant: side must be 'implant'")
        if self.kind == "s2_alar_iliac" and self.side != "healthy":
            raise ValueError("s2_alar_iliac needs a sacral ala: side must be 'healthy'")
        return self


class PlanRevision(Section):
    """One plan of the resection; a new plan is a new revision, none is edited in place."""

    id: Name = Field(description="Name of the revision, e.g. p1; the folder below plan/.")
    margin_mm: float = Field(
        ge=0.0,
        le=40.0,
        description="Least distance (mm) between the tumour's surface and every osteotomy. No default: it is "
        "the surgeon's decision for this tumour.",
    )
    kerf_mm: float = Field(
        ge=0.0, le=4.0, description="Width (mm) of bone that the saw removes, on the side that remains."
    )
    caudal_level: CaudalLevel | None = Field(
        default=None,
        description="Lowest sacral level (foramen) that leaves with the specimen; the published case took the "
        "roots S1-S4. Left out: as low as the margin needs. The plane never lies higher than the margin allows.",
    )
    below_foramen_mm: float = Field(
        default=6.0,
        ge=0.0,
        le=15.0,
        description="How far (mm, along the sacrum) the caudal osteotomy lies below the centre of the level's "
        "foramen: half a foramen's height, so that the cut clears it.",
    )
    timepoints: list[Name] | None = Field(
        default=None,
        min_length=1,
        description="Time points of the tumour whose union this plan keeps the margin to. Left out: all of them. "
        "A revision made before a later MR names those there were; the next revision adds the new one.",
    )
    planes: PlaneOverrides = Field(
        default_factory=PlaneOverrides, description="Planes given by the surgeon instead of computed."
    )
    corridors: list[CorridorConfig] = Field(description="Screws to plan; may be empty.")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [c.name for c in self.corridors]
        if len(set(names)) != len(names):
            raise ValueError("two corridors have the same name")
        return self


class PlanConfig(Section):
    """Resection plans, oldest first."""

    revisions: list[PlanRevision] = Field(min_length=1, description="Revisions, each under its own id.")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [revision.id for revision in self.revisions]
        if len(set(ids)) != len(ids):
            raise ValueError("two plan revisions have the same id")
        return self
