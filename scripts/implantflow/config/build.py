"""Config of the build: machine, themes, orientation, revisions and the limits of its checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from implantflow.config.base import Name, Section
from implantflow.config.paths import Paths
from implantflow.config.presets import load_preset

#: Machines of the repository, one YAML each, with their sources.
MACHINE_FOLDER = Path(__file__).resolve().parents[3] / "config" / "machines"

Direction = tuple[float, float, float]
#: Beyond these a factor is no thermal shrinkage any more: titanium from 600 C shrinks by about 1 percent.
Factor = Annotated[float, Field(ge=0.97, le=1.05)]


class Theme(Section):
    """How the beam melts one kind of path."""

    current_ma: float = Field(description="Beam current (mA).", gt=0.0, le=100.0)
    speed_mm_s: float = Field(description="Speed of the spot (mm/s).", gt=0.0, le=20000.0)
    offset_mm: float = Field(
        description="Distance between neighbouring lines, or the width of a contour pass (mm).",
        gt=0.01,
        le=2.0,
    )
    spot_um: float = Field(
        description="Diameter of the spot, as the open build file asks for it (um).", gt=0.0, le=5000.0
    )
    source: str = Field(description="Where these figures come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")


class Preheat(Section):
    """Heating of the whole powder bed before each layer is melted."""

    passes: int = Field(description="Passes over the heated area per layer (count).", ge=0, le=100)
    current_ma: float = Field(description="Beam current (mA).", gt=0.0, le=100.0)
    speed_mm_s: float = Field(description="Speed of the spot (mm/s).", gt=0.0, le=100000.0)
    offset_mm: float = Field(description="Distance between neighbouring lines (mm).", gt=0.01, le=10.0)
    spot_um: float = Field(
        description="Diameter of the spot, as the open build file asks for it (um).", gt=0.0, le=20000.0
    )
    temperature_c: float = Field(
        description="Temperature the powder bed is held at (deg C).", ge=0.0, le=1200.0
    )
    margin_mm: float = Field(
        description="The heated rectangle reaches this far beyond the part's bounding box (mm).",
        ge=0.0,
        le=100.0,
    )
    source: str = Field(description="Where these figures come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")


class Machine(Section):
    """A machine preset: limits of the machine and the themes it is driven with."""

    name: str = Field(description="Name of the machine.", min_length=2)
    source: str = Field(description="Where the figures of the machine come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")
    envelope_mm: tuple[float, float, float] = Field(description="Build volume x, y, z (mm).")
    layer_mm: float = Field(description="Layer thickness (mm).", gt=0.0, le=0.5)
    unit_mm: float = Field(
        default=0.005,
        description="Unit of the build file's integers (mm); 65,535 of them must span the envelope.",
        ge=0.001,
        le=0.02,
    )
    voltage_kv: float = Field(
        description="Accelerating voltage (kV): power = voltage * current.", gt=0.0, le=200.0
    )
    rake_s: float = Field(
        description="Time to lower the table and spread the next layer (s).", ge=0.0, le=120.0
    )
    strut_growth_mm: float = Field(
        default=0.0,
        description="How much thicker than drawn this machine prints a strut, or a wall of a lattice of sheets (mm): "
        "the build draws them thinner by it, and says so. 0 draws what was designed.",
        ge=0.0,
        le=0.3,
    )
    energy_density_j_mm3: tuple[float, float] = Field(
        description="Window of P / (speed * offset * layer) that melts without boiling (J/mm3); a theme outside "
        "it is an error."
    )
    preheat: Preheat = Field(description="Heating before each layer.")
    contour: Theme = Field(description="Outlines of everything.")
    hatch: Theme = Field(description="Filling lines of dense metal.")
    net: Theme = Field(description="Filling lines of lattice struts.")
    support: Theme | None = Field(
        default=None,
        description="Walls of the supports; needed where build.supports asks for them.",
    )
    paths: Paths | None = Field(
        default=None,
        description="Contour passes inside the outline of dense metal and the filling within them; without it the beam "
        "runs along the outline itself.",
    )

    @field_validator("envelope_mm")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0:
            raise ValueError("every side of the envelope must be positive")
        return value

    @model_validator(mode="after")
    def _representable(self) -> Machine:
        if max(self.envelope_mm) > 65535 * self.unit_mm:
            raise ValueError(f"65,535 units of {self.unit_mm} mm do not span the envelope {self.envelope_mm}")
        whole = self.layer_mm / self.unit_mm
        if abs(whole - round(whole)) > 1e-9:
            raise ValueError(f"layer_mm {self.layer_mm} is no whole number of units of {self.unit_mm} mm")
        low, high = self.energy_density_j_mm3
        if not 0 < low < high:
            raise ValueError("energy_density_j_mm3 must be (low, high) with 0 < low < high")
        return self

    @model_validator(mode="after")
    def _touching(self) -> Machine:
        if self.paths is None:
            return self
        width = self.paths.melt_width_mm
        for name, pitch in (
            ("paths.contour_pitch_mm", self.paths.contour_pitch_mm),
            ("hatch.offset_mm", self.hatch.offset_mm),
            ("net.offset_mm", self.net.offset_mm),
        ):
            if pitch > width:
                raise ValueError(
                    f"{name} {pitch:g} is more than paths.melt_width_mm {width:g}: powder would stay between the lines"
                )
        return self


class Orientation(Section):
    """How the implant stands in the machine."""

    up_lps: Direction = Field(
        description="Patient direction that points up (build +z), patient LPS: (0, 0, 1) stands the implant "
        "with its cranial end up, (0, 1, 0) lays it with the posterior side up."
    )
    right_lps: Direction = Field(
        description="Patient direction that points to build +x, patient LPS; made square to up_lps."
    )
    support_gap_mm: float = Field(
        description="Height of the part's lowest point over the start plate (mm), room for supports; 0 puts it "
        "on the plate. Rounded to whole layers.",
        ge=0.0,
        le=20.0,
    )
    overhang_deg: float = Field(
        default=45.0,
        description="Surface that leans more than this from the vertical, face down, is reported as in need of "
        "supports (deg); build.supports draws them.",
        gt=0.0,
        lt=90.0,
    )
    search_directions: int = Field(
        default=200,
        description="Other orientations that are reported beside the chosen one: height, time, surface that needs "
        "supports (count); 0 for none. The search changes nothing.",
        ge=0,
        le=2000,
    )

    @model_validator(mode="after")
    def _independent(self) -> Orientation:
        import numpy as np

        up, right = np.array(self.up_lps), np.array(self.right_lps)
        if np.linalg.norm(np.cross(up, right)) < 0.1 * np.linalg.norm(up) * np.linalg.norm(right) + 1e-9:
            raise ValueError("up_lps and right_lps must be two different directions")
        return self


class BuildLimits(Section):
    """Limits of the checks that re-read the build file; a figure outside fails the build."""

    volume_error_pct: float = Field(
        description="Volume of the file's contours against the field's (percent); the contract asks for 1.",
        gt=0.0,
        le=1.0,
    )
    loop_area_min_mm2: float = Field(
        default=0.01,
        description="Loops smaller than this are left out of the file (mm2): less than the melt pool's own area.",
        ge=0.0,
        le=0.1,
    )
    island_join_max_mm: float = Field(
        description="An island of lattice that starts on powder must join the part within this height (mm). "
        "A strut of the diamond trimmed by the skin reaches its node within half a cell, its neighbour within one.",
        gt=0.0,
        le=10.0,
    )
    island_area_max_mm2: float = Field(
        description="Greatest area of the first layer of an island of lattice that starts on powder (mm2).",
        gt=0.0,
        le=50.0,
    )
    crumb_max_mm3: float = Field(
        description="Bits of lattice that the skin cuts off on all sides are left out of the build up to this "
        "volume (mm3); a larger loose piece is an error.",
        ge=0.0,
        le=20.0,
    )


class Revision(Section):
    """One revision of the build; what it changes against its parent is in its own keys."""

    id: Name = Field(description="Name of the revision, part of the path of its files.")
    parent: Name | None = Field(
        default=None, description="The revision this one follows; none for the first."
    )
    date: str | None = Field(
        default=None,
        description="Date written to the build file's header (ddmmyy); left out of the header when absent.",
        pattern=r"^(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])\d\d$",
    )
    scale_xyz: tuple[Factor, Factor, Factor] = Field(
        default=(1.0, 1.0, 1.0),
        description="Factors by which the part is drawn larger along the build's x, y and z so that it is right when "
        "it has cooled: 1 / (1 - shrinkage), as the inspection of the revision before proposes it. They apply to the "
        "outer solid and the dense region, about the middle of the part's footprint at its lowest height; the lattice "
        "keeps its cell, a whole number of layers. [1, 1, 1] draws the part at its nominal size.",
    )
    note: str = Field(default="", description="Why this revision was made.", max_length=500)


class Supports(Section):
    """Supports that are drawn under dense surface which leans more than orientation.overhang_deg and faces down."""

    pitch_mm: float = Field(
        description="Distance of neighbouring walls, which run along x and along y (mm); every patch of surface has at "
        "least one each way. Rounded to half millimetres.",
        ge=0.5,
        le=10.0,
    )
    tooth_pitch_mm: float = Field(
        description="Distance of the teeth along a wall (mm). Rounded to half millimetres.", ge=0.5, le=10.0
    )
    tooth_height_mm: float = Field(
        description="Walls end this far from the part; only the teeth go on (mm).", ge=0.0, le=5.0
    )
    overlap_mm: float = Field(
        description="The teeth are drawn this far into the part, so that they hold it (mm).", ge=0.0, le=0.5
    )
    source: str = Field(description="Where these figures come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")


class StartPlate(Section):
    """The plate that the build starts on, in the middle of the machine."""

    size_mm: tuple[float, float] = Field(
        description="Width along x and y (mm). Everything drawn must stand over it."
    )
    thickness_mm: float = Field(description="Thickness (mm), for the record.", gt=0.0, le=50.0)
    source: str = Field(description="Where these figures come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")


class Coupon(Section):
    """A block of the part's lattice that is built beside it, for tests of this very build."""

    cells: int = Field(description="Cells along its edge (count); it is half as high again.", ge=2, le=12)
    gap_mm: float = Field(
        description="Distance from the part's box along x (mm), rounded up to whole cells of the lattice.",
        ge=2.0,
        le=50.0,
    )


