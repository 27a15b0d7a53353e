"""The section ``plan``: where the bone is cut, with which margin, and where screws may go."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Point, Section
from implantflow.config.fixation import ConstructConfig

SacralLevel = Literal["S1", "S2", "S3", "S4"]
Procedure = Literal["hemisacrectomy", "total_sacrectomy", "partial_sacrectomy", "spondylectomy"]


class PlaneOverride(Section):
    """A plane that the surgeon gives instead of the computed one."""

    point_lps_mm: Point = Field(description="A point on the plane, patient LPS, mm.")
    normal_lps: Point = Field(
        description="Normal in patient LPS, any length, pointing INTO the specimen for osteotomies (midline, "
        "cranial, caudal, pedicle, ilium_left, ilium_right), cranially for l5s1 and laterally for si_joint."
    )


class PlaneOverrides(Section):
    """Planes set by hand; what is left out is computed."""

    midline: PlaneOverride | None = Field(
        default=None, description="Midline osteotomy. Left out: the exact anatomical mid-plane."
    )
    cranial: PlaneOverride | None = Field(
        default=None, description="Cranial osteotomy of a partial sacrectomy. Left out: from `cranial_level`."
    )
    caudal: PlaneOverride | None = Field(
        default=None, description="Caudal osteotomy. Left out: from `caudal_level` and `margin_mm`."
    )
    pedicle: PlaneOverride | None = Field(
        default=None,
        description="Spondylectomy: cut through the pedicles. Left out: where they are thinnest.",
    )
    ilium_left: PlaneOverride | None = Field(
        default=None, description="Cut through the left ilium, instead of `ilium_offset_mm`."
    )
    ilium_right: PlaneOverride | None = Field(default=None, description="As ilium_left, on the right.")
    l5s1: PlaneOverride | None = Field(
        default=None, description="L5/S1 disc plane. Left out: fitted between the end plates."
    )
    si_joint: PlaneOverride | None = Field(
        default=None, description="Plane of the sacroiliac joint. Left out: fitted to the joint space."
    )


class AxisOverride(Section):
    """A screw's axis that the surgeon gives instead of the computed one."""

    start_lps_mm: Point = Field(description="Entry point, patient LPS, mm.")
    end_lps_mm: Point = Field(description="Tip, patient LPS, mm.")


