"""Config of the strength stage: metal, loads, supports, resolution and limits."""

from __future__ import annotations

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Checkable, Name, Point, Section


class Metal(Checkable):
    """Elastic constants of the printed metal."""

    modulus_gpa: float = Field(
        description="Young's modulus of the solid metal (GPa); 110-114 is quoted for EBM Ti-6Al-4V ELI.",
        ge=10.0,
        le=250.0,
    )
    poisson: float = Field(description="Poisson's ratio of the solid metal.", ge=0.0, le=0.45)


#: Fatigue resistance reported for EBM Ti-6Al-4V with a finished surface, MPa (Materials Science and Engineering A
#: 2024, PII S0921509324007524, abstract read): an unfinished one is not better.
AS_BUILT_MAX_MPA = 350.0


class Fatigue(Checkable):
    """Stress amplitude that is survived for the life of the implant."""

    strength_mpa: float = Field(
        description="Largest von Mises stress (MPa) accepted for a repeated load at the stated number of cycles.",
        gt=0.0,
        le=1000.0,
    )
    cycles: float = Field(description="Number of load cycles the strength holds for.", ge=1e4, le=1e9)
    surface: Literal["as_built", "blasted", "etched", "machined"] = Field(
        description="Surface it holds for. A rough surface governs fatigue: machining raised the limit of EBM and "
        "SLM Ti-6Al-4V about threefold (doi:10.3390/met16050459, abstract read)."
    )
    hip: bool = Field(
        description="Whether it holds for metal that was hot isostatically pressed; 10-20 % more than without on "
        "machined specimens (same abstract)."
    )

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if self.surface == "as_built" and self.strength_mpa > AS_BUILT_MAX_MPA and not self.verified:
            raise ValueError(
                f"{self.strength_mpa:g} MPa for an as-built surface is more than the {AS_BUILT_MAX_MPA:g} MPa "
                "reported for finished EBM Ti-6Al-4V; give the source that shows it and set verified: true"
            )
        return self


class LoadCase(Checkable):
    """One posture or movement: a force on the load face."""

    name: Name = Field(description="Name of the load case, e.g. standing.")
    body_weight_factor: float = Field(
        description="Force across the whole joint as a multiple of body weight.", gt=0.0, le=10.0
    )
    direction_lps: Point = Field(
        description="Direction of the force on the implant in patient LPS (+x left, +y posterior, +z cranial); "
        "any length. In standing it points caudally: (0, 0, -1)."
    )

    @model_validator(mode="after")
    def _has_direction(self) -> Self:
        if sum(c * c for c in self.direction_lps) < 1e-12:
            raise ValueError("direction_lps has no length; write for instance [0, 0, -1]")
        return self


class Support(Checkable):
    """A contact face that bone holds, as an elastic bed."""

    face: Name = Field(description="Name of the contact face, e.g. si_joint or midline.")
    bed_n_per_mm3: float = Field(
        description="Stiffness of the bone behind the face (N/mm per mm2 of face), the same in all directions: "
        "about the bone's modulus divided by the depth that deforms. The face is taken as bonded.",
        gt=0.0,
        le=1e5,
    )


class RodScrew(Section):
    """A screw that a rod holds on to."""

    name: Name = Field(description="Name of the corridor in the plan, e.g. s1_implant.")
    held_by: Literal["implant", "pelvis", "vertebra"] = Field(
        description="What the screw's thread sits in: a hole of the implant, the pelvis (ilium and remaining "
        "sacrum, which do not move), or the vertebra that rests on the load face."
    )


class Rod(Checkable):
    """A round rod through the heads of screws, straight from one to the next."""

    name: Name = Field(description="Name of the rod, e.g. left.")
    screws: list[RodScrew] = Field(
        description="Its screws, from one end to the other.", min_length=2, max_length=12
    )
    diameter_mm: float = Field(description="Diameter of the rod (mm).", ge=3.0, le=8.0)
    modulus_gpa: float = Field(description="Young's modulus of the rod (GPa).", ge=10.0, le=250.0)


class Fixation(Checkable):
    """Rods and screws that share the load with the implant."""

    rods: list[Rod] | None = Field(
        default=None,
        min_length=1,
        max_length=6,
        description="Straight rods, for a plan without a construct. Left out: rods, heads and connectors as planned "
        "(plan.revisions[].fixation).",
    )
    rod_modulus_gpa: float | None = Field(
        default=None,
        ge=10.0,
        le=250.0,
        description="Young's modulus of the planned rods (GPa); given when `rods` is left out.",
    )
    screw_modulus_gpa: float = Field(description="Young's modulus of the screws (GPa).", ge=10.0, le=250.0)
    stand_off_mm: float | None = Field(
        default=None,
        ge=0.0,
        le=40.0,
        description="Distance of a straight rod's axis from the bone or implant at the screw's entry (mm); given with "
        "`rods`.",
    )
    bone_bed_n_per_mm2: float = Field(
        description="Stiffness of the bone about a screw, N/mm per mm of its length, equal along and across: of "
        "the order of the bone's modulus in MPa.",
        gt=0.0,
        le=1e5,
    )
    vertebra_bed_n_per_mm3: float = Field(
        description="Stiffness of what lies between the vertebra and the load face, N/mm per mm2 of face. Used "
        "when a screw sits in the vertebra.",
        gt=0.0,
        le=1e5,
    )

    @model_validator(mode="after")
    def _each_screw_once(self) -> Self:
        straight = self.rods is not None
        if (self.stand_off_mm is not None) != straight or (self.rod_modulus_gpa is None) != straight:
            raise ValueError("give rods and stand_off_mm, or rod_modulus_gpa alone for the planned construct")
        if self.rods is None:
            return self
        names = [screw.name for rod in self.rods for screw in rod.screws]
        names += [rod.name for rod in self.rods]
        if len(set(names)) != len(names):
            raise ValueError("every rod and every screw needs a name of its own, and a screw holds one rod")
        return self


