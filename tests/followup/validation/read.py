"""Reads the scans of the validation set with the stage's own functions, and lays what they say beside the truth."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tests.followup.validation import naive
from tests.followup.validation.plan import State, months
from tests.followup.validation.world import Case, read_scan

from implantflow.artifacts import plain, read_json, read_stl, sha256_file
from implantflow.config.followup import FollowupJob
from implantflow.field.field import Field
from implantflow.followup import ingrowth, scans
from implantflow.followup.compare import Baseline, FacesRead, read_faces
from implantflow.followup.design import Coverage, Depths
from implantflow.followup.faces import Face
from implantflow.followup.found import Protocol
from implantflow.followup.hardware import near_hardware
from implantflow.followup.inputs import Inputs
from implantflow.followup.lattice_change import read_lattice
from implantflow.followup.motion import Displacement, Place, displacement
from implantflow.followup.profile import Scan
from implantflow.followup.scans import Located, locate, scan_of
from implantflow.geometry import FloatArray, transform_points
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.volumes import read_volume

#: A gap below this is contact, mm (as in the simulator's own truth); beyond the second no bone is opposite.
TOUCHING_MM, OPPOSITE_MM = 0.1, 7.9
_LOCATING = (
    "pelvis",
    "implant_pose",
    "metal_fit",
    "texture",
    "evenness",
    "search",
    "rigid",
    "sampling",
    "kernels",
    "spread",
    "design",
    "hardware",
    "scans",
)


@dataclass(frozen=True)
class Bench:
    """One case with the folder that holds its states."""

    case: Case
    state: Path

    @cached_property
    def inputs(self) -> Inputs:
        """As the stage reads them."""
        root, plan = self.case.results, self.case.plan
        side = self.case.config["side"]
        planning = root / "ingest" / self.case.config["ingest"]["planning_ct"]
        implant = root / "implant/implant.stl"
        bones = {"remaining_bone": plan / "remaining_bone.stl", "hip": root / f"segment/hip_{side}.stl"}
        return Inputs(
            Solid.of(*read_stl(implant)),
            sha256_file(implant),
            read_json(root / "implant/regions.json"),
            read_json(plan / "plan.json"),
            Depths(Field.load(root / "lattice/field.json", root / "lattice/field.npz")),
            {name: Surface(Solid.of(*read_stl(path))) for name, path in bones.items()},
            read_volume(planning / "volume.nii.gz"),
            read_volume(root / "segment/labels.nii.gz"),
        )

    def settings(self, state: State) -> FollowupJob:
        """The case's own rules, for this time point."""
        point = {"name": state.name, "series": state.name, "months": months(state), "baseline": None}
        point["artefact_reduction"] = "none"
        rules = {k: v for k, v in self.case.config["followup"].items() if k not in ("timepoints", "outcomes")}
        return FollowupJob.model_validate({**rules, "outcomes": None, "timepoint": point})

    def coverage(self, protocol: str) -> Coverage:
        """The design, as finely as the protocol needs; made once."""
        made: dict[str, Coverage] = self.__dict__.setdefault("_coverage", {})
        if protocol not in made:
            volume, _ = read_scan(self.state / f"{self.case.name}_m0", protocol)
            made[protocol] = Coverage.of(self.inputs.field, float(np.cbrt(volume.voxel_volume_mm3)))
        return made[protocol]

    def located(self, state: State, protocol: str) -> tuple[Located, float]:
        """Poses in one scan and the scan ready to be read, and the CPU-seconds it took.

        The poses are kept, because nothing but the modules that make them can change them.
        """
        folder = self.state / state.key
        kept = folder / f"{protocol}_poses_{_digest(_LOCATING)}.pkl"
        volume, _ = read_scan(folder, protocol)
        coverage, start = self.coverage(protocol), time.process_time()
        if kept.exists():
            found, pelvis, implant, cpu = pickle.loads(kept.read_bytes())
            scan = scan_of(self.inputs, volume, found, coverage)
            return Located(scan, found, pelvis, implant), cpu + time.process_time() - start
        side = str(self.case.config["side"])
        located = locate(self.inputs, volume, coverage, self.settings(state), side)
        cpu = time.process_time() - start
        made = time.process_time()
        scan_of(self.inputs, volume, located.found, coverage)
        without = cpu - (time.process_time() - made)
        kept.write_bytes(pickle.dumps((located.found, located.pelvis, located.implant, without), protocol=5))
        return located, cpu

    def place(self, located: Located) -> Place:
        """The implant in the pelvis."""
        return Place.of(located.pelvis, located.implant, self.inputs.centroid_mm)

    def baseline(self, state: State, protocol: str) -> Baseline:
        """The baseline's scan by the same protocol."""
        base = State(state.case, "m0", "baseline", {**state.scan, "study_date": "2025-06-05"}, 0.1)
        made: dict[str, Baseline] = self.__dict__.setdefault("_baseline", {})
        if protocol not in made:
            located, _ = self.located(base, protocol)
            made[protocol] = Baseline("m0", 0.0, self.place(located), located.scan, [], None)
        return made[protocol]


