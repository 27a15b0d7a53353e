"""The release gate in the audit: a rejected print beside an accepted one is a normal course, the rest is found."""

from __future__ import annotations

from typing import Any

import pytest
from made_case import Made

from implantflow import artifacts
from implantflow.audit.verify import verify_case
from implantflow.review.gate import NOT_PUT_FORWARD, check_gate
from implantflow.review.subjects import release_subjects


class Printed:
    """The case of `made`, with two prints inspected and the second released."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.released = "r2"

    def write(self, name: str, value: dict[str, Any]) -> None:
        artifacts.write_json(self.made.folder / name, value)

    def inspect(self, revision: str, decision: str, *reasons: str) -> None:
        """One inspection by a real job whose stage writes the verdict."""
        record = {"id": revision, "decision": decision, "reasons": list(reasons)}
        self._job(
            "inspect_print", "inspect.stage:inspect_print", {"build": f"build/{revision}/build.json"},
            {"deviation": f"inspect/{revision}/deviation.json"}, {"revision": revision},
            lambda job: artifacts.write_json(job.outputs["deviation"], record),
        )  # fmt: skip

    def build(self, revision: str) -> None:
        names = ("build.cli", "build.json", "checks.json")
        self.made.job(
            "build_part", {"revision": revision}, "build.stage:build_part",
            ["lattice/field.npz", "design/gate.json"], [f"build/{revision}/{n}" for n in names],
        )  # fmt: skip

    def gate(self, revision: str, policy: str = "auto") -> None:
        subjects = [self.made.folder / n for n in release_subjects(revision)]
        gate = {"name": "release", "item": "release", "revision": revision}
        settings = {
            "gate": {**gate, "put_forward": revision == self.released},
            "review": {"policy": policy},
            "site": self.made.site.model_dump(mode="json", exclude={"data_root"}),
        }
        self._job(
            "gate_release", "review.gate:check_gate", {"subjects": subjects, "review": []},
            {"gate": f"inspect/{revision}/gate.json"}, {"revision": revision}, check_gate, **settings,
        )  # fmt: skip

    def release(self, *gates: str) -> None:
        self._job(
            "release_case", "release.stage:release_case",
            {"gates": [self.made.folder / f"inspect/{r}/gate.json" for r in gates]},
            {"release": "release/release.json"}, {},
            lambda job: artifacts.write_json(job.outputs["release"], {"status": "done"}),
            release={"revision": self.released},
        )  # fmt: skip

    def _job(
        self, rule: str, function: str, inputs: dict[str, Any], outputs: dict[str, str],
        wildcards: dict[str, str], stage: Any, **settings: Any,
    ) -> None:  # fmt: skip
        from implantflow import jobs

        folder = self.made.folder
        jobs.execute(
            jobs.Job(
                rule=rule,
                case_dir=folder,
                wildcards={"case": "demo", **wildcards},
                inputs={k: folder / v if isinstance(v, str) else v for k, v in inputs.items()},
                outputs={k: folder / v for k, v in outputs.items()},
                settings={"case": "demo", "purpose": "demo", **settings},
                function=f"implantflow.{function}",
                code_digest="0" * 64,
            ),
            stage,
        )

    def problems(self) -> list[str]:
        return [f"{p['where']}: {p['what']}" for p in verify_case(self.made.folder)["problems"]]


@pytest.fixture
def printed(made: Made) -> Printed:
    """r1 rejected, r2 accepted and released."""
    made.run("segment_bones", "gate_labels", "plan_resection", "make_prototype", "gate_review")
    made.run("design_implant", "make_lattice", "gate_design")
    case = Printed(made)
    for revision, verdict in (("r1", ("rejected", "scale error")), ("r2", ("accepted",))):
        case.build(revision)
        case.inspect(revision, *verdict)
        case.gate(revision)
    case.release("r1", "r2")
    return case


def test_rejected_beside_accepted_verifies(printed: Printed) -> None:
    result = verify_case(printed.made.folder)
    assert result["verified"], result["problems"]
    said = {g["path"]: g["decision"] for g in result["gates"] if g["gate"] == "release"}
    assert said == {
        "inspect/r1/gate.json": "rejected",
        "inspect/r2/gate.json": "auto-approved (demo, unsigned)",
    }
    assert result["unsigned_gates"].count("release") == 1


def test_release_of_a_revision_whose_gate_is_shut_is_found(printed: Printed) -> None:
    printed.released = "r1"
    printed.release("r1", "r2")
    assert any("released revision r1, whose release gate did not open" in p for p in printed.problems())


def test_release_that_did_not_read_its_gate_is_found(printed: Printed) -> None:
    printed.release("r1")
    assert any("released revision r2, whose release gate did not open" in p for p in printed.problems())


def test_gate_of_a_rejected_print_edited_open_is_found(printed: Printed) -> None:
    path = printed.made.folder / "inspect/r1/gate.json"
    record = artifacts.read_json(path)
    artifacts.write_json(path, {**record, "decision": "auto-approved (demo, unsigned)", "unsigned": True})
    told = printed.problems()
    assert any("though the inspection rejected the print" in p for p in told)
    assert any("is not what gate_release wrote" in p for p in told)


def test_accepted_print_recorded_as_rejected_is_found(printed: Printed) -> None:
    path = printed.made.folder / "inspect/r2/gate.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "decision": "rejected", "unsigned": False})
    assert any("though the inspection accepted the print" in p for p in printed.problems())


def test_inspection_made_again_after_the_release_is_found(printed: Printed) -> None:
    printed.inspect("r2", "rejected", "bent")
    assert any(
        "inspect/r2/deviation.json is not the file that was decided about" in p for p in printed.problems()
    )


def test_print_not_put_forward_is_no_unsigned_gate(printed: Printed) -> None:
    printed.build("r3")
    printed.inspect("r3", "accepted")
    printed.gate("r3")
    result = verify_case(printed.made.folder)
    assert result["verified"], result["problems"]
    assert {g["decision"] for g in result["gates"] if g["path"] == "inspect/r3/gate.json"} == {
        NOT_PUT_FORWARD
    }
    assert result["unsigned_gates"].count("release") == 1