class Sizing(Section):
    """Search for the radius of the dense strut, on a coarser grid."""

    strut_radii_mm: list[float] = Field(
        description="Radii of the dense strut to try (mm), increasing.", min_length=2, max_length=8
    )
    voxel_mm: float = Field(description="Edge of a voxel in this search (mm).", ge=0.5, le=6.0)

    @model_validator(mode="after")
    def _increasing(self) -> Self:
        radii = self.strut_radii_mm
        if radii[0] <= 0 or any(b <= a for a, b in itertools.pairwise(radii)):
            raise ValueError("strut_radii_mm must be positive and increase")
        return self


class CellConfig(Section):
    """What the homogenised lattice cell depends on, besides the lattice."""

    metal: Metal = Field(description="Elastic constants of the solid metal.")
    cell_voxels: int = Field(
        description="Finite elements along the edge of the lattice cell at the finest of three levels (count).",
        ge=32,
        le=128,
        multiple_of=32,
    )
    strut_stress_quantile: float = Field(
        description="Share of a cell's metal whose stress stays below the strut stress that is judged "
        "(fraction). The sharp corners where struts meet have no finite largest stress, so 1 would measure the "
        "voxel.",
        ge=0.9,
        le=0.9999,
    )


class StrengthConfig(CellConfig):
    """Finite-element check of lattice cell and implant. Loads, supports and limits have no defaults."""

    body_weight_n: float = Field(
        description="The patient's weight (N): mass in kg times 9.81.", ge=100.0, le=2500.0
    )
    fatigue_dense: Fatigue = Field(description="Fatigue strength of the dense parts.")
    fatigue_strut: Fatigue = Field(description="Fatigue strength of the metal in the lattice's struts.")
    load_face: Name = Field(description="Contact face that takes the load, e.g. l5s1.")
    load_share: float = Field(
        description="Share of the joint's force that comes to the implant and its rods (fraction); 1 leaves "
        "nothing to the remaining half of the end plate. What the rods take of it follows from `fixation`.",
        gt=0.0,
        le=1.0,
    )
    load_cases: list[LoadCase] = Field(description="Load cases.", min_length=1, max_length=12)
    supports: list[Support] = Field(description="Faces that bone holds.", min_length=1, max_length=8)
    fixation: Fixation | None = Field(
        default=None,
        description="Rods and screws in the load path. Left out, they carry nothing, and the implant all.",
    )
    voxel_mm: float = Field(
        description="Edge of a finite element of the implant (mm). Half the lattice's cell makes the density "
        "averages exact.",
        ge=0.5,
        le=6.0,
    )
    check_voxel_mm: float = Field(
        description="Edge of an element (mm) in the second, independent solution; coarse, since it is direct.",
        ge=2.0,
        le=12.0,
    )
    exclude_elements: int = Field(
        description="Layers of elements beside loaded and supported faces that are not judged (count): stress "
        "there depends on how the face is modelled.",
        ge=0,
        le=5,
    )
    sizing: Sizing = Field(description="Search for the dense strut's radius, reported and not applied.")
    calculix: bool = Field(
        default=False,
        description="Also solve the load cases by CalculiX (Debian package calculix-ccx), if it is installed, "
        "and stop when reactions or displacements differ by more than 0.5 %.",
    )
    safety_factor_min: float = Field(
        description="Least fatigue strength divided by stress that the final check accepts.", ge=1.0, le=10.0
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        names = [case.name for case in self.load_cases]
        if len(set(names)) != len(names):
            problems.append("two load cases have the same name")
        faces = [support.face for support in self.supports]
        if len(set(faces)) != len(faces):
            problems.append("two supports name the same face")
        if self.load_face in faces:
            problems.append(f"'{self.load_face}' is loaded and supported at once")
        if self.fatigue_strut.surface == "machined":
            problems.append(
                "no tool reaches the struts of a lattice: fatigue_strut.surface cannot be machined"
            )
        if self.check_voxel_mm < self.voxel_mm:
            problems.append("check_voxel_mm is finer than voxel_mm")
        if problems:
            raise ValueError("; ".join(problems))
        return self