class CorridorConfig(Section):
    """A screw path to be found inside bone (or inside the implant)."""

    name: Name = Field(description="Name of the screw, e.g. s1_implant, s2ai_right.")
    kind: Literal["implant_s1", "s2_alar_iliac", "iliac", "pedicle", "iliosacral"] = Field(
        description="implant_s1: from behind through the implant's S1 pedicle to its promontory; "
        "s2_alar_iliac: from the healthy sacrum's back between the S1 and S2 foramina across the joint into "
        "the ilium; iliac: from the posterior superior iliac spine forwards within the ilium; pedicle: from behind "
        "through a pedicle of `level` into the vertebral body; iliosacral: from ilium to ilium through the intact "
        "sacrum at `level`."
    )
    side: Literal["implant", "healthy"] = Field(
        description="On the operated side (implant) or on the other one. implant_s1 is always 'implant', "
        "s2_alar_iliac always 'healthy' after a resection of the sacrum (on the operated side there is no sacral ala "
        "left)."
    )
    level: Literal["L3", "L4", "L5", "S1", "S2"] | None = Field(
        default=None, description="Vertebra of a pedicle screw (L3-L5), or S1 or S2 of an iliosacral one."
    )
    diameter_mm: float = Field(gt=2.0, le=12.0, description="Outer diameter of the screw thread, mm.")
    length_min_mm: float = Field(ge=15.0, le=200.0, description="Shortest screw worth placing, mm.")
    length_max_mm: float = Field(ge=15.0, le=200.0, description="Longest screw in the set, mm.")
    wall_mm: float = Field(
        ge=0.0, le=10.0, description="Least bone (or metal) that must remain around the thread, mm."
    )
    axis: AxisOverride | None = Field(
        default=None,
        description="The surgeon's own axis; its clearance is measured as that of a computed one. Left out: the line "
        "whose smallest distance to the cortex is largest.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.length_max_mm < self.length_min_mm:
            raise ValueError("length_max_mm is below length_min_mm")
        if self.kind == "implant_s1" and self.side != "implant":
            raise ValueError("implant_s1 lies in the implant: side must be 'implant'")
        levels = {"pedicle": ("L3", "L4", "L5"), "iliosacral": ("S1", "S2")}.get(self.kind, (None,))
        if self.level not in levels:
            raise ValueError(f"{self.kind} needs level: {' or '.join(str(level) for level in levels)}")
        return self


class BiopsyTract(Section):
    """The way of a biopsy needle, which must leave the body with the specimen."""

    name: Name = Field(description="Name, e.g. biopsy_1.")
    entry_lps_mm: Point = Field(description="Where the needle went in, patient LPS, mm.")
    target_lps_mm: Point = Field(description="Where its tip was, patient LPS, mm.")
    radius_mm: float = Field(gt=0.0, le=30.0, description="What around the needle's way must come out, mm.")


class MirrorConfig(Section):
    """Where the outer shape is taken from the healthy side, because the tumour changed it."""

    changed_within_mm: float = Field(
        ge=0.0,
        le=15.0,
        description="Surface nearer than this (mm) to the tumour counts as changed by it and is mirrored. No default: "
        "it depends on how far the tumour's outline is trusted.",
    )
    blend_mm: float = Field(
        ge=2.0, le=30.0, description="Width (mm) over which the mirrored surface passes into the own one."
    )
    step_max_mm: float = Field(
        gt=0.0,
        le=5.0,
        description="Largest step (mm of change per mm along the surface) of the blend, and largest offset of the "
        "surfaces at its border; else the plan is refused.",
    )
    residual_max_mm: float = Field(
        gt=0.0,
        le=10.0,
        description="Largest median distance (mm) between the fitted mirrored side and the intact surface about the "
        "tumour; above it the sides are too unlike for one to stand for the other.",
    )


class PlanRevision(Section):
    """One plan of the resection; a new plan is a new revision, none is edited in place."""

    id: Name = Field(description="Name of the revision, e.g. p1; the folder below plan/.")
    procedure: Procedure = Field(
        default="hemisacrectomy",
        description="hemisacrectomy (the published case): one side, midline and caudal osteotomy; total_sacrectomy: "
        "both sides, cut caudally at `caudal_level` or not at all; partial_sacrectomy: what lies below "
        "`cranial_level`, both sides; spondylectomy: the body of L5 (`vertebral_body`).",
    )
    margin_mm: float = Field(
        ge=0.0,
        le=40.0,
        description="Least distance (mm) between the tumour's surface and every osteotomy. No default: it is "
        "the surgeon's decision for this tumour.",
    )
    kerf_mm: float = Field(
        ge=0.0, le=4.0, description="Width (mm) of bone that the saw removes, on the side that remains."
    )
    osteotomy_tolerance_mm: float = Field(
        ge=0.0,
        le=10.0,
        description="How far (mm) a cut in theatre may lie beside its plan. No default: it depends on how the saw is "
        "guided. The plan gives the margin and the seat of the implant at its worst.",
    )
    osteotomy_tolerance_deg: float = Field(
        ge=0.0,
        le=15.0,
        description="How far (degrees) a cut in theatre may be tilted about the middle of its planned face. No "
        "default.",
    )
    biopsy_tracts: list[BiopsyTract] = Field(
        default_factory=list, description="Tracts that must lie inside the specimen."
    )
    caudal_level: SacralLevel | None = Field(
        default=None,
        description="Lowest sacral level (foramen) that leaves with the specimen; the published case took the "
        "roots S1-S4. Left out: as low as the margin needs (hemisacrectomy), to the tip (total_sacrectomy). The "
        "plane never lies higher than the margin allows.",
    )
    cranial_level: SacralLevel | None = Field(
        default=None,
        description="partial_sacrectomy: highest sacral level (foramen) that leaves with the specimen. The plane never "
        "lies lower than the margin allows.",
    )
    below_foramen_mm: float = Field(
        default=6.0,
        ge=0.0,
        le=15.0,
        description="How far (mm, along the sacrum) the caudal osteotomy lies below (the cranial one above) the centre "
        "of the level's foramen: half a foramen's height, so that the cut clears it.",
    )
    vertebral_body: Literal["whole", "half"] = Field(
        default="whole",
        description="spondylectomy: the whole body in front of the pedicles' cut, or the half on the operated side.",
    )
    ilium_offset_mm: float | None = Field(
        default=None,
        gt=0.0,
        le=60.0,
        description="Takes part of the ilium with the specimen: cut parallel to the sacroiliac joint's plane, this far "
        "(mm) lateral to it. Left out: the joint is taken apart.",
    )
    roots_sacrificed: list[str] | None = Field(
        default=None,
        description="Nerve roots the surgeon gives up, e.g. 'left S1'. Left out: those whose foramen lies in the "
        "specimen. Leaving one of these out is refused: its foramen leaves with the specimen.",
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
    mirror: MirrorConfig | None = Field(
        default=None,
        description="Outer shape of the implant from the mirrored healthy side where the tumour changed the bone "
        "(sacrum only). Left out: the bone as segmented.",
    )
    fixation: ConstructConfig | None = Field(
        default=None, description="Rods, connectors and cables. Left out: screws only, no construct."
    )

    def of_resection(self) -> dict[str, Any]:
        """What the resection and its screws are planned from: other rods or another outer shape repeat neither."""
        return self.model_dump(mode="json", exclude={"fixation", "mirror"})

    @property
    def missing_levels(self) -> Literal["refuse", "leave_out"]:
        """What becomes of a screw whose vertebra the scan does not hold whole: refused, unless ``fixation`` says so."""
        return "refuse" if self.fixation is None else self.fixation.missing_levels

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.corridors]
        if len(set(names)) != len(names):
            raise ValueError("two corridors have the same name")
        self._screws_of_fixation(set(names))
        if self.procedure == "partial_sacrectomy" and not (self.cranial_level or self.planes.cranial):
            raise ValueError("partial_sacrectomy needs cranial_level (or planes.cranial)")
        for corridor in self.corridors:
            hemi = self.procedure == "hemisacrectomy"
            if corridor.kind == "s2_alar_iliac" and hemi and corridor.side != "healthy":
                raise ValueError("s2_alar_iliac needs a sacral ala: side must be 'healthy'")
            if corridor.kind == "implant_s1" and not hemi:
                raise ValueError(
                    "implant_s1 is a screw of the hemisacral implant: procedure must be hemisacrectomy"
                )
        return self

    def _screws_of_fixation(self, names: set[str]) -> None:
        if self.fixation is None:
            return
        unknown = {name for rod in self.fixation.rod.rods for name in rod.screws} - names
        if unknown:
            raise ValueError(f"fixation.rod names screws that are no corridors: {', '.join(sorted(unknown))}")
        planned = {c.level for c in self.corridors if c.kind == "pedicle"}
        bare = [level for level in self.fixation.levels if level not in planned]
        if bare:
            raise ValueError(
                f"fixation.levels holds {', '.join(bare)}, which no pedicle corridor is planned for"
            )


class PlanConfig(Section):
    """Resection plans, oldest first."""

    revisions: list[PlanRevision] = Field(min_length=1, description="Revisions, each under its own id.")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [revision.id for revision in self.revisions]
        if len(set(ids)) != len(ids):
            raise ValueError("two plan revisions have the same id")
        return self
