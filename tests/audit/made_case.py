"""The small case behind the fixtures of conftest.py: its road, and what a user can do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from implantflow import artifacts, codedigest, jobs
from implantflow.audit.stage import audit_case
from implantflow.config.site import SiteConfig
from implantflow.errors import ImplantflowError
from implantflow.jobs import Job
from implantflow.review import command, gate

CASE = "demo"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

#: rule, wildcards, function, inputs, outputs: the road of a case in miniature, all paths as in the contract.
ROAD: list[tuple[str, dict[str, str], str, list[str], list[str]]] = [
    ("segment_bones", {}, "segment.stage:segment_bones", [], [
        "segment/labels.nii.gz", "segment/segment.json", "segment/sacrum.stl", "segment/hip_left.stl",
        "segment/hip_right.stl", "segment/l5.stl"]),
    ("gate_labels", {}, "review.gate:check_gate", ["labels"], ["segment/gate.json"]),
    ("plan_resection", {"revision": "p1"}, "plan.stage:plan_resection",
     ["segment/sacrum.stl", "segment/gate.json"], ["plan/p1/plan.json"]),
    ("make_prototype", {"iteration": "rp1"}, "prototype.stage:make_prototype", ["plan/p1/plan.json"], [
        f"prototype/rp1/{n}" for n in ("implant.stl", "bone.stl", "model.3mf", "prototype.json", "sheet.html")]),
    ("gate_review", {"iteration": "rp1"}, "review.gate:check_gate", ["rp1"], ["prototype/rp1/gate.json"]),
    ("design_implant", {}, "implant.stage:design_implant",
     ["prototype/rp1/implant.stl", "prototype/rp1/gate.json"],
     ["implant/implant.stl", "implant/regions.json", "implant/implant.json"]),
    ("make_lattice", {}, "lattice.stage:make_lattice", ["implant/implant.stl"], [
        "lattice/field.json", "lattice/field.npz", "lattice/lattice.json", "strength/final/strength.json"]),
    ("gate_design", {}, "review.gate:check_gate", ["design"], ["design/gate.json"]),
    ("build_part", {"revision": "r1"}, "build.stage:build_part",
     ["lattice/field.npz", "design/gate.json"], ["build/r1/build.cli", "build/r1/checks.json"]),
    ("audit_case", {}, "audit.stage:audit_case", ["build/r1/checks.json"], [
        "audit/verify.json", "audit/trace.html", "audit/ro-crate-metadata.json", "audit/Snakefile"]),
    ("report_case", {}, "report.stage:report_case", ["audit/verify.json"], ["report/case.json"]),
]  # fmt: skip


class Made:
    """The case under test and what a user can do with it."""

    def __init__(self, root: Path, site: SiteConfig, keys: Mapping[str, Path]) -> None:
        self.root = root
        self.folder = Path("results") / CASE
        self.site = site
        self.keys = keys
        self.policy = "auto"
        self.purpose = "demo"
        self.version = "1"

    def run(self, *rules: str) -> None:
        """Run the named rules (default: all), in the order of the road."""
        for rule, wildcards, function, inputs, outputs in ROAD:
            if not rules or rule in rules:
                self.job(rule, wildcards, function, inputs, outputs)

    def attempt(self, rule: str) -> ImplantflowError:
        """Run a rule that must be refused; return the refusal."""
        with pytest.raises(ImplantflowError) as refusal:
            self.run(rule)
        return refusal.value

    def sign(self, item: str, who: str, decision: str = "approve", **more: Any) -> Path:
        return command.sign(
            CASE, item, decision, more.pop("reason", "looked at it"), self.keys[who],  # type: ignore[arg-type]
            site=self.site, now=more.pop("now", NOW), **more,
        )  # fmt: skip

    def job(
        self, rule: str, wildcards: dict[str, str], function: str, inputs: list[str], outputs: list[str]
    ) -> None:
        """Run one job, on the road or off it."""
        named: dict[str, Any] = {f"in{i}": self.folder / name for i, name in enumerate(inputs)}
        stage: Callable[[Job], None] = self._write
        if function.startswith("review"):
            item = inputs[0]
            named = {
                "subjects": [self.folder / p for p in command.subjects_of(item, "rp1")],
                "review": sorted(Path(f"config/reviews/{CASE}").glob(f"{item}.*.dsse.json")),
            }
            stage = gate.check_gate
        elif rule == "segment_bones":
            named = {"dicom": Path(f"data/simulated/{CASE}/dicom/ct")}
        elif rule == "audit_case":
            stage = audit_case
        jobs.execute(
            Job(
                rule=rule,
                case_dir=self.folder,
                wildcards={"case": CASE, **wildcards},
                inputs=named,
                outputs={_output_name(rule, i): self.folder / name for i, name in enumerate(outputs)},
                settings=self._settings(rule, inputs),
                function=f"implantflow.{function}",
                code_digest=codedigest.code_digest(f"implantflow.{function.split(':')[0]}"),
            ),
            stage,
        )

    def _settings(self, rule: str, inputs: list[str]) -> dict[str, Any]:
        settings: dict[str, Any] = {"case": CASE, "purpose": self.purpose}
        if rule.startswith("gate_"):
            settings["gate"] = {"name": rule.removeprefix("gate_"), "item": inputs[0]}
            settings["review"] = {"policy": self.policy}
            settings["site"] = self.site.model_dump(mode="json", exclude={"data_root"})
        return settings

    def _write(self, job: Job) -> None:
        for name, path in job.outputs.items():
            read = [artifacts.sha256_path(p) for n in job.inputs for p in job.input_list(n)]
            path.write_text(
                json.dumps({"rule": job.rule, "name": name, "read": read, "version": self.version})
            )


def _output_name(rule: str, number: int) -> str:
    if rule.startswith("gate_"):
        return "gate"
    return ["verify", "trace", "crate", "workflow"][number] if rule == "audit_case" else f"out{number}"
