"""The typed corrections between two prototype iterations (key ``corrections`` of an iteration)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Point, Section

FaceName = Literal["midline", "caudal", "si_joint", "l5s1"]
Reason = Annotated[str, Field(min_length=3, description="Why, as said in the review.")]


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
    reason: Reason


class Stroke(Section):
    """One stroke of paint on the implant's surface."""

    points_lps_mm: list[Point] = Field(
        min_length=1, description="Points (patient LPS, mm) that the brush passes, on or near the surface."
    )
    radius_mm: float = Field(gt=0.5, le=40.0, description="Radius (mm) of the brush.")


class OffsetRegion(Section):
    """Move a painted region of the surface along its normals."""

    kind: Literal["offset_region"] = Field(description="Type of this correction.")
    strokes: list[Stroke] = Field(
        min_length=1, description="The paint: triangles nearer to a stroke than its radius."
    )
    distance_mm: float = Field(
        ge=-5.0, le=5.0, description="How far (mm) it moves outwards; negative moves it inwards."
    )
    blend_mm: float = Field(
        ge=0.0,
        le=20.0,
        description="Width (mm) inside the region's border over which the movement grows from nothing to full; "
        "0 moves the border too.",
    )
    reason: Reason


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
    reason: Reason

    @model_validator(mode="after")
    def _given(self) -> Self:
        if (self.plane == "given") != (self.point_lps_mm is not None and self.normal_lps is not None):
            raise ValueError("point_lps_mm and normal_lps belong to plane 'given', both of them")
        return self


class TrimBox(Section):
    """Cut away a box."""

    kind: Literal["trim_box"] = Field(description="Type of this correction.")
    centre_lps_mm: Point = Field(description="Centre of the box, patient LPS, mm.")
    size_mm: Point = Field(description="Edge lengths (mm) along the box's own axes; all above 0.")
    turn_deg: Point = Field(
        default=(0.0, 0.0, 0.0),
        description="How the box is turned (degrees) about the patient's x, then y, then z axis; 0 leaves its "
        "edges along them.",
    )
    reason: Reason

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if min(self.size_mm) <= 0.0:
            raise ValueError("every edge in size_mm must be longer than 0")
        return self


class Clearance(Section):
    """Remove what lies nearer to a neighbour than a clearance."""

    kind: Literal["clearance"] = Field(description="Type of this correction.")
    neighbour: Literal["hip", "l5", "remaining_bone"] = Field(description="Which neighbour.")
    clearance_mm: float = Field(
        gt=0.0, le=5.0, description="Least gap (mm) to that neighbour; larger than the implant section's."
    )
    reason: Reason


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
    reason: Reason

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
    reason: Reason

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
    reason: Reason


class ResizeHole(Section):
    """Another diameter for a hole that is there."""

    kind: Literal["resize_hole"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the hole.")
    diameter_mm: float = Field(gt=0.5, le=20.0, description="New diameter, mm.")
    reason: Reason


class AddBoss(Section):
    """A round column of metal along a hole's axis or between two given points; holes stay open through it."""

    kind: Literal["add_boss"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the boss.")
    hole: Name | None = Field(default=None, description="Hole whose axis it surrounds.")
    start_lps_mm: Point | None = Field(default=None, description="Start of a given axis, patient LPS, mm.")
    end_lps_mm: Point | None = Field(default=None, description="End of a given axis, patient LPS, mm.")
    diameter_mm: float = Field(gt=1.0, le=40.0, description="Outer diameter, mm.")
    length_mm: float | None = Field(
        default=None,
        gt=0.0,
        le=60.0,
        description="With `hole`: how far (mm) it stands out of the implant at the hole's start.",
    )
    reason: Reason

    @model_validator(mode="after")
    def _one_axis(self) -> Self:
        given = self.start_lps_mm is not None and self.end_lps_mm is not None
        if given == (self.hole is not None) or (self.hole is None) != (self.length_mm is None):
            raise ValueError("give hole and length_mm, or start_lps_mm and end_lps_mm")
        return self


class MoveBoss(Section):
    """Shift a boss that an earlier correction added."""

    kind: Literal["move_boss"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the boss.")
    shift_lps_mm: Point = Field(description="Shift of its whole axis, patient LPS, mm.")
    reason: Reason


class ResizeBoss(Section):
    """Another diameter for a boss that is there."""

    kind: Literal["resize_boss"] = Field(description="Type of this correction.")
    name: Name = Field(description="Name of the boss.")
    diameter_mm: float = Field(gt=1.0, le=40.0, description="New diameter, mm.")
    reason: Reason


class MirrorRegion(Section):
    """Within a ball, the outer surface is that of the healthy side mirrored on the plan's mid-plane."""

    kind: Literal["mirror_region"] = Field(description="Type of this correction.")
    centre_lps_mm: Point = Field(description="Centre of the ball on the implant's side, patient LPS, mm.")
    radius_mm: float = Field(gt=2.0, le=60.0, description="Radius of the ball, mm.")
    step_max_mm: float = Field(
        gt=0.0,
        le=5.0,
        description="Largest step (mm) between the mirrored and the present surface along the ball's border; "
        "a larger one is refused: the sides do not match there.",
    )
    reason: Reason


class ImportStl(Section):
    """Take the shape from an STL that somebody edited in another program."""

    kind: Literal["import_stl"] = Field(description="Type of this correction.")
    file: str = Field(
        min_length=1,
        description="Binary STL in patient LPS mm, made from the implant.stl of the parent (relative paths start "
        "at the project). Closed, one piece, same side.",
    )
    within_mm: float = Field(
        gt=0.0,
        le=20.0,
        description="Largest distance (mm) that any part of it may lie from the model so far; further away is "
        "refused.",
    )
    reason: Reason


class ExtendMargin(Section):
    """Build on a plan revision with a larger margin; the shape is made anew from its resection."""

    kind: Literal["extend_margin"] = Field(description="Type of this correction.")
    margin_mm: float = Field(
        gt=0.0,
        le=40.0,
        description="margin_mm (mm) of the iteration's plan; more than the parent's plan had.",
    )
    reason: Reason


class NewImaging(Section):
    """Build on a plan revision that was made with a later MR; registration and margin are evaluated anew."""

    kind: Literal["new_imaging"] = Field(description="Type of this correction.")
    timepoint: Name = Field(
        description="Time point of the tumour section that the iteration's plan uses and the parent's did not."
    )
    reason: Reason


#: Those that build on another plan than the parent; they come first.
PLAN_KINDS = (ExtendMargin, NewImaging)
PlanCorrection = ExtendMargin | NewImaging

Correction = Annotated[
    OffsetFace
    | OffsetRegion
    | TrimPlane
    | TrimBox
    | Clearance
    | SmoothRegion
    | AddHole
    | MoveHole
    | ResizeHole
    | AddBoss
    | MoveBoss
    | ResizeBoss
    | MirrorRegion
    | ImportStl
    | ExtendMargin
    | NewImaging,
    Field(discriminator="kind"),
]
