"""The section ``prototype``: rapid-prototype iterations and the corrections between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from implantflow.config.base import Name, Point, Section
from implantflow.config.corrections import PLAN_KINDS, Correction, PlanCorrection
from implantflow.config.presets import load_preset

PRINTERS = Path(__file__).resolve().parents[3] / "config" / "printers"


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
        seen_other = False
        for correction in self.corrections:
            if isinstance(correction, PLAN_KINDS) and seen_other:
                raise ValueError(
                    f"{correction.kind} builds on another plan: it comes before all other corrections"
                )
            seen_other = seen_other or not isinstance(correction, PLAN_KINDS)
        if len({c.kind for c in self.plan_corrections}) != len(self.plan_corrections):
            raise ValueError("one correction of a kind that changes the plan is enough")
        return self

    @property
    def plan_corrections(self) -> list[PlanCorrection]:
        """Those that build on another plan than the parent."""
        return [c for c in self.corrections if isinstance(c, PLAN_KINDS)]

    @property
    def shape_corrections(self) -> list[Correction]:
        """Those that change the shape on its plan, in order."""
        return [c for c in self.corrections if not isinstance(c, PLAN_KINDS)]


class Printer(Section):
    """A printer for plastic models (config/printers/NAME.yaml), and how it prints them."""

    name: str = Field(min_length=1, description="Name of the machine.")
    source: str = Field(min_length=1, description="Where the figures come from.")
    verified: bool = Field(description="Whether somebody checked them on the machine.")
    bed_mm: Point = Field(description="Usable build space (mm): width, depth, height.")
    margin_mm: float = Field(ge=0.0, le=20.0, description="Room (mm) kept free along the bed's border.")
    nozzle_mm: float = Field(gt=0.1, le=2.0, description="Nozzle diameter, mm.")
    layer_mm: float = Field(gt=0.02, le=1.0, description="Layer height, mm.")
    perimeters: int = Field(ge=1, le=10, description="Outlines per layer.")
    infill_pct: float = Field(ge=0.0, le=100.0, description="Infill, per cent.")
    filament_mm: float = Field(gt=1.0, le=3.5, description="Filament diameter, mm.")
    filament_density_g_cm3: float = Field(gt=0.5, le=3.0, description="Density of the filament, g/cm3.")
    nozzle_c: int = Field(ge=150, le=350, description="Nozzle temperature, degrees Celsius.")
    bed_c: int = Field(ge=0, le=150, description="Bed temperature, degrees Celsius.")
    peg_mm: float = Field(gt=2.0, le=20.0, description="Diameter (mm) of the pegs that join a split model.")
    peg_play_mm: float = Field(
        ge=0.0, le=1.0, description="How much wider (mm, on the diameter) the peg's hole is."
    )


def load_printer(name: str) -> Printer:
    """Read a preset; ValueError when there is none of that name or it is not valid."""
    return Printer.model_validate(load_preset(PRINTERS, name, "printer"))


def _known_printer(name: str) -> str:
    load_printer(name)
    return name


class PrototypeConfig(Section):
    """Rapid-prototype iterations, oldest first."""

    iterations: list[Iteration] = Field(
        min_length=1, description="Iterations; a parent comes before its child."
    )
    printer: Annotated[str, AfterValidator(_known_printer)] | None = Field(
        default=None,
        description="Printer preset (config/printers) that the models are laid out and sliced for. Left out: "
        "models and review sheet are made, nothing is laid out for a printer.",
    )
    approved: Name = Field(description="Iteration that goes on to the implant once its review gate is open.")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [iteration.id for iteration in self.iterations]
        if len(set(ids)) != len(ids):
            raise ValueError("two prototype iterations have the same id")
        return self
