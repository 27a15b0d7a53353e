"""Makes the scans of the validation set, one state at a time, and keeps them with their truth."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.followup.validation.plan import PROTOCOLS, Protocol, State

from implantflow.artifacts import plain, read_json, sha256_file
from implantflow.config.simulated_followup import SimulatedFollowupConfig
from implantflow.geometry import transform_points
from implantflow.phantom.followup.coverage_kernels import first_bone
from implantflow.phantom.followup.motion import moved_by, relative_to_baseline
from implantflow.phantom.followup.scan import Scanner, scan_protocols
from implantflow.phantom.followup.spectrum import physics
from implantflow.phantom.followup_scan import Operated, affine_of, operated
from implantflow.volumes import Volume

#: The simulator of this set. Fewer views than the demo's 720, but neighbouring views still lie no further apart than
#: a detector cell where the implant is; a box grid of a third of a strut.
VIEWS = 360
_SCANNER: dict[str, Any] = {
    "views": VIEWS, "cell_mm": 0.6, "box_mm": 0.25, "anatomy_mm": 1.0, "cranial_mm": 4.0, "caudal_mm": 4.0,
}  # fmt: skip
#: What counts as bone opposite a face, how far it is looked for and in which steps, mm.
_BONE_HU, _REACH_MM, _STEP_MM = 90.0, 8.0, 0.05


@dataclass(frozen=True)
class Case:
    """Results of a finished case that the set is made from."""

    name: str
    results: Path
    config: dict[str, Any]
    anatomy: Path

    @classmethod
    def of(cls, name: str, root: Path) -> Case:
        """``root`` holds results/ and data/ as the pipeline leaves them."""
        import yaml

        results = root / "results" / name
        config = yaml.safe_load((results / "config.resolved.yaml").read_text())
        simulated = root / "data/simulated" / name / "anatomy/ct.nii.gz"
        planning = results / "ingest" / config["ingest"]["planning_ct"] / "volume.nii.gz"
        return cls(name, results, config, simulated if config.get("simulated") else planning)

    @property
    def plan(self) -> Path:
        """Folder of the plan in force."""
        approved = self.config["prototype"]["approved"]
        entry = next(i for i in self.config["prototype"]["iterations"] if i["id"] == approved)
        return self.results / "plan" / entry["plan"]

    @property
    def field_digest(self) -> str:
        """SHA-256 of the lattice that scans are made of and read with."""
        return sha256_file(self.results / "lattice/field.npz")

    def files(self) -> dict[str, Path]:
        """What the simulator reads."""
        return {
            "anatomy": self.anatomy,
            "field": self.results / "lattice/field.json",
            "field_data": self.results / "lattice/field.npz",
            "plan": self.plan / "plan.json",
            "specimen": self.plan / "specimen.stl",
            "regions": self.results / "implant/regions.json",
            "implant": self.results / "implant/implant.stl",
        }

    def simulation(self, state: State) -> SimulatedFollowupConfig:
        """The simulator's config for one state, by the first protocol."""
        first = PROTOCOLS[0]
        changed = {
            **_SCANNER,
            "kvp": first.kvp,
            "kernel": first.kernel,
            "spacing_mm": [first.pixel_mm, first.pixel_mm, first.slice_mm],
            "photons": first.photons,
            "scatter_residual": state.scatter_residual,
            "scans": {state.name: state.scan},
        }
        return SimulatedFollowupConfig.model_validate(self.config["simulated_followup"] | changed)


def make(case: Case, state: State, folder: Path, threads: int) -> None:
    """Write the scans of ``state`` by every protocol, and its truth, into ``folder``; done once."""
    done = folder / "made.json"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started, cpu = time.time(), time.process_time()
    made = operated(case.files(), case.simulation(state), state.name, threads)
    scanners = [_as(made.scanner, protocol, state, n) for n, protocol in enumerate(PROTOCOLS)]
    for protocol, scanner, hu in zip(
        PROTOCOLS, scanners, scan_protocols(scanners, made.patient, threads), strict=True
    ):
        np.save(folder / f"{protocol.name}.npy", hu)
        manifest = _manifest(protocol, scanner, state)
        (folder / f"{protocol.name}.json").write_text(json.dumps(plain(manifest)))
    _write_truth(made, folder)
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.time() - started}
    done.write_text(json.dumps({**cost, "field": case.field_digest}))


