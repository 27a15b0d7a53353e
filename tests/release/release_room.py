"""A small case that is ready for release: every record the release reads, written by hand."""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from imaging_files import write_images

from implantflow import artifacts
from implantflow.jobs import Job, execute
from implantflow.release.package import NAMES
from implantflow.release.stage import make_traveller, release_case
from implantflow.review import keys
from implantflow.review.gate import check_gate
from implantflow.review.record import record_paths, write_record
from implantflow.review.statement import MEANINGS, Review, make_statement, seal
from implantflow.review.subjects import design_subjects, labels_subjects, prototype_subjects, release_subjects
from implantflow.solids.shapes import box

LIMITS = {"ct_days": 90, "mr_days": 42}
DEVICE = {"name": "Test implant", "manufacturer": "Nobody", "lot": "L-1", "material": "Ti-6Al-4V ELI"}
SETTINGS: dict[str, Any] = {
    "case": "demo",
    "purpose": "demo",
    "side": "left",
    "simulated": {"patient": True, "tumour": False, "print": True},
    "imaging_max_age": LIMITS,
    "release": {
        "revision": "r2",
        "date": "2025-05-16",
        "surgery_date": "2025-05-20",
        "imaging_max_age_days": LIMITS,
        "device": DEVICE,
        "traveller": None,
    },
}


