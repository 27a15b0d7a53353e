"""What the tests of the gates share: see conftest.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.config.site import SiteConfig
from implantflow.jobs import Job
from implantflow.review import command
from implantflow.review.gate import check_gate
from implantflow.review.subjects import gate_of, subjects_of

CASES = ("demo", "other")


@dataclass
class Room:
    """Two cases on disk, the persons who may sign, and the gate."""

    site: SiteConfig
    keys: dict[str, Path]
    now: datetime
    settings: dict[str, Any] = field(default_factory=dict)
    extra_inputs: dict[str, Any] = field(default_factory=dict)

    def write_iteration(self, case: str, iteration: str, content: str) -> None:
        """Write the files of one iteration and the ledger entry of the job that made them."""
        self.write_files(case, subjects_of(iteration, None), content, f"make_prototype.{iteration}")

    def write_files(self, case: str, names: list[str], content: str, rule: str) -> None:
        folder = Path("results") / case
        outputs = {}
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content} {name}")
            outputs[path.as_posix()] = artifacts.sha256_file(path)
        entry = {
            "event": "job",
            "rule": rule,
            "outcome": {"status": "done"},
            "inputs": {},
            "outputs": outputs,
        }
        ledger.append(folder, entry)

    def sign(
        self, who: str, decision: str = "approve", *, case: str = "demo", item: str = "rp2", **more: Any
    ) -> Path:
        """Sign as ``who``; each signature a minute after the one before."""
        self.now += timedelta(minutes=1)
        return command.sign(
            case, item, decision, more.pop("reason", "fits"), self.keys[who],  # type: ignore[arg-type]
            site=more.pop("site", self.site), now=more.pop("now", self.now), **more,
        )  # fmt: skip

    def records(self, case: str = "demo", item: str = "rp2") -> list[Path]:
        return sorted(Path(f"config/reviews/{case}").glob(f"{item}.*.dsse.json"))

    def gate(
        self, *, case: str = "demo", item: str = "rp2", purpose: str = "demo", **review: Any
    ) -> dict[str, Any]:
        """Check the gate as its rule does; return ``gate.json``, or let the refusal through."""
        folder = Path("results") / case
        out = folder / f"gate-{item}.json"
        out.unlink(missing_ok=True)
        job = Job(
            rule="gate_review",
            case_dir=folder,
            wildcards={"case": case, "iteration": item},
            inputs={
                "subjects": [folder / name for name in subjects_of(item, "rp2")],
                "review": self.records(case, item),
                **self.extra_inputs,
            },
            outputs={"gate": out},
            settings={
                "gate": {"name": gate_of(item), "item": item},
                "case": case,
                "purpose": purpose,
                "review": {"policy": "signed", **review},
                "site": self.site.model_dump(mode="json", exclude={"data_root"}),
                **self.settings,
            },
            function="implantflow.review.gate:check_gate",
            code_digest="0" * 64,
        )  # fmt: skip
        check_gate(job)
        result: dict[str, Any] = json.loads(out.read_text())
        return result

    def change_reviewer(self, who: str, **change: Any) -> None:
        """Edit the registry of the site."""
        data = self.site.model_dump(mode="json")
        for reviewer in data["reviewers"]:
            if reviewer["id"] == who:
                reviewer.update(change)
        self.site = SiteConfig.model_validate(data)


def make_room(home: Path) -> Room:
    """In the present folder: cases demo and other, each with iterations rp1 and rp2 on disk and in its ledger."""
    reviewers: list[dict[str, Any]] = []
    keys = {}
    for who, role in (
        ("anna", "surgeon"),
        ("sven", "surgeon"),
        ("emil", "engineer"),
        ("rita", "radiologist"),
    ):
        keys[who] = home / f"{who}.pem"
        entry = yaml.safe_load(command.keygen(keys[who], who, f"{who.title()} Weber", role))[0]  # type: ignore[arg-type]
        reviewers.append({**entry, "valid_from": "2026-01-01"})
    gates = {gate: ["surgeon", "engineer"] for gate in ("labels", "review", "design", "release")}
    site = SiteConfig.model_validate(
        {
            "data_root": "data",
            "reviewers": reviewers,
            "signatures": {"demo": gates, "research": gates, "clinical": gates},
            "imaging_max_age": {"ct_days": 90, "mr_days": 42},
        }
    )
    made = Room(site, keys, datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    for case in CASES:
        for iteration in ("rp1", "rp2"):
            made.write_iteration(case, iteration, f"{case} {iteration}")
    return made