def _digest(modules: tuple[str, ...]) -> str:
    folder = Path(scans.__file__).parent
    text = b"".join((folder / f"{name}.py").read_bytes() for name in modules)
    return hashlib.sha256(text).hexdigest()[:10]


def read(bench: Bench, state: State, protocol: str) -> dict[str, Any]:
    """What the analysis says about one scan, and what is true, by figure."""
    folder = bench.state / state.key
    baseline = bench.baseline(state, protocol)
    located, cpu_locate = bench.located(state, protocol)
    place, scan = bench.place(located), located.scan
    mine, theirs = (read_json(f / f"{protocol}.json") for f in (folder, bench.state / f"{state.case}_m0"))
    cpu = time.process_time()
    baseline = Baseline(
        baseline.name, baseline.months, baseline.place, baseline.scan,
        Protocol.of(mine, "none").differences(Protocol.of(theirs, "none")),
        theirs["header"]["kvp"],
    )  # fmt: skip
    settings = bench.settings(state)
    since = displacement(place, baseline.place)
    faces = read_faces(bench.inputs, scan, baseline, settings, since)
    lattice = read_lattice(bench.inputs, scan, baseline, settings, place, faces.faces)
    cpu = time.process_time() - cpu
    truth = json.loads((folder / "truth.json").read_text())
    with np.load(folder / "truth.npz") as arrays:
        grids = dict(arrays)
    return {
        "case": state.case,
        "state": state.name,
        "half": state.half,
        "protocol": protocol,
        "months": months(state),
        "fill_changed": state.scan["pores"]["fill_hu"] != 25.0,
        "cpu_s": {"locate": cpu_locate, "rest": cpu},
        "motion": _motion(since, truth),
        "pelvis": located.pelvis.as_json(),
        "implant": located.implant.as_json(),
        "faces": _faces(state, faces, grids, settings, truth),
        "lattice": lattice_entries(bench, lattice.figures, faces.faces, settings, grids, scan, baseline.scan),
        "sensitivity": plain(lattice.figures.get("sensitivity")),
    }


def _motion(since: Displacement, truth: dict[str, Any]) -> dict[str, Any]:
    """Error of the migration as vectors and what repeatability was claimed."""
    true = truth["relative_to_baseline"]
    shift = since.shift_lps_mm - np.array(true["migration_mm"])
    turn = since.turn_lps_deg - np.array(true["rotation_deg"])
    return {
        "error_mm": float(np.linalg.norm(shift)),
        "error_lps_mm": shift.tolist(),
        "error_deg": float(np.linalg.norm(turn)),
        "true_mm": true["migration_length_mm"],
        "true_deg": true["rotation_angle_deg"],
        "found_mm": since.norm_mm,
        "repeatability_mm": since.repeatability_mm,
        "repeatability_deg": since.repeatability_deg,
    }


def patch_truth(state: State, face: Face, grids: dict[str, np.ndarray]) -> FloatArray:
    """(P,) width in mm of the soft tissue between each patch and bone; NaN where no bone is opposite."""
    from scipy.spatial import cKDTree

    points, way = grids[f"{face.name}_points"], grids[f"{face.name}_way_mm"]
    soft = soft_width(state, face.name, way)
    _, nearest = cKDTree(points).query(face.lines.points)
    at = soft[nearest]
    out = np.full(face.lines.count, np.nan)
    for patch in range(face.lines.count):
        values = at[face.lines.patch == patch]
        if np.isfinite(values).mean() > 0.5:
            out[patch] = np.nanmedian(values)
    return out


def soft_width(state: State, face: str, way_mm: FloatArray) -> FloatArray:
    """(N,) width of soft tissue at points of a face from the way to the bone that the surgery left."""
    entry = state.scan["faces"].get(face)
    out = np.where(way_mm < OPPOSITE_MM, way_mm, np.nan)
    if entry is not None and entry["state"] == "lucent":
        out = np.maximum(out, entry["width_mm"])
    if entry is not None and entry["state"] == "fused":
        out = np.where(out <= entry["width_mm"], 0.0, out)
    return np.asarray(np.where(out < TOUCHING_MM, 0.0, out))