@dataclass
class Room:
    """The case's folder, its settings, and what can be done with it."""

    case: Path
    settings: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(SETTINGS))
    signed: bool = False
    machined: bool = False
    reviewers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        path = self.case / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, value: dict[str, Any]) -> str:
        artifacts.write_json(self.path(name), value)
        return self.sha256(name)

    def change(self, name: str, **values: Any) -> None:
        """Replace keys of a record."""
        self.write(name, {**artifacts.read_json(self.path(name)), **values})

    def sha256(self, name: str) -> str:
        return artifacts.sha256_file(self.path(name))

    def build(self, revision: str, parent: str | None, decision: str, *reasons: str, **facts: str) -> None:
        """Build files and inspection of one revision."""
        folder, purpose = f"build/{revision}", str(self.settings["purpose"])
        said = {
            "case": "demo",
            "side": "left",
            "revision": revision,
            "parent": str(parent),
            "purpose": purpose,
        }
        said |= {"field sha256": self.sha256("lattice/field.json"), **facts}
        notes = [f"{k}={v}" for k, v in said.items()]
        notes += [] if purpose == "clinical" else ["NOT FOR CLINICAL USE"]
        lines = [f"$$USERDATA/implantflow,{len(note)},{note}" for note in notes]
        header = "\n".join(["$$HEADERSTART", "$$BINARY", *lines, "$$HEADEREND"])
        self.path(f"{folder}/build.cli").write_bytes(header.encode() + b"\x7f\x00layers")
        cli = self.sha256(f"{folder}/build.cli")
        self.write(f"{folder}/themes.json", {"machine": "arcam-a1"})
        check = {"name": "open_loops", "pass": True, "severity": "error"}
        self.write(f"{folder}/checks.json", {"passed": True, "checks": [check], "warnings": []})
        self.write(f"{folder}/build.json", {
            "id": revision, "parent": parent, "machine": "arcam-a1", "machine_verified": False, "layers": 200,
            "layer_mm": 0.05, "time_h": 3.2, "box_mm": [[0, 0, 0], [9, 9, 10]], "cli_sha256": cli,
        })  # fmt: skip
        self.write(f"inspect/{revision}/deviation.json", {
            "id": revision, "decision": decision, "reasons": list(reasons), "rms_mm": 0.1, "build_file_sha256": cli,
        })  # fmt: skip
        self.path(f"inspect/{revision}/deviation.png").write_bytes(_png())

    def gate(self, path: str, name: str, item: str, subjects: list[str], **gate: Any) -> None:
        """Pass one gate: by policy, or by two signatures in a case that is signed."""
        for subject in subjects:
            if not self.path(subject).exists():
                self.path(subject).write_text(subject)
        purpose = self.settings["purpose"]
        people = {g: ["surgeon", "quality"] for g in ("labels", "review", "design", "release")}
        review = self.sign(name, item, subjects) if self.signed else []
        asked: dict[str, Any] = {}
        imaging: dict[str, Any] = {}
        if name == "design":
            asked = {
                "manifest": self.path("ingest/ct_planning/manifest.json"),
                "tumour": self.path("tumour/tumour.json"),
                "ingest": self.path("ingest/ingest.json"),
                "plan": self.path("plan/p1/plan.json"),
            }
            release = self.settings["release"]
            imaging = {
                "imaging": {
                    "surgery_date": release["surgery_date"],
                    "limits": release["imaging_max_age_days"],
                    "site": self.settings["imaging_max_age"],
                }
            }
        job = Job(
            rule="gate",
            case_dir=self.case,
            wildcards={"case": "demo"},
            inputs={"subjects": [self.path(s) for s in subjects], "review": review, **asked},
            outputs={"gate": self.path(path)},
            settings={
                "gate": {"name": name, "item": item, **gate},
                "case": "demo",
                "purpose": purpose,
                "review": {"policy": "signed" if self.signed else "auto"},
                "site": {
                    "reviewers": list(self.reviewers.values()),
                    "signatures": dict.fromkeys(("demo", "research", "clinical"), people),
                },
                **imaging,
            },
            function="implantflow.review.gate:check_gate",
            code_digest="0" * 64,
        )
        execute(job, check_gate)

    def sign(self, gate: str, item: str, subjects: list[str]) -> list[Path]:
        """Approvals of a surgeon and of quality, as records on disk."""
        home = self.case.parent / "home"
        digests = {name: self.sha256(name) for name in subjects}
        for role in ("surgeon", "quality"):
            key = home / f"{role}.pem"
            if role not in self.reviewers:
                self.reviewers[role] = {
                    "id": role, "name": f"Dr {role.title()}", "role": role,
                    "public_key": keys.make_key_pair(key, None), "valid_from": "2025-01-01",
                }  # fmt: skip
            review = Review(
                case="demo", gate=gate, item=item, decision="approve", reason="looked at it", reviewer=role,
                name=f"Dr {role.title()}", role=role, meaning=MEANINGS["approve"], time="2025-05-10T12:00:00Z",
                ledger=None,
            )  # fmt: skip
            envelope = seal(make_statement(digests, review), keys.read_private_key(key, None))
            write_record(self.case.parent / "reviews", "demo", item, envelope)
        return record_paths(self.case.parent / "reviews", "demo", item)

    def release_gate(self, revision: str) -> None:
        put_forward = revision == self.settings["release"]["revision"]
        self.gate(
            f"inspect/{revision}/gate.json", "release", "release",
            release_subjects(revision, machined=self.machined and put_forward),
            revision=revision, put_forward=put_forward, machined=self.machined and put_forward,
        )  # fmt: skip

    def machine(self, decision: str = "accepted", *reasons: str, **changes: Any) -> None:
        """Give the design stock, inspect the machined part of r2, and pass all gates again."""
        self.change("implant/implant.json", machining_stock={"faces": {"midline": 0.5}, "bores": 0.5})
        face = {"shift_mm": 0.02, "tilt_deg": 0.04, "within_tolerance_pct": 100.0}
        bore = {"seen_pct": 17.0, "diameter_mm": None, "design_diameter_mm": 6.5, "axis_error_mm": None}
        self.write("inspect/r2/machined.json", {
            "id": "r2", "decision": decision, "reasons": list(reasons), "faces": {"midline": face},
            "bores": {"s1": bore}, "bores_to_gauge": ["s1"],
            "limits": {"face_tolerance_mm": 0.15, "bore_tolerance_mm": 0.15},
            "build_file_sha256": self.sha256("build/r2/build.cli"), **changes,
        })  # fmt: skip
        self.path("inspect/r2/machined.png").write_bytes(_png())
        self.machined = True
        pass_gates(self)

    def form(self) -> Path:
        """Make the traveller's form."""
        revision = self.settings["release"]["revision"]
        out = self.path("release/traveller.html")
        self._run("make_traveller", {"build": self.path(f"build/{revision}/build.json")}, {"form": out})
        return out

    def filled(self, **change: Any) -> dict[str, Any]:
        """A traveller as a person would fill the form of this case."""
        days = [
            "2025-05-02",
            "2025-05-03",
            "2025-05-04",
            "2025-05-05",
            "2025-05-06",
            "2025-05-07",
            "2025-05-08",
        ]
        names = [
            "powder",
            "build_job",
            "powder_removal",
            "heat_treatment",
            "machining",
            "cleaning",
            "sterilisation",
        ]
        steps = [
            {"step": step, "who": "M. Roth", "when": day, "accepted": True, "remarks": ""}
            for step, day in zip([*names, "final_inspection"], [*days, "2025-05-08"], strict=True)
        ]
        return {
            "form": "implantflow manufacturing traveller", "version": 1, "case": "demo", "side": "left",
            "revision": "r2", "build_cli_sha256": self.sha256("build/r2/build.cli"),
            "material": "Ti-6Al-4V ELI", "machine": "arcam-a1", "powder_lot": "P-77", "powder_reuse_count": 3,
            "machine_serial": "R1234", "build_job": "2025-031", "steps": steps, **change,
        }  # fmt: skip

    def hand_in(self, filled: dict[str, Any]) -> None:
        """Name a filled traveller in the config."""
        path = self.case.parent / "filled.json"
        path.write_text(json.dumps(filled))
        self.settings["release"]["traveller"] = str(path)

    def release(self) -> dict[str, Any]:
        """Run the release as its rule does; return release.json or let the refusal through."""
        self.form()
        revision = self.settings["release"]["revision"]
        traveller = self.settings["release"]["traveller"]
        revisions = ("r1", "r2")
        inputs: dict[str, Any] = {
            name: self.path(path)
            for name, path in {
                "implant": "implant/implant.stl",
                "implant_json": "implant/implant.json",
                "regions": "implant/regions.json",
                "field": "lattice/field.json",
                "field_data": "lattice/field.npz",
                "lattice": "lattice/lattice.json",
                "strength": "strength/final/strength.json",
                "plan": "plan/p1/plan.json",
                "approved": "prototype/rp2/implant.stl",
                "prototype": "prototype/rp2/prototype.json",
                "tumour": "tumour/tumour.json",
                "ingest": "ingest/ingest.json",
                "manifest": "ingest/ct_planning/manifest.json",
                "resolved": "config.resolved.yaml",
                "form": "release/traveller.html",
                "labels": "segment/labels.nii.gz",
                "segment": "segment/segment.json",
                "tumour_stl": "tumour/tumour.stl",
                "cli": f"build/{revision}/build.cli",
                "themes": f"build/{revision}/themes.json",
                "checks": f"build/{revision}/checks.json",
            }.items()
        }
        timepoints = artifacts.read_json(self.path("tumour/tumour.json"))["timepoints"]
        gates = ["segment/gate.json", "prototype/rp2/gate.json", "design/gate.json"]
        inputs |= {
            "builds": [self.path(f"build/{r}/build.json") for r in revisions],
            "deviations": [self.path(f"inspect/{r}/deviation.json") for r in revisions],
            "pictures": [self.path(f"inspect/{r}/deviation.png") for r in revisions],
            "gates": [self.path(g) for g in [*gates, *(f"inspect/{r}/gate.json" for r in revisions)]],
            "machined": [self.path("inspect/r2/machined.json")] if self.machined else [],
            "machined_pictures": [self.path("inspect/r2/machined.png")] if self.machined else [],
            "traveller": [Path(traveller)] if traveller else [],
            "bones": [self.path(f"segment/{n}.stl") for n in ("sacrum", "hip_left", "hip_right", "l5")],
            "masks": [self.path(f"tumour/{n}_mask.nii.gz") for n in [t["name"] for t in timepoints]],
            "image_manifests": [
                self.path(f"ingest/{t['series']}/manifest.json") for t in timepoints if t["series"]
            ],
        }
        outputs = {key: self.path(f"release/{name}") for key, name in NAMES.items()}
        self._run("release_case", inputs, outputs)
        return artifacts.read_json(self.path("release/release.json"))  # type: ignore[no-any-return]

    def _run(self, rule: str, inputs: dict[str, Any], outputs: dict[str, Path]) -> None:
        stage = {"release_case": release_case, "make_traveller": make_traveller}[rule]
        execute(
            Job(
                rule=rule,
                case_dir=self.case,
                wildcards={"case": "demo"},
                inputs=inputs,
                outputs=outputs,
                settings=self.settings,
                function=f"implantflow.release.stage:{rule}",
                code_digest="0" * 64,
            ),
            stage,
        )


