"""What must stop a release: each disagreement is refused with its own error, and no package is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from release_room import Room, pass_gates

from implantflow import artifacts
from implantflow.errors import (
    AwaitingInput,
    ConfigError,
    GeometryError,
    ImplantflowError,
    InputError,
    ProvenanceError,
    QualityGateError,
    ReviewError,
)

Change = Callable[[Room], None]


def rejected_revision(room: Room) -> None:
    room.settings["release"]["revision"] = "r1"


def rejected_after_the_gate(room: Room) -> None:
    """The gate still stands open; the inspection no longer accepts."""
    room.change("inspect/r2/deviation.json", decision="rejected", reasons=["bent"])


def gate_shut(room: Room) -> None:
    """Accepted, but never put forward: released by editing the config alone."""
    room.settings["release"]["revision"] = "r1"
    room.release_gate("r2")
    room.settings["release"]["revision"] = "r2"


def gate_of_a_rejected_print_edited_open(room: Room) -> None:
    room.settings["release"]["revision"] = "r1"
    room.change("inspect/r1/gate.json", decision="approved")


def deviation_edited_after_the_gate(room: Room) -> None:
    room.change("inspect/r2/deviation.json", rms_mm=0.01)


def other_purpose(room: Room) -> None:
    room.change("design/gate.json", purpose="research", decision="auto-approved (research, unsigned)")


def implant_from_another_iteration(room: Room) -> None:
    room.change("implant/implant.json", approved_iteration="rp1")
    pass_gates(room)


def side_of_plan(room: Room) -> None:
    room.change("plan/p1/plan.json", side="right")


def side_of_config(room: Room) -> None:
    """Config and resolved config say right, the part is a left one."""
    room.settings["side"] = "right"
    path = room.case / "config.resolved.yaml"
    path.write_text(path.read_text().replace("side: left", "side: right"))


def side_embossed(room: Room) -> None:
    room.change("prototype/rp2/prototype.json", embossed={"text": "R RP2"})
    pass_gates(room)


def side_of_build(room: Room) -> None:
    room.build("r2", "r1", "accepted", side="right")
    room.release_gate("r2")


def header_of_another_case(room: Room) -> None:
    room.build("r2", "r1", "accepted", case="other")
    room.release_gate("r2")


def build_not_marked(room: Room) -> None:
    path = room.case / "build/r2/build.cli"
    path.write_bytes(path.read_bytes().replace(b"NOT FOR CLINICAL USE", b"FOR ANY KIND OF USE "))
    room.change("build/r2/build.json", cli_sha256=artifacts.sha256_file(path))
    room.change("inspect/r2/deviation.json", build_file_sha256=artifacts.sha256_file(path))
    room.release_gate("r2")


def cli_changed(room: Room) -> None:
    """Gate passed over a build file that build.json does not describe."""
    path = room.case / "build/r2/build.cli"
    path.write_bytes(path.read_bytes() + b"more")
    room.release_gate("r2")


def inspection_of_another_build(room: Room) -> None:
    cli = artifacts.sha256_file(room.case / "build/r1/build.cli")
    room.change("inspect/r2/deviation.json", build_file_sha256=cli)
    room.release_gate("r2")


def inspection_without_digest(room: Room) -> None:
    room.change("inspect/r2/deviation.json", build_file_sha256=None)
    room.release_gate("r2")


def field_changed(room: Room) -> None:
    (room.case / "lattice/field.npz").write_bytes(b"another grid")
    pass_gates(room)


def implant_changed(room: Room) -> None:
    path = room.case / "implant/implant.stl"
    path.write_bytes(b"x" + path.read_bytes()[1:])


def strength_failed(room: Room) -> None:
    room.change("strength/final/strength.json", safe=False, safety_factor=1.2)
    pass_gates(room)


def checks_failed(room: Room) -> None:
    check = {"name": "open_loops", "pass": False, "severity": "error"}
    room.change("build/r2/checks.json", checks=[check])
    room.release_gate("r2")


def stale_mr(room: Room) -> None:
    room.settings["release"]["surgery_date"] = "2025-06-30"


def image_after_surgery(room: Room) -> None:
    room.settings["release"]["surgery_date"] = "2025-04-23"


def looser_than_site(room: Room) -> None:
    room.settings["release"]["imaging_max_age_days"] = {"ct_days": 91, "mr_days": 42}


def machined_part_refused(room: Room) -> None:
    """Stock is machined away, and the scan of the machined part says that some is left."""
    room.machine("rejected", "midline: 0.5 mm left")


def machined_part_not_inspected(room: Room) -> None:
    """There is stock to machine away, and nobody scanned the part afterwards."""
    room.machine()
    room.machined = False
    pass_gates(room)


def machined_part_not_decided_about(room: Room) -> None:
    """The gate was passed for the print as built; the machined part came later."""
    machined_part_not_inspected(room)
    room.machined = True


def machined_part_of_another_build(room: Room) -> None:
    room.machine(build_file_sha256="0" * 64)


def machined_part_edited_after_the_gate(room: Room) -> None:
    room.machine()
    room.change("inspect/r2/machined.json", bores_to_gauge=[])


REFUSALS: list[tuple[Change, type[ImplantflowError], str]] = [
    (rejected_revision, ReviewError, "revision r1 was rejected by its inspection: scale error"),
    (rejected_after_the_gate, ReviewError, "rejected by its inspection: bent"),
    (gate_shut, ReviewError, "says 'accepted, not put forward for release'"),
    (gate_of_a_rejected_print_edited_open, ProvenanceError, "was changed after gate made it"),
    (deviation_edited_after_the_gate, ProvenanceError, "deviation.json is not the file"),
    (other_purpose, ProvenanceError, "was changed after gate made it"),
    (implant_from_another_iteration, ReviewError, "made from rp1, the gate is of rp2"),
    (side_of_plan, GeometryError, "plan: right"),
    (side_of_config, GeometryError, "config: right"),
    (side_embossed, GeometryError, "letter on that prototype: right"),
    (side_of_build, GeometryError, "build file: right"),
    (header_of_another_case, ProvenanceError, "says case other"),
    (build_not_marked, ProvenanceError, "not marked NOT FOR CLINICAL USE"),
    (cli_changed, ProvenanceError, "build.json and build.cli do not belong together"),
    (inspection_of_another_build, ProvenanceError, "the inspection and build.cli do not belong together"),
    (inspection_without_digest, ProvenanceError, "no digest is stated"),
    (field_changed, ProvenanceError, "field.json and field.npz"),
    (implant_changed, ProvenanceError, "regions.json and implant.stl"),
    (machined_part_refused, ReviewError, "says 'rejected': midline: 0.5 mm left"),
    (machined_part_not_inspected, AwaitingInput, "the machined part of r2 was not inspected"),
    (machined_part_not_decided_about, ReviewError, "was not asked about inspect/r2/machined.json"),
    (
        machined_part_of_another_build,
        ProvenanceError,
        "the machined part and build.cli do not belong together",
    ),
    (machined_part_edited_after_the_gate, ProvenanceError, "machined.json is not the file"),
    (strength_failed, QualityGateError, "safety factor 1.2"),
    (checks_failed, QualityGateError, "build checks did not pass: open_loops"),
    (stale_mr, QualityGateError, "MR mr_preoperative will be 69 days old, limit 42"),
    (image_after_surgery, InputError, "after the surgery planned"),
    (looser_than_site, ConfigError, "the site allows 90"),
]


@pytest.mark.requirement("release-complete")
@pytest.mark.parametrize(("change", "error", "words"), REFUSALS, ids=[r[0].__name__ for r in REFUSALS])
def test_disagreement_stops_the_release(
    room: Room, change: Change, error: type[ImplantflowError], words: str
) -> None:
    room.release()
    change(room)
    with pytest.raises(error) as refusal:
        room.release()
    assert words in refusal.value.what
    assert not (room.case / "release/release.json").exists()
    assert not (room.case / "release/implant.stl").exists()


def test_dates_that_nobody_stated_are_said_to_be_unknown(room: Room) -> None:
    room.settings["release"]["surgery_date"] = None
    record = room.release()
    assert record["imaging"]["verdict"] == "cannot be determined"
    assert {i["reason"] for i in record["imaging"]["images"]} == {"no date of surgery stated"}


def test_case_without_mr(room: Room) -> None:
    virtual = {
        "name": "diagnosis", "series": None, "method": "ellipsoid", "virtual": True, "registration": None,
        "volume_mm3": 21349.125, "axes_mm": [35.0, 31.0, 41.0], "boundary_uncertainty_mm3": 951.1,
    }  # fmt: skip
    room.write("tumour/tumour.json", {"timepoints": [virtual], "response": {"recist": None}})
    record = room.release()
    assert [i["modality"] for i in record["imaging"]["images"]] == ["CT"]
    # Nothing was registered, and what nobody saw is called virtual.
    assert "registration.dcm" not in {o["file"] for o in record["dicom"]["objects"]}
    tumour = pydicom.dcmread(room.case / "release/dicom/tumour_labels.dcm")
    assert [s.SegmentLabel for s in tumour.SegmentSequence] == ["virtual tumour diagnosis"]
    assert tumour.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"


def test_clinical_case_needs_its_dates_and_its_traveller(clinical: Room) -> None:
    with pytest.raises(AwaitingInput, match="no filled traveller") as waiting:
        clinical.release()
    assert "traveller.html" in waiting.value.fix and Path(clinical.case / "release/traveller.html").exists()
    status = json.loads((clinical.case / "logs/release_case.status.json").read_text())
    assert status["status"] == "awaiting_input"
    clinical.hand_in(clinical.filled())
    clinical.settings["release"]["surgery_date"] = None
    with pytest.raises(InputError, match="cannot be determined"):
        clinical.release()


def forget_what_was_made(room: Room) -> None:
    """As somebody would who removes the audit folder: with it the edited gate is refused before the release looks."""
    shutil.rmtree(room.case / "audit")


def test_clinical_case_with_an_unsigned_gate(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    forget_what_was_made(clinical)
    clinical.change("design/gate.json", unsigned=True, decision="auto-approved (clinical, unsigned)")
    with pytest.raises(ReviewError, match="without a signature"):
        clinical.release()


def test_forged_envelope_is_found(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    forget_what_was_made(clinical)
    gate = artifacts.read_json(clinical.case / "inspect/r2/gate.json")
    gate["envelopes"][0]["signatures"][0]["sig"] = gate["envelopes"][1]["signatures"][0]["sig"]
    clinical.write("inspect/r2/gate.json", gate)
    with pytest.raises(ReviewError, match="not the one that was counted"):
        clinical.release()