class BuildSettings(Section):
    """What every revision of the build shares."""

    machine: Machine = Field(
        description="Name of a preset in config/machines (without .yaml), or the machine written out."
    )
    orientation: Orientation = Field(description="How the implant stands in the machine.")
    limits: BuildLimits = Field(description="Limits of the checks.")
    supports: Supports | None = Field(
        default=None, description="Supports drawn in the build file; none are drawn without it."
    )
    start_plate: StartPlate | None = Field(
        default=None, description="The plate that the build starts on; not checked without it."
    )
    coupon: Coupon | None = Field(
        default=None, description="Test block of the lattice beside the part; none is built without it."
    )

    @model_validator(mode="after")
    def _drivable(self) -> BuildSettings:
        if self.supports is not None and self.machine.support is None:
            raise ValueError(
                f"the machine {self.machine.name!r} has no theme 'support' to melt build.supports with"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _load_machine(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("machine"), str):
            return {**data, "machine": load_preset(MACHINE_FOLDER, data["machine"], "machine")}
        return data


class BuildConfig(BuildSettings):
    """The build of the part."""

    revisions: tuple[Revision, ...] = Field(description="Build revisions, oldest first.", min_length=1)

    @model_validator(mode="after")
    def _lineage(self) -> BuildConfig:
        known: list[str] = []
        for revision in self.revisions:
            if revision.id in known:
                raise ValueError(f"two build revisions are called {revision.id!r}")
            if revision.parent is not None and revision.parent not in known:
                raise ValueError(
                    f"build revision {revision.id!r} names the parent {revision.parent!r}, which is no earlier one"
                )
            known.append(revision.id)
        return self


def load_machine(name: str) -> Machine:
    """The machine preset ``name`` of config/machines; ValueError when there is none or it is not sound."""
    return Machine.model_validate(load_preset(MACHINE_FOLDER, name, "machine"))