def _faces(
    state: State, read_: FacesRead, grids: dict[str, np.ndarray], settings: FollowupJob, truth: dict[str, Any]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for face in read_.faces:
        if face.name not in read_.readings:
            continue
        reading, host = read_.readings[face.name], read_.hosts[face.name]
        soft = patch_truth(state, face, grids)
        entry = state.scan["faces"].get(face.name)
        out[face.name] = {
            "figures": plain({k: v for k, v in read_.figures[face.name].items() if k != "doubt_learnt_from"}),
            "true_state": "as_placed" if entry is None else entry["state"],
            "truth": true_figures(soft, face.lines.patch_areas, settings, truth),
            "patches": {
                "area": face.lines.patch_areas.tolist(),
                "soft_mm": soft.tolist(),
                "limit_mm": reading.limit_mm.tolist(),
                "width_mm": reading.width_mm.tolist(),
                "lucent": reading.lucent.tolist(),
                "bone_seen": reading.bone_seen.tolist(),
                "readable": reading.readable(settings.grade.limit_max_mm).tolist(),
                "opposite": np.isfinite(host.gap_mm).tolist(),
                "evidence": reading.evidence.tolist(),
                "threshold_mm": naive.width(read_.profiles[face.name]).tolist(),
            },
        }
    return out


def true_figures(
    soft_mm: FloatArray, areas: FloatArray, settings: FollowupJob, truth: dict[str, Any]
) -> dict[str, Any]:
    """Bridged share, width and grade of a face by the same written rule, from the truth."""
    rules, known = settings.grade, np.isfinite(soft_mm)
    if not known.any():
        return {"grade": None}
    area, soft = areas[known], soft_mm[known]
    bridged = 100.0 * float(area[soft == 0.0].sum() / area.sum())
    order = np.argsort(soft)
    width = float(soft[order][np.searchsorted(np.cumsum(area[order]), area.sum() / 2.0)])
    if bridged < rules.bridged_min_pct or width >= rules.lucency_min_mm:
        grade = "not bridged"
        if width >= rules.lucency_min_mm:
            moved = truth["relative_to_baseline"]["migration_length_mm"] > rules.subsidence_max_mm
            grade = "IV" if moved else "III"
    else:
        grade = "I" if bridged >= rules.bridged_full_pct else "II"
    return {"bridged_pct": bridged, "lucency_mm": width, "grade": grade}


def lattice_entries(
    bench: Bench,
    figures: dict[str, Any],
    faces: list[Face],
    settings: FollowupJob,
    grids: dict[str, np.ndarray],
    now: Scan,
    base: Scan,
) -> list[dict[str, Any]]:
    """One entry per region of the lattice: what was read and what is true at the very same places."""
    if "bands" not in figures:
        return []
    rules, inputs = settings.lattice, bench.inputs
    places = ingrowth.porous_places(inputs.depths, inputs.implant.bounds_mm)
    region = ingrowth.porous_region(
        places, inputs.depths, faces,
        near_hardware(places, inputs.regions, rules.hardware_margin_mm),
        (rules.dense_margin_mm, rules.surface_margin_mm),
    )  # fmt: skip
    bone = pore_bone(region.places, grids)
    sampled = ingrowth.Sampled.of(region, now, base)
    assert sampled.base is not None
    entries = [("whole", figures, np.ones(len(bone), bool)), ("core", figures["core"], region.core)]
    for number, face in enumerate(faces):
        for band in figures["bands"][face.name]:
            inside = (region.face == number) & (region.depth_mm >= band["from_mm"])
            inside &= region.depth_mm < band["to_mm"]
            entries.append((f"{face.name} {band['from_mm']:g}-{band['to_mm']:g}", band, inside))
    return [
        {
            "region": name,
            "status": entry["status"],
            "read": entry.get("delta_bone_fraction"),
            "delta_hu": entry.get("delta_hu"),
            "interval": entry.get("interval"),
            "interval_same_filler": entry.get("interval_same_filler"),
            "error_hu": plain(entry.get("error_hu")),
            "noise_limited": bool(entry.get("noise_limited", False)),
            "true": float(bone[chosen].mean()) if chosen.any() else None,
            "places": int(chosen.sum()),
            "mixed": naive.mixed(sampled.now[chosen], sampled.share[chosen]) if chosen.any() else None,
            "difference": (
                naive.difference(sampled.now[chosen], sampled.base[chosen], sampled.share[chosen])
                if chosen.any()
                else None
            ),
        }
        for name, entry, chosen in entries
    ]


def pore_bone(places: FloatArray, grids: dict[str, np.ndarray]) -> FloatArray:
    """(N,) true share of bone in the pores at planned places."""
    from scipy import ndimage

    from implantflow.phantom.followup.faces import PORE_GRID_MM

    build = transform_points(grids["build_from_planning"], places)
    index = (build - grids["pore_origin_mm"]) / PORE_GRID_MM
    return np.asarray(
        ndimage.map_coordinates(grids["pore_bone"].astype(float), index[:, ::-1].T, order=1, mode="nearest")
    )
