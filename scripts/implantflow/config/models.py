"""The whole config of a case, composed from its sections; the one definition behind schema and docs."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Problems, Section
from implantflow.config.build import BuildConfig
from implantflow.config.clinical import unverified_figures, version_problems
from implantflow.config.followup import FollowupConfig
from implantflow.config.implant import ImplantConfig
from implantflow.config.ingest import IngestConfig
from implantflow.config.inspect import InspectConfig, InspectRevision
from implantflow.config.iterations import iteration_problems, timepoint_problems
from implantflow.config.lattice import LatticeConfig
from implantflow.config.plan import PlanConfig
from implantflow.config.prototype import PrototypeConfig
from implantflow.config.release import ReleaseConfig
from implantflow.config.review import ReviewConfig
from implantflow.config.segment import SegmentConfig
from implantflow.config.simulated import SimulatedConfig
from implantflow.config.simulated_followup import SimulatedFollowupConfig
from implantflow.config.simulated_print import SimulatedPrintConfig
from implantflow.config.site import Purpose
from implantflow.config.strength import StrengthConfig
from implantflow.config.tumour import TumourConfig

#: Sections that a case may end before, in its order; what stands together in one entry comes together.
LATER: tuple[tuple[str, ...], ...] = (
    ("tumour",),
    ("plan",),
    ("prototype",),
    ("implant", "strength", "lattice", "build"),
    ("inspect",),
    ("release",),
)
#: The entry of ``LATER`` with implant, strength, lattice and build.
DESIGN = 3


class CaseConfig(Section):
    """One patient's case: what is read, cut, replaced, printed, and under which limits.

    A case grows with its config: it ends where its sections end, and none may be left out in between.
    """

    when_missing: ClassVar[str] = (
        "check the name in --config cases=NAME; `python -m implantflow new-case` writes a new one"
    )

    case: Name = Field(
        description="Neutral name of the case (never the patient's); the folder below results/."
    )
    purpose: Purpose = Field(
        description="demo and research carry NOT FOR CLINICAL USE on every page, label and build header; "
        "clinical needs real signatures and software_version, and refuses auto reviews, the atlas, and whatever "
        "says verified: false."
    )
    software_version: str | None = Field(
        default=None,
        pattern=r"^\d+\.\d+\.\d+$",
        description="Released version of implantflow that was validated for this case, e.g. 0.1.0. A clinical case "
        "must give it, and no other version goes on with the case.",
    )
    side: Literal["left", "right"] = Field(
        description="Operated side, the patient's. Config, tumour, specimen and embossed letter must agree."
    )
    tags: list[Name] = Field(
        default_factory=list,
        max_length=20,
        description="Words to choose cases by, as in `snakemake cohort --config tag=atlas`; nothing about the patient.",
    )
    simulated: SimulatedConfig | None = Field(
        default=None,
        description="Only for the project's own phantom patients: how the scans are simulated. "
        "Leave it out for scans of a person.",
    )
    simulated_print: SimulatedPrintConfig | None = Field(
        default=None,
        description="How the prints and their scans are simulated, where no machine has printed the implant. "
        "Leave it out for real prints.",
    )
    simulated_followup: SimulatedFollowupConfig | None = Field(
        default=None,
        description="How the CT scans after the operation are simulated. Leave it out for scans of a person.",
    )
    ingest: IngestConfig = Field(description="The image series of the case.")
    segment: SegmentConfig = Field(description="Bones from the planning CT.")
    tumour: TumourConfig | None = Field(
        default=None, description="Tumour extent over time. A case may end before this section or any below."
    )
    plan: PlanConfig | None = Field(default=None, description="Resection plans, one per revision.")
    prototype: PrototypeConfig | None = Field(
        default=None, description="Rapid-prototype iterations and their corrections."
    )
    implant: ImplantConfig | None = Field(
        default=None,
        description="Final implant: clearances, holes, passages, dense strut. Comes with strength, lattice and build.",
    )
    strength: StrengthConfig | None = Field(
        default=None, description="Material, loads and limits of the strength check."
    )
    lattice: LatticeConfig | None = Field(default=None, description="Porous architecture.")
    build: BuildConfig | None = Field(default=None, description="Machine, orientation and build revisions.")
    inspect: InspectConfig | None = Field(
        default=None, description="Scans of the printed parts, and when a print is accepted."
    )
    release: ReleaseConfig | None = Field(
        default=None, description="What goes to the theatre, of which build revision."
    )
    followup: FollowupConfig | None = Field(
        default=None, description="CT scans after the operation: migration, fusion of each face, ingrowth."
    )
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
        for timepoint in () if self.tumour is None else self.tumour.timepoints:
            if timepoint.series is not None and timepoint.series not in series:
                problems.append(
                    f"tumour.timepoints: '{timepoint.name}' names series '{timepoint.series}', "
                    "which is not among ingest.series"
                )
            elif timepoint.series is not None:
                stated = self.ingest.series[timepoint.series].acquired
                if None not in (stated, timepoint.acquired) and stated != timepoint.acquired:
                    problems.append(
                        f"tumour.timepoints: '{timepoint.name}' was acquired on {timepoint.acquired}, its series "
                        f"'{timepoint.series}' on {stated}: write one date, or leave one out"
                    )
        problems += self._gaps()
        if self.plan is not None and self.tumour is not None:
            problems += timepoint_problems(self.plan, self.tumour)
            if self.prototype is not None:
                problems += iteration_problems(self.prototype, self.plan, self.tumour)
        problems += self._source_problems() + self._later_problems() + self._rod_problems()
        if self.purpose == "clinical":
            problems += self._clinical_problems()
        if problems:
            raise Problems(problems)
        return self

    @property
    def followup_series(self) -> list[str]:
        """Names of the series of the follow-up, in the order of its time points."""
        return [] if self.followup is None else [t.series for t in self.followup.timepoints]

    @property
    def patient_is_simulated(self) -> bool:
        """True when the images before the operation are no person's, whoever made them."""
        return self.simulated is not None or self.ingest.made_images is not None

    @property
    def tumour_is_virtual(self) -> bool:
        """True when a tumour is put in by the config: no image shows it, whosever images they are."""
        return self.tumour is not None and any(t.method == "ellipsoid" for t in self.tumour.timepoints)

    @property
    def preoperative_series(self) -> list[str]:
        """Names of the series that the plan is made from."""
        later = set(self.followup_series)
        return [name for name in self.ingest.series if name not in later]

    def is_simulated(self, series: str) -> bool:
        """True when the scan of this name is made by the project itself."""
        if series in self.followup_series:
            return self.simulated_followup is not None
        return self.simulated is not None

    def _gaps(self) -> list[str]:
        """A case may end early, but what a section builds on must be there."""
        given = [n for n, group in enumerate(LATER) if any(getattr(self, name) is not None for name in group)]
        last = max(given, default=-1)
        who = " and ".join(name for name in LATER[last] if getattr(self, name) is not None)
        if self.followup is not None and last < DESIGN:
            last, who = DESIGN, "followup"
        wanted = [name for group in LATER[: last + 1] for name in group]
        return [
            f"{name}: section `{name}` is missing, and {who} builds on it"
            for name in wanted
            if getattr(self, name) is None
        ]

    def _source_problems(self) -> list[str]:
        """Scans come from DICOM files or from the simulator, never from both or neither."""
        found = []
        if self.simulated is not None and self.ingest.made_images is not None:
            found.append(
                "ingest.made_images is for images that come as files; `simulated` makes this case's own"
            )
        for name, entry in self.ingest.series.items():
            simulated = self.is_simulated(name)
            if (entry.dicom is None and entry.study is None) != simulated:
                found.append(
                    f"ingest.series.{name}.dicom must be "
                    + (
                        "left out: this scan is simulated"
                        if simulated
                        else "the folder of its DICOM files, or study the name of a study of an archive"
                    )
                )
        for revision, state, scan in [] if self.inspect is None else self.inspect.scans:
            given = scan.file or scan.dicom
            if (given is None) != (self.simulated_print is not None):
                found.append(
                    f"inspect.revisions.{revision}{'' if state == 'print' else f'.{state}'} must "
                    + (
                        "name no file or folder: the prints are simulated"
                        if self.simulated_print is not None
                        else "name the scan: file (surface) or dicom (ct)"
                    )
                )
        for inspected in () if self.inspect is None else self.inspect.revisions:
            found += self._machined_problems(inspected)
        return found

    def _machined_problems(self, revision: InspectRevision) -> list[str]:
        """A machined part has stock to lose, and in simulation a workshop that cuts it."""
        if revision.machined is None:
            return []
        key, simulated = f"inspect.revisions.{revision.id}.machined", self.simulated_print
        found = (
            []
            if self.implant and self.implant.machining
            else [f"{key} is given, but implant.machining is not"]
        )
        if simulated is not None and simulated.workshop is None:
            found.append(f"{key} needs simulated_print.workshop")
        return found

    def _rod_problems(self) -> list[str]:
        """The strength check takes the rods from the construct of the plan that is built on, where there is one."""
        if self.strength is None or self.prototype is None or self.plan is None:
            return []
        shared = self.strength.fixation
        approved = [i for i in self.prototype.iterations if i.id == self.prototype.approved]
        revision = [r for r in self.plan.revisions if approved and r.id == approved[0].plan]
        if shared is None or not revision:
            return []
        if revision[0].fixation is None and shared.rods is None:
            return [f"strength.fixation needs rods and stand_off_mm: plan {revision[0].id} has no fixation"]
        if revision[0].fixation is not None and shared.rods is not None:
            return [
                f"strength.fixation.rods must be left out, with stand_off_mm: plan {revision[0].id} has a construct, "
                "whose rods are taken (give rod_modulus_gpa)"
            ]
        return []

    def _later_problems(self) -> list[str]:
        """What the stages after the build name must exist."""
        found = []
        built = set() if self.build is None else {revision.id for revision in self.build.revisions}
        inspected = set() if self.inspect is None else {revision.id for revision in self.inspect.revisions}
        found += [
            f"inspect.revisions names '{name}', not among build.revisions"
            for name in sorted(inspected - built)
        ]
        if self.inspect is not None:
            prints = {scan.series for _, _, scan in self.inspect.scans if scan.series}
            found += [
                f"inspect.revisions and ingest.series both name a series '{name}'"
                for name in sorted(prints & set(self.ingest.series))
            ]
        if self.release is not None and self.release.revision not in inspected:
            found.append(
                f"release.revision is '{self.release.revision}', whose print is not among inspect.revisions"
            )
        found += [
            f"followup.timepoints names series '{name}', which is not among ingest.series"
            for name in self.followup_series
            if name not in self.ingest.series
        ]
        if self.ingest.planning_ct in self.followup_series:
            found.append("ingest.planning_ct is also a series of the follow-up")
        if self.simulated_followup is not None:
            made, wanted = set(self.simulated_followup.scans), set(self.followup_series)
            found += [f"simulated_followup.scans lacks '{name}'" for name in sorted(wanted - made)]
        return found

    def _clinical_problems(self) -> list[str]:
        problems = self.review.clinical_problems()
        if self.patient_is_simulated or self.simulated_print or self.simulated_followup:
            problems.append("purpose: a clinical case cannot be simulated, nor its print or its follow-up")
        if self.segment.prior.kind == "atlas":
            problems.append(
                "segment.prior.kind: a clinical case may not use the atlas (its own licence says not for clinical use)"
            )
        return problems + version_problems(self.software_version) + list(unverified_figures(self))