def make_room(case: Path, purpose: str = "demo", *, signed: bool = False) -> Room:
    """Write the case: r1 rejected, r2 accepted, all gates passed."""
    room = Room(case, signed=signed)
    room.settings["purpose"] = purpose
    solid = box((0, 0, 0), (9, 9, 10))
    artifacts.write_stl(
        room.path("implant/implant.stl"), solid.vertices, solid.faces, "implant, patient LPS mm"
    )
    implant = room.sha256("implant/implant.stl")
    regions = room.write("implant/regions.json", {"implant_stl_sha256": implant})
    room.write("implant/implant.json", {
        "approved_iteration": "rp2", "plan": "p1", "side": "left", "volume_mm3": 810.0, "vs_approved_mm": 0.0003,
        "gap_p50_mm": 0.3,
    })  # fmt: skip
    room.path("lattice/field.npz").write_bytes(b"grid")
    room.write("lattice/field.json", {
        "field_npz_sha256": room.sha256("lattice/field.npz"), "implant_stl_sha256": implant,
        "regions_sha256": regions,
    })  # fmt: skip
    room.write("lattice/lattice.json", {
        "cell": "diamond", "cell_mm": 2.5, "strut_mm": 0.67, "relative_density": 0.3, "porosity": 0.7,
        "strut_range_mm": [0.67, 0.67],
        "by_strut": {"0.670": {"porosity": 0.7, "pore_um": 1371.2, "throat_um": 1053.8}},
        "pore_um": 1371, "throat_um": 1054, "dense_fraction": 0.17, "closed_pores": 0, "loose_islands": 0,
        "modulus_gpa": 5.9, "modulus_source": "cell", "solid_volume_mm3": 810, "material_volume_mm3": 300,
    })  # fmt: skip
    room.write("strength/final/strength.json", _strength(implant))
    write_images(room)
    room.write("plan/p1/plan.json", {
        "revision": "p1", "side": "left", "osteotomy_margin_min_mm": 13.3, "margin_mm": 10.0,
        "osteotomy_margin_worst_case_mm": 11.2,
        "imaging": [{"name": t["name"]} for t in artifacts.read_json(room.path("tumour/tumour.json"))["timepoints"]],
    })  # fmt: skip
    room.write("prototype/rp2/prototype.json", {
        "id": "rp2", "side": "left", "embossed": {"text": "CASE L RP2"}, "corrections": [{}],
        "history": [{"iteration": "rp1"}, {"iteration": "rp2"}],
    })  # fmt: skip
    revisions = [{"id": "r1", "note": ""}, {"id": "r2", "note": "scaled by 1.0063 after r1"}]
    config = {"case": "demo", "purpose": purpose, "side": "left", "build": {"revisions": revisions}}
    room.path("config.resolved.yaml").write_text(yaml.safe_dump(config))
    room.build("r1", None, "rejected", "scale error -0.62 %, limit 0.30 %")
    room.build("r2", "r1", "accepted")
    pass_gates(room)
    return room