def read_scan(folder: Path, protocol: str) -> tuple[Volume, dict[str, Any]]:
    """A scan and its manifest."""
    manifest: dict[str, Any] = read_json(folder / f"{protocol}.json")
    return Volume(np.load(folder / f"{protocol}.npy"), np.array(manifest["affine_lps"])), manifest


def _as(scanner: Scanner, protocol: Protocol, state: State, number: int) -> Scanner:
    """``scanner`` with what the protocol changes; the field keeps its place."""
    pixel, thick = protocol.pixel_mm, protocol.slice_mm
    high = scanner.corner_mm[:2] + np.array(scanner.shape[2:0:-1]) * scanner.pixel_mm
    columns, rows = np.floor((high - scanner.corner_mm[:2]) / pixel).astype(int)
    slices = round(2.0 * np.ceil(scanner.height_mm / 2.0) / thick)
    corner = np.array([*scanner.corner_mm[:2], scanner.bottom_mm + thick / 2])
    digest = hashlib.sha256(f"{state.key} {protocol.name}".encode()).digest()
    return replace(
        scanner,
        physics=physics(protocol.kvp),
        kernel=protocol.kernel,
        photons=protocol.photons,
        pixel_mm=pixel,
        slice_mm=thick,
        corner_mm=np.round(corner, 6),
        shape=(slices, int(rows), int(columns)),
        noise_key=(number, int.from_bytes(digest[:4], "big")),
    )


def _manifest(protocol: Protocol, scanner: Scanner, state: State) -> dict[str, Any]:
    """What ingest would have written, as far as the follow-up reads it."""
    return {
        "spacing_mm": [protocol.pixel_mm, protocol.pixel_mm, protocol.slice_mm],
        "affine_lps": affine_of(scanner),
        "header": {
            "kvp": protocol.kvp,
            "kernel": f"SIM-{protocol.kernel.upper()}",
            "manufacturer": "implantflow",
            "manufacturer_model": "phantom",
            "pixel_spacing_mm": [protocol.pixel_mm, protocol.pixel_mm],
        },
        "study_date": state.scan["study_date"],
    }


def _write_truth(made: Operated, folder: Path) -> None:
    """truth.json; and truth.npz: the way to bone at every point of every face, the bone in the pores on its grid."""
    truth = {
        "scan_from_planning": made.found.scan_from_planning,
        "scan_from_implant": made.found.scan_from_implant,
        "relative_to_baseline": relative_to_baseline(made.found),
        "relative_to_plan": moved_by(made.found.motion, made.found.centroid_mm),
        "titanium_fraction": made.implant.lattice_fraction,
    }
    (folder / "truth.json").write_text(json.dumps(plain(truth)))
    arrays: dict[str, np.ndarray] = {
        "pore_origin_mm": made.grids.origin_mm,
        "pore_bone": made.grids.pore_bone,
        "build_from_planning": made.implant.build_from_planning,
    }
    index = np.asarray(np.linalg.inv(made.patient.anatomy.affine), np.float64)
    for face in made.faces:
        # A quarter of the points are the triangles' middles, the places the analysis reads at.
        count = len(face.points) // 4
        points = np.ascontiguousarray(transform_points(made.found.motion, face.points[:count]))
        normals = np.ascontiguousarray(face.normals[:count] @ made.found.motion[:3, :3].T)
        way = np.empty(count)
        first_bone(
            points, normals, made.patient.anatomy.hu, index, made.patient.bed, _BONE_HU, _STEP_MM, _REACH_MM,
            way,
        )  # fmt: skip
        arrays[f"{face.name}_points"], arrays[f"{face.name}_way_mm"] = face.points[:count], way
    np.savez(folder / "truth.npz", **arrays)
