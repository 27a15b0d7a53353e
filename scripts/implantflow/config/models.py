"""The whole config of a case, composed from its sections; the one definition behind schema and docs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section
from implantflow.config.build import BuildConfig
from implantflow.config.implant import ImplantConfig
from implantflow.config.ingest import IngestConfig
from implantflow.config.lattice import LatticeConfig
from implantflow.config.plan import PlanConfig
from implantflow.config.prototype import PrototypeConfig
from implantflow.config.review import ReviewConfig
from implantflow.config.segment import SegmentConfig
from implantflow.config.simulated import SimulatedConfig
from implantflow.config.strength import StrengthConfig
from implantflow.config.tumour import TumourConfig


class CaseConfig(Section):
    """One patient's case: what is read, cut, replaced, printed, and under which limits."""

    case: Name = Field(
        description="Neutral name of the case (never the patient's); the folder below results/."
    )
    purpose: Literal["demo", "research", "clinical"] = Field(
        description="demo and research carry NOT FOR CLINICAL USE on every page, label and build header; "
        "clinical needs real signatures and refuses auto reviews and the atlas."
    )
    side: Literal["left", "right"] = Field(
        description="Operated side, the patient's. Config, tumour, specimen and embossed letter must agree."
    )
    simulated: SimulatedConfig | None = Field(
        default=None,
        description="Only for the project's own phantom patients: how the scans are simulated. "
        "Leave it out for scans of a person.",
    )
    ingest: IngestConfig = Field(description="The image series of the case.")
    segment: SegmentConfig = Field(description="Bones from the planning CT.")
    tumour: TumourConfig = Field(description="Tumour extent over time.")
    plan: PlanConfig = Field(description="Resection plans, one per revision.")
    prototype: PrototypeConfig = Field(description="Rapid-prototype iterations and their corrections.")
    implant: ImplantConfig = Field(description="Final implant: clearances, holes, passages, dense strut.")
    strength: StrengthConfig = Field(description="Material, loads and limits of the strength check.")
    lattice: LatticeConfig = Field(description="Porous architecture.")
    build: BuildConfig = Field(description="Machine, orientation and build revisions.")
    review: ReviewConfig = Field(description="How the gates are passed.")

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        problems = []
        series = set(self.ingest.series)
        planning = self.ingest.series.get(self.ingest.planning_ct)
        if planning is None:
            problems.append(f"ingest.planning_ct names '{self.ingest.planning_ct}', not among ingest.series")
        elif planning.modality != "CT":
            problems.append(f"ingest.planning_ct names a {planning.modality}: bone is read from CT")
        for timepoint in self.tumour.timepoints:
            if timepoint.series is not None and timepoint.series not in series:
                problems.append(
                    f"tumour timepoint '{timepoint.name}' names series '{timepoint.series}', "
                    "which is not among ingest.series"
                )
        plans = {revision.id for revision in self.plan.revisions}
        known: set[str] = set()
        for iteration in self.prototype.iterations:
            if iteration.plan not in plans:
                problems.append(f"prototype iteration '{iteration.id}' names plan '{iteration.plan}'")
            if iteration.parent is not None and iteration.parent not in known:
                problems.append(f"prototype iteration '{iteration.id}' names parent '{iteration.parent}'")
            known.add(iteration.id)
        if self.prototype.approved not in known:
            problems.append(f"prototype.approved names '{self.prototype.approved}'")
        for name, entry in self.ingest.series.items():
            if (entry.dicom is None) != (self.simulated is not None):
                problems.append(
                    f"ingest.series.{name}.dicom must be "
                    + ("left out in a simulated case" if self.simulated else "the folder of its DICOM files")
                )
        if self.purpose == "clinical":
            problems += self._clinical_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _clinical_problems(self) -> list[str]:
        problems = self.review.clinical_problems()
        if self.simulated is not None:
            problems.append("a clinical case cannot be simulated")
        if self.segment.prior.kind == "atlas":
            problems.append(
                "a clinical case may not use the atlas (its own licence says not for clinical use)"
            )
        return problems