def pass_gates(room: Room) -> None:
    """Pass all gates on the files as they are now."""
    room.gate("segment/gate.json", "labels", "labels", labels_subjects())
    room.gate("prototype/rp2/gate.json", "review", "rp2", prototype_subjects("rp2"))
    room.gate("design/gate.json", "design", "design", design_subjects("rp2"))
    for revision in ("r1", "r2"):
        room.release_gate(revision)


def _strength(implant: str) -> dict[str, Any]:
    metal = {"verified": False}
    return {
        "stage": "final", "safe": True, "safety_factor": 3.46, "safety_factor_min": 1.5, "max_von_mises_mpa": 57.8,
        "governing_load_case": "stairs", "stiffness_n_per_mm": 38433.0, "effective_modulus_gpa": 5.9,
        "load_cases": [], "metal": metal, "fatigue_dense": metal, "fatigue_strut": metal, "supports": [],
        "safety_factor_with_error_bar": 3.21, "grid_sensitivity": {"error_bar_pct": {}, "not_converged": []},
        "limitations": [], "solver_agreement_pct": 0.0, "implant_stl_sha256": implant,
    }  # fmt: skip


def _png() -> bytes:
    """A grey picture of 4 x 4 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (4).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = np.full((4, 5), 128, dtype=np.uint8)
    rows[:, 0] = 0
    data = zlib.compress(rows.tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
