"""Rods, connectors and cables of a plan: the part ``fixation`` of a plan revision.

Every size that metal has or bone must keep comes from here, with its source; none has a default.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Checkable, Name, Section

LumbarLevel = Literal["L3", "L4", "L5"]


class HeadConfig(Checkable):
    """Heads (tulips) of the screws, which turn about the shank's upper end."""

    diameter_mm: float = Field(ge=6.0, le=20.0, description="Diameter of the head, mm.")
    height_mm: float = Field(ge=6.0, le=30.0, description="Height of the head above the shank, mm.")
    saddle_mm: float = Field(
        ge=3.0, le=25.0, description="Height of the rod's axis above the shank's upper end, mm."
    )
    tilt_max_deg: float = Field(
        ge=0.0, le=60.0, description="How far the head tilts against the shank, degrees; 0 for a rigid screw."
    )
    slot_tilt_max_deg: float = Field(
        ge=0.0,
        le=20.0,
        description="How far a rod may be from square to the head's axis in its slot, degrees.",
    )
    proud_max_mm: float = Field(
        ge=0.0,
        le=25.0,
        description="How far a head may stand above the entry to be free of bone, mm; the screw is longer by as much.",
    )

    recess_max_mm: float = Field(
        ge=0.0,
        le=10.0,
        description="How deep a head may be sunk into the bone of its own screw, which the surgeon takes away for it, "
        "mm; 0 when none may be taken. Never into the implant.",
    )

    @model_validator(mode="after")
    def _saddle_in_head(self) -> Self:
        if self.saddle_mm >= self.height_mm:
            raise ValueError("saddle_mm lies above the head: it must be below height_mm")
        return self


class RodConfig(Section):
    """A rod through the heads of some screws."""

    name: Name = Field(description="Name of the rod, e.g. left.")
    screws: list[Name] = Field(
        min_length=1, description="Screws (names of corridors) it runs through, from above down."
    )
    beside: Name | None = Field(
        default=None,
        description="A rod, listed before, that a domino connector joins this one to above its first screw. Left out: "
        "the rod stands alone and has two screws or more.",
    )


class RodSet(Checkable):
    """The rods."""

    diameter_mm: float = Field(ge=3.0, le=8.0, description="Diameter of the rods, mm.")
    bend_radius_min_mm: float = Field(
        ge=5.0, le=300.0, description="Smallest radius that the rod may be bent to, mm, from its maker."
    )
    overhang_mm: float = Field(ge=1.0, le=20.0, description="Rod beyond its last head at either end, mm.")
    bone_clearance_mm: float = Field(
        ge=0.0, le=10.0, description="Least room between rods or connectors and bone or implant, mm."
    )
    rods: list[RodConfig] = Field(min_length=1, max_length=6, description="The rods.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known: set[str] = set()
        for rod in self.rods:
            if rod.name in known:
                raise ValueError(f"two rods are called {rod.name}")
            if rod.beside is not None and rod.beside not in known:
                raise ValueError(f"rod {rod.name} runs beside {rod.beside}, which is not listed before it")
            if rod.beside is None and len(rod.screws) < 2:
                raise ValueError(f"rod {rod.name} has one screw: it needs beside")
            known.add(rod.name)
        names = [name for rod in self.rods for name in rod.screws]
        if len(set(names)) != len(names):
            raise ValueError("a screw holds one rod")
        return self


class ConnectorSet(Checkable):
    """Domino connectors: a block with two parallel bores."""

    spacing_mm: float = Field(ge=6.0, le=25.0, description="Distance between the axes of its two bores, mm.")
    length_mm: float = Field(ge=5.0, le=40.0, description="Length along the rods, mm.")
    wall_mm: float = Field(ge=0.5, le=6.0, description="Metal around the bores, mm.")


class CableConfig(Checkable):
    """A cable around the sacroiliac joint: through a sacral foramen of the implant and a hole in the ilium."""

    name: Name = Field(description="Name of the cable, e.g. cable_s2.")
    foramen: Literal["S1", "S2", "S3"] = Field(
        description="Foramen of the operated side that it passes through."
    )
    lateral_mm: float = Field(
        gt=5.0, le=60.0, description="How far lateral to the joint's plane the hole in the ilium lies, mm."
    )
    diameter_mm: float = Field(gt=0.5, le=4.0, description="Diameter of the cable, mm.")
    bend_radius_min_mm: float = Field(
        ge=2.0, le=60.0, description="Least radius of every bend, mm, from the cable's maker."
    )
    hole_diameter_mm: float = Field(gt=0.5, le=8.0, description="Diameter of the hole in the ilium, mm.")
    hole_wall_mm: float = Field(ge=0.5, le=20.0, description="Least bone beside that hole, mm.")

    @model_validator(mode="after")
    def _fits_hole(self) -> Self:
        if self.hole_diameter_mm < self.diameter_mm:
            raise ValueError("hole_diameter_mm is narrower than the cable")
        return self


class RootRoom(Checkable):
    """Room for the nerve roots that stay."""

    clearance_mm: float = Field(
        ge=0.0,
        le=20.0,
        description="Least distance of any metal from the middle of the anterior opening of a foramen whose root "
        "stays, mm.",
    )


class ConstructConfig(Section):
    """What joins the screws. Sizes are those of the set that will be used: there is no default."""

    levels: list[LumbarLevel] = Field(
        description="Vertebrae that the construct is meant to hold, e.g. [L3, L4, L5]; may be empty."
    )
    missing_levels: Literal["refuse", "leave_out"] = Field(
        description="When the scan does not hold such a vertebra whole: refuse the plan, or leave its screws out and "
        "say so."
    )
    head: HeadConfig = Field(description="Heads of the screws.")
    rod: RodSet = Field(description="Rods.")
    connector: ConnectorSet | None = Field(
        default=None, description="Domino connectors; needed when a rod has `beside`."
    )
    cables: list[CableConfig] = Field(default_factory=list, description="Cables; may be empty.")
    roots: RootRoom = Field(description="Room for nerve roots.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.connector is None and any(rod.beside is not None for rod in self.rod.rods):
            raise ValueError("a rod with beside needs connector")
        if len({cable.name for cable in self.cables}) != len(self.cables):
            raise ValueError("two cables have the same name")
        return self

    def without(self, left_out: set[str]) -> ConstructConfig:
        """The same without some screws, and without rods that nothing is left of.

        Raises
        ------
        ValueError
            A rod would hang on one screw, or beside a rod that is gone.
        """
        rods = [
            rod.model_copy(update={"screws": [name for name in rod.screws if name not in left_out]})
            for rod in self.rod.rods
        ]
        kept = [RodConfig.model_validate(rod.model_dump()) for rod in rods if rod.screws]
        data = self.model_dump()
        data["rod"]["rods"] = [rod.model_dump() for rod in kept]
        return ConstructConfig.model_validate(data)
