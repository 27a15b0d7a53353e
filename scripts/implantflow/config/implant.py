"""The section ``implant``: clearances, dense regions, holes and limits of the final part."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section
from implantflow.config.threads import ThreadSize

#: Name of the hole for the S1 screw, whether it was drilled in the prototype or is added to it.
S1_HOLE = "s1"


class Clearances(Section):
    """Gap left between the implant and each neighbour; no defaults, since fit decides the result."""

    midline_mm: float = Field(ge=0.0, le=3.0, description="To the sawn face of the remaining sacrum, mm.")
    caudal_mm: float = Field(ge=0.0, le=3.0, description="To the caudal sawn face, mm.")
    hip_mm: float = Field(
        ge=0.0, le=5.0, description="Least gap to the ilium, mm; the joint space is usually wider."
    )
    l5_mm: float = Field(ge=0.0, le=10.0, description="Least gap to L5, facet included, mm.")


class FaceThickness(Section):
    """Depth of the dense metal below each contact face; 0 leaves the lattice open to the bone."""

    midline_mm: float = Field(ge=0.0, le=10.0, description="Below the midline face, mm.")
    caudal_mm: float = Field(ge=0.0, le=10.0, description="Below the caudal face, mm.")
    si_joint_mm: float = Field(
        ge=0.0, le=10.0, description="Below the sacroiliac face, mm; the published implant was porous there."
    )
    l5s1_mm: float = Field(ge=0.0, le=10.0, description="Below the end plate, mm.")


class HoleThread(Section):
    """A metric coarse thread that the workshop cuts by hand into the hole, bored to its core diameter."""

    size: ThreadSize = Field(
        description="Nominal size, coarse series of ISO 262; the hole's diameter must lie within the limits of its "
        "core (class 6H of ISO 965)."
    )
    wall_min_mm: float = Field(
        ge=0.5, le=10.0, description="Least dense metal around the thread's nominal diameter, mm."
    )
    engagement_min_mm: float = Field(
        ge=2.0, le=80.0, description="Least length of the hole all round which that much metal stands, mm."
    )


class ScrewHole(Section):
    """The hole for the screw into the implant at S1."""

    corridor: Name = Field(description="The plan's corridor that the hole follows.")
    diameter_mm: float = Field(gt=2.0, le=12.0, description="Diameter of the hole, mm.")
    boss_diameter_mm: float = Field(
        gt=3.0, le=25.0, description="Outer diameter of the dense metal around it, mm."
    )
    thread: HoleThread | None = Field(
        default=None,
        description="Thread that is cut into the hole after printing; left out, the hole stays plain.",
    )

    @model_validator(mode="after")
    def _wall(self) -> Self:
        if self.boss_diameter_mm < self.diameter_mm + 2.0:
            raise ValueError("boss_diameter_mm leaves less than 1 mm of wall around the hole")
        return self


class CablePassage(Section):
    """A smooth curved passage from back to front through the lateral mass, for a cable around the ilium."""

    name: Name = Field(description="Name of the passage.")
    height_fraction: float = Field(
        ge=0.05, le=0.95, description="Height on the sacroiliac face, 0 at its lower and 1 at its upper end."
    )
    diameter_mm: float = Field(gt=1.0, le=8.0, description="Diameter, mm.")
    wall_mm: float = Field(ge=0.5, le=5.0, description="Dense metal around it, mm.")
    bend_radius_mm: float = Field(
        ge=15.0, le=200.0, description="Radius of the passage's arc, mm; sharper bends fray the cable."
    )


class Machining(Section):
    """Metal printed on top of the design where it is milled or bored to size; every face is stated, 0 for none."""

    midline_mm: float = Field(ge=0.0, le=2.0, description="Stock on the midline face, mm.")
    caudal_mm: float = Field(ge=0.0, le=2.0, description="Stock on the caudal face, mm.")
    si_joint_mm: float = Field(ge=0.0, le=2.0, description="Stock on the sacroiliac face, mm.")
    l5s1_mm: float = Field(ge=0.0, le=2.0, description="Stock on the end plate, mm.")
    bores_mm: float = Field(
        ge=0.0,
        le=2.0,
        description="Stock on the wall of every screw hole, mm, for the thread or the final bore.",
    )

    @property
    def faces(self) -> dict[str, float]:
        """Stock (mm) by the name of the contact face."""
        return {name: getattr(self, f"{name}_mm") for name in ("midline", "caudal", "si_joint", "l5s1")}


class ImplantLimits(Section):
    """What the finished implant must hold, else it is refused."""

    interpenetration_mm3: float = Field(
        ge=0.0, le=50.0, description="Largest volume (mm3) shared with the bone that remains."
    )
    gap_p95_mm: float = Field(
        gt=0.0,
        le=10.0,
        description="Largest 95th percentile (mm) of the gap over midline, caudal and SI faces.",
    )
    contact_area_min_mm2: float = Field(
        ge=0.0, description="Least area (mm2) of midline, caudal and SI faces together."
    )


class ImplantConfig(Section):
    """The final implant; iterations of the prototype use the same clearances."""

    clearance: Clearances = Field(description="Gaps to the neighbours.")
    joint_space_max_mm: float = Field(
        gt=0.5,
        le=12.0,
        description="Widest gap (mm) across which a triangle still counts as facing the ilium; the adult "
        "sacroiliac joint space is 1.5-5 mm.",
    )
    disc_space_max_mm: float = Field(
        gt=2.0,
        le=25.0,
        description="Widest gap (mm) across which a triangle still counts as facing L5's end plate; a lumbosacral "
        "disc is 6-14 mm high.",
    )
    face_thickness: FaceThickness = Field(description="Dense layer below each contact face.")
    strut_radius_mm: float = Field(
        gt=1.0,
        le=12.0,
        description="Radius (mm) of the dense strut from the end plate to SI and midline faces.",
    )
    shell_mm: float = Field(ge=0.0, le=5.0, description="Thickness (mm) of a dense skin; 0 for none.")
    screw_hole: ScrewHole = Field(description="The S1 screw hole.")
    cable_passages: list[CablePassage] = Field(description="Cable passages; may be empty.")
    machining: Machining | None = Field(
        default=None,
        description="Stock for machining, printed as a layer of its own on the finished shape; left out, nothing is "
        "machined and the part is used as built.",
    )
    limits: ImplantLimits = Field(description="Limits of the case.")

    @model_validator(mode="after")
    def _stock_on_metal(self) -> Self:
        if self.machining is None:
            return self
        for name, stock in self.machining.faces.items():
            dense = getattr(self.face_thickness, f"{name}_mm")
            if stock > dense:
                raise ValueError(
                    f"machining.{name}_mm: {stock:g} mm of stock on a dense layer of {dense:g} mm; a lattice cannot be "
                    "machined, so give the face at least as much face_thickness"
                )
        if self.machining.bores_mm >= self.screw_hole.diameter_mm / 2.0:
            raise ValueError("machining.bores_mm would close the screw hole")
        return self

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [p.name for p in self.cable_passages]
        if len(set(names)) != len(names):
            raise ValueError("two cable passages have the same name")
        return self
