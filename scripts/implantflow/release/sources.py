"""What the release is made from: the records of the earlier stages, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.base import Section
from implantflow.config.release import ReleaseConfig
from implantflow.config.site import ImagingLimits, Purpose
from implantflow.errors import InputError
from implantflow.jobs import Job
from implantflow.review.gate import GateRecord, read_gate

#: Inputs that are one JSON record each.
RECORDS = (
    "ingest",
    "manifest",
    "tumour",
    "plan",
    "prototype",
    "implant_json",
    "regions",
    "lattice",
    "field",
    "strength",
)


#: Nobody may take the date of release for the day on which the package was made: no job knows that day.
DATE_SOURCE = "date stated by the case config"


class Simulated(Section):
    """What of the case no person has and no machine made; ``tumour`` is one put into the CT by the config."""

    patient: bool
    tumour: bool
    print: bool

    @property
    def text(self) -> str:
        """What pages and label say; empty for a real patient's own tumour and real print."""
        names = [name for name, simulated in (("patient", self.patient), ("print", self.print)) if simulated]
        # First: an invented tumour in a real person's images is what misleads most.
        said = ["virtual tumour"] if self.tumour else []
        return ", ".join([*said, *([f"simulated {' and '.join(names)}"] if names else [])])


class ReleaseSettings(Section):
    """The settings of the job ``release_case``."""

    case: str
    purpose: Purpose
    side: str
    release: ReleaseConfig
    simulated: Simulated
    imaging_max_age: ImagingLimits


@dataclass(frozen=True)
class Sources:
    """The inputs of the job: paths as given, records as read.

    Attributes
    ----------
    records : name of :data:`RECORDS` -> JSON
    builds, deviations, gates : id of the revision (gates: path within the case) -> record
    config : the resolved case config that stands beside the results
    """

    job: Job
    settings: ReleaseSettings
    records: dict[str, Any]
    builds: dict[str, dict[str, Any]]
    deviations: dict[str, dict[str, Any]]
    gates: dict[str, GateRecord]
    config: dict[str, Any]

    @property
    def revision(self) -> str:
        """Id of the revision that is released."""
        return self.settings.release.revision

    @property
    def build(self) -> dict[str, Any]:
        """``build.json`` of the released revision."""
        return self.builds[self.revision]

    @cached_property
    def checks(self) -> dict[str, Any]:
        """``checks.json`` of the released revision."""
        found: dict[str, Any] = read_json(self.job.input("checks"))
        return found

    @property
    def deviation(self) -> dict[str, Any]:
        """``deviation.json`` of the released revision."""
        return self.deviations[self.revision]

    @cached_property
    def machined(self) -> dict[str, Any] | None:
        """``machined.json`` of the released revision; None where the machined part was not scanned."""
        paths = self.job.input_list("machined")
        found: dict[str, Any] | None = read_json(paths[0]) if paths else None
        return found

    @property
    def gate(self) -> GateRecord:
        """The release gate of the released revision."""
        return self.gates[f"inspect/{self.revision}/gate.json"]

    @property
    def prototype_name(self) -> str:
        """What the prototype is called that the implant was made from: approved, but perhaps by nobody."""
        unsigned = any(gate.unsigned for gate in self.gates.values() if gate.gate == "review")
        return "approved prototype (unsigned)" if unsigned else "approved prototype"

    @cached_property
    def digests(self) -> dict[str, str]:
        """Path within the case -> sha256, of every input that lies in the case."""
        paths = [path for name in self.job.inputs for path in self.job.input_list(name)]
        case = self.job.case_dir.resolve()
        found = {}
        for path in dict.fromkeys(paths):
            if path.resolve().is_relative_to(case):
                found[path.resolve().relative_to(case).as_posix()] = sha256_file(path)
        return found

    def name(self, key: str) -> str:
        """Path of input ``key`` within the case."""
        return _name(self.job, self.job.input(key))

    def sha256(self, key: str) -> str:
        """Digest of input ``key``."""
        return self.digests[self.name(key)]


def read_sources(job: Job) -> Sources:
    """Read all records.

    Raises
    ------
    InputError
        The released revision is not among those that were built and inspected.
    """
    settings = ReleaseSettings.model_validate(dict(job.settings))
    builds = {record["id"]: record for record in map(read_json, job.input_list("builds"))}
    deviations = {record["id"]: record for record in map(read_json, job.input_list("deviations"))}
    gates = {_name(job, path): read_gate(path) for path in job.input_list("gates")}
    revision = settings.release.revision
    for what, known in (("built", builds), ("inspected", deviations)):
        if revision not in known:
            raise InputError(
                f"revision {revision} was not {what}; there are {', '.join(sorted(known)) or 'none'}",
                where="release.revision",
                fix="name a revision whose print was inspected and accepted",
            )
    records = {name: read_json(job.input(name)) for name in RECORDS}
    config = _read_yaml(job.input("resolved"))
    return Sources(job, settings, records, builds, deviations, gates, config)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not readable as YAML: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise InputError("not a case config", where=str(path), fix="remove it and run the pipeline again")
    return found


def _name(job: Job, path: Path) -> str:
    return path.resolve().relative_to(job.case_dir.resolve()).as_posix()
