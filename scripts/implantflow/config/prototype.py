"""The section ``prototype``: rapid-prototype iterations and the corrections between them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Point, Section

FaceName = Literal["midline", "caudal", "si_joint", "l5s1"]


class OffsetFace(Section):
    """Move a named contact face along its normals."""

    kind: Literal["offset_face"] = Field(description="Type of this correction.")
    face: FaceName = Field(description="Which contact face.")
    distance_mm: float = Field(
        ge=-5.0, le=5.0, description="How far (mm) it moves outwards; negative moves it inwards."
    )
    blend_mm: float = Field(
        ge=0.0,
        le=20.0,
        description="Width (mm) inside the face's border over which the movement grows from nothing to full; "
        "0 moves the border too.",
    )
    reason: str = Field(min_length=3, description="Why, as said in the review.")


class TrimPlane(Section):
    """Cut everything beyond a plane."""

    kind: Literal["trim_plane"] = Field(description="Type of this correction.")
    plane: Literal["l5s1", "given"] = Field(
        description="'l5s1': the plan's disc plane; 'given': the plane in point_lps_mm and normal_lps."
    )
    offset_mm: float = Field(
        ge=-20.0, le=20.0, description="Shift (mm) of the plane along its normal before cutting."
    )
    point_lps_mm: Point | None = Field(default=None, description="Point on a given plane, patient LPS, mm.")
    normal_lps: Point | None = Field(
        default=None, description="Normal of a given plane; what it points at is removed."
    )
    reason: str = Field(min_length=3, description="Why, as said in the review.")

    @model_validator(mode="after")
    def _given(self) -> Self:
        if (self.plane == "given") != (self.point_lps_mm is not None and self.normal_lps is not None):
            raise ValueError("point_lps_mm and normal_lps belong to plane 'given', both of them")
        return self


class Clearance(Section):
    """Remove what lies nearer to a neighbour than a clearance."""

    kind: Literal["clearance"] = Field(description="Type of this correction.")
    neighbour: Literal["hip", "l5", "remaining_bone"] = Field(description="Which neighbour.")
    clearance_mm: float = Field(
        gt=0.0, le=5.0, description="Least gap (mm) to that neighbour; larger than the implant section's."
    )
    reason: str = Field(min_length=3, description="Why, as said in the review.")


class SmoothRegion(Section):
    """Smooth the outer surface in a ball, contact planes kept."""

    kind: Literal["smooth_region"] = Field(description="Type of this correction.")
    centre: Literal["facet", "given"] = Field(
        description="'facet': the highest point of the implant behind the disc (the S1 facet); 'given': centre_lps_mm."
    )
    centre_lps_mm: Point | None = Field(default=None, description="Centre of the ball, patient LPS, mm.")
    radius_mm: float = Field(
        gt=1.0, le=40.0, description="Radius (mm) of the ball; the effect fades outwards."
    )
    passes: int = Field(ge=1, le=100, description="Smoothing passes; each evens out about one triangle edge.")
    reason: str = Field(min_length=3, description="Why, as said in the review.")

    @model_validator(mode="after")
    def _given(self) -> Self:
        if (self.centre == "given") != (self.centre_lps_mm is not None):
            raise ValueError("centre_lps_mm belongs to centre 'given'")
        return self


class AddHole(Section):
    """Drill a hole, along a corridor of the plan or between two given points."""

    kind: Literal["add_hole"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the hole; 's1' is the screw hole of the implant section.")
    corridor: Name | None = Field(default=None, description="Name of the plan's corridor to follow.")
    start_lps_mm: Point | None = Field(default=None, description="Start of a given axis, patient LPS, mm.")
    end_lps_mm: Point | None = Field(default=None, description="End of a given axis, patient LPS, mm.")
    diameter_mm: float = Field(gt=0.5, le=20.0, description="Diameter of the hole, mm.")
    reason: str = Field(min_length=3, description="Why, as said in the review.")

    @model_validator(mode="after")
    def _one_axis(self) -> Self:
        given = self.start_lps_mm is not None and self.end_lps_mm is not None
        if given == (self.corridor is not None):
            raise ValueError("give corridor, or start_lps_mm and end_lps_mm")
        return self


class MoveHole(Section):
    """Shift a hole that an earlier iteration drilled; the old place is solid again."""

    kind: Literal["move_hole"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the hole.")
    shift_lps_mm: Point = Field(description="Shift of its whole axis, patient LPS, mm.")
    reason: str = Field(min_length=3, description="Why, as said in the review.")


Correction = Annotated[
    OffsetFace | TrimPlane | Clearance | SmoothRegion | AddHole | MoveHole, Field(discriminator="kind")
]


class Iteration(Section):
    """One printed model: its parent, its plan, what was corrected, what the reviewers are asked."""

    id: Name = Field(description="Name of the iteration, e.g. rp1; the folder below prototype/.")
    parent: Name | None = Field(description="Iteration that this one corrects; null for the first.")
    plan: Name = Field(description="Plan revision that this iteration is built on.")
    corrections: list[Correction] = Field(
        description="Corrections in the order in which they are applied, after those of the parent."
    )
    questions: list[str] = Field(
        min_length=1, description="What the reviewers are asked to answer with the model in hand."
    )

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if self.parent is None and self.corrections:
            raise ValueError("the first iteration has nothing to correct: leave its corrections empty")
        return self


class PrototypeConfig(Section):
    """Rapid-prototype iterations, oldest first."""

    iterations: list[Iteration] = Field(
        min_length=1, description="Iterations; a parent comes before its child."
    )
    approved: Name = Field(description="Iteration that goes on to the implant once its review gate is open.")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [iteration.id for iteration in self.iterations]
        if len(set(ids)) != len(ids):
            raise ValueError("two prototype iterations have the same id")
        return self
