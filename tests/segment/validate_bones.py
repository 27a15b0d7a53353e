"""Bones and mid-plane against truth; writes docs/validation/bones.md. One case at a time, kept, can be stopped.

Run: python tests/segment/validate_bones.py [CASE ...]; cases: atlas:2 (a member, the prior made of the others), metal,
vhf:NAME (a disturbance), wrong:NAME (scans that must be refused), phantom. Without arguments all of them. What is done
is below results/validation/ and not done again while the code of the segmentation stays the same. ``--page-only`` does
nothing new; ``--earlier FOLDER`` fills what is missing from the rows of an earlier version, marked as such.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parent))
import bones_page
import disturb

from implantflow.artifacts import read_json, read_stl
from implantflow.codedigest import code_digest
from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.errors import ImplantflowError
from implantflow.plan.midplane import find_midplane
from implantflow.segment.core import Segmentation, segment_volume
from implantflow.segment.evidence import BORDER_HIDDEN, FROM_PRIOR
from implantflow.segment.prior import ShapePrior, read_atlas, read_template
from implantflow.solids.booleans import refined
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, even_points
from implantflow.volumes import Volume, read_volume

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
THRESHOLD_HU = 226.0
SETTINGS = SegmentConfig(threshold_hu=THRESHOLD_HU, prior=PriorConfig(kind="atlas", path="pelvis-atlas"))
#: Surface so near (mm) to voxels of a class of confidence.nii.gz belongs to that class.
NEAR_MM = 1.5
NAMES = {1: "sacrum", 2: "hip_left", 3: "hip_right", 4: "l5"}
_DEMO = "demo"

Row = dict[str, Any]


def cpu_s() -> float:
    """CPU-seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def atlas_without(member: int | None) -> ShapePrior:
    """The shape model of all members but one."""
    files = sorted((DATA / "pelvis-atlas" / "surface").glob("*/*.vtk"))
    return read_atlas([f for f in files if not f.stem.endswith((f"Hip{member}_cpd", f"Sacrum{member}_cpd"))])


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice overlap of two masks."""
    return float(2.0 * (a & b).sum() / max(int(a.sum() + b.sum()), 1))


def surface_errors(found: Any, truth: Solid) -> tuple[float, float]:
    """Mean and 95 % quantile (mm) of the distance from the found surface to the true one."""
    away = errors_at(evenly(found), truth)
    return float(away.mean()), float(np.quantile(away, 0.95))


def evenly(found: Any) -> NDArray[np.float64]:
    """Places (N, 3) on a found surface, about one every mm2: its vertices lie closer where it is rough."""
    solid = Solid.of(found.surface.vertices_lps_mm, found.surface.faces)
    return even_points(solid, int(solid.area_mm2))


def errors_at(points: NDArray[np.float64], truth: Solid) -> NDArray[np.float64]:
    """Distance (N,) in mm, capped at 20, from points (N, 3) to the true surface."""
    return np.asarray(np.abs(Surface(truth).nearest(points, 20.0, signed=False).distance_mm))


def split_errors(name: str, found: Any, truth: Solid, confidence: Volume) -> dict[str, list[float]]:
    """Mean, 95 % quantile (mm) and share of the surface (%) of all of a bone and of its parts by ``confidence``.

    A place is the prior's, or of a border that is not shown, within NEAR_MM of a voxel marked so.
    """
    points = evenly(found)
    away = errors_at(points, truth)
    prior, hidden = (_near(confidence, code, points) for code in (FROM_PRIOR, BORDER_HIDDEN))
    places = {
        name: np.ones(len(points), bool),
        f"{name}, shown": ~prior & ~hidden,
        f"{name}, border not shown": hidden & ~prior,
        f"{name}, from the prior": prior,
    }
    return {
        n: [float(away[p].mean()), float(np.quantile(away[p], 0.95)), 100.0 * float(p.mean())]
        for n, p in places.items()
        if p.any()
    }


def _near(codes: Volume, code: int, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether (N,) a voxel of this code has its centre within NEAR_MM of each point (N, 3)."""
    voxels = np.argwhere(codes.array == code)[:, ::-1]
    if len(voxels) == 0:
        return np.zeros(len(points), bool)
    distance, _ = cKDTree(codes.index_to_lps(voxels)).query(points, distance_upper_bound=NEAR_MM)
    return np.isfinite(distance)


def run_atlas(name: str) -> Row:
    """One member of the atlas as a simulated CT, segmented with a prior of the others."""
    import atlas_ct

    member = int(name)
    case = atlas_ct.make(member)
    segment_volume(case.ct, atlas_without(member), SETTINGS) if _cold() else None
    begun = cpu_s()
    prior = atlas_without(member)
    result = segment_volume(case.ct, prior, SETTINGS)
    row: Row = {"cpu_s": cpu_s() - begun, "members": prior.members}
    found, truth = result.labels.array, case.labels.array
    bright = case.ct.array >= THRESHOLD_HU
    for key, codes in (("right_pct", (1, 2, 3)), ("right_all_pct", (1, 2, 3, 4, 5, 6))):
        bone = np.isin(truth, codes) & bright
        row[key] = 100.0 * float((found == truth)[bone].mean())
    both = np.isin(truth, (1, 2, 3, 4)) & np.isin(found, (1, 2, 3, 4))
    row["name_pct"] = 100.0 * float((found == truth)[both].mean())
    row["dice"] = {n: dice(found == c, truth == c) for c, n in NAMES.items()}
    row["foreign_as_bone_pct"] = 100.0 * float(np.isin(found[truth == atlas_ct.FOREIGN], (1, 2, 3, 4)).mean())
    row["surface_mm"] = {
        n: surface_errors(result.solids[n].solid, case.solids[n]) for n in ("sacrum", "hip_left", "hip_right")
    }
    return row | _fit(result)


def _cold() -> bool:
    """Whether kernels may still have to be compiled in this process: they are not part of the time."""
    first = not getattr(_cold, "done", False)
    _cold.done = True  # type: ignore[attr-defined]
    return first


def _fit(result: Segmentation) -> Row:
    fit = result.report["fit"]
    return {
        k: fit[k]
        for k in ("cost_mm", "explained_fraction", "matched_fraction", "inside_fraction", "turned_p90_deg")
    }


def run_metal(name: str) -> Row:
    """The 3 mm CT with a femoral nail against masks of a model (silver standard)."""
    folder = DATA / "totalseg-example-ct-metal"
    begun = cpu_s()
    result = segment_volume(read_volume(folder / "example_ct.nii.gz"), atlas_without(None), SETTINGS)
    row: Row = {"cpu_s": cpu_s() - begun, "dice": {}}
    found = result.labels.array
    truth = np.zeros_like(found)
    for code, bone in ((1, "sacrum"), (2, "hip_left"), (3, "hip_right"), (4, "vertebrae_L5")):
        mask = read_volume(folder / "model_segmentations" / f"{bone}.nii.gz").array > 0
        truth[mask] = code
        row["dice"][NAMES[code]] = dice(found == code, mask)
    both = np.isin(truth, (1, 2, 3, 4)) & np.isin(found, (1, 2, 3, 4))
    row["name_pct"] = 100.0 * float((found == truth)[both].mean())
    return row | _fit(result)


def run_vhf(name: str) -> Row:
    """The Visible Human CT disturbed; its surfaces brought back and compared with the undisturbed ones."""
    change = disturb.CHANGES[name]
    base = disturb.base_ct(DATA)
    settings = SETTINGS.model_copy(update={"fit_threshold_hu": change.fit_threshold_hu or 200.0})
    scan = change.make(base)
    begun = cpu_s()
    result = segment_volume(scan, atlas_without(None), settings)
    row: Row = {"cpu_s": cpu_s() - begun} | _fit(result)
    masks = {n: disturb.inside(result.solids[n].solid, base, change) for n in NAMES.values()}
    kept = _folder() / "vhf-undisturbed.npz"
    if name == "as it is":
        np.savez_compressed(kept, **masks)
        return row
    if not kept.exists():
        run_vhf("as it is")
    undisturbed, seen = np.load(kept), change.seen(base)
    row["dice"] = {n: dice(mask & seen, undisturbed[n] & seen) for n, mask in masks.items()}
    return row


def run_wrong(name: str) -> Row:
    """A scan that must be refused: what answered, or the figures of the fit that got through."""
    scan = disturb.WRONG[name](disturb.base_ct(DATA))
    settings = SETTINGS.model_copy(update={"min_explained_fraction": 0.3, "min_matched_fraction": 0.3})
    try:
        segment_volume(scan, atlas_without(None), SETTINGS)
    except ImplantflowError as error:
        row: Row = {"refused": str(error).splitlines()[0]}
    else:
        return {"refused": ""}
    try:  # with the cut-offs lowered, to see by how much it is refused
        row |= _fit(segment_volume(scan, atlas_without(None), settings))
    except ImplantflowError as error:
        row["figures"] = str(error).splitlines()[0]
    return row


def run_phantom(name: str) -> Row:
    """The demo patient (simulated; made by `snakemake results/demo/segment/segment.json`) against its truth."""
    case, truth = ROOT / "results" / _DEMO, ROOT / "data" / "simulated" / _DEMO / "truth" / "patient"
    known = read_json(truth / "truth.json")
    config = yaml.safe_load((ROOT / "config" / "cases" / f"{_DEMO}.yaml").read_text(encoding="utf-8"))
    settings = SegmentConfig.model_validate(config["segment"])
    points = {n: np.array(p) for n, p in (settings.prior.landmarks or {}).items()}
    ct = read_volume(case / "ingest" / "ct_planning" / "volume.nii.gz")
    begun = cpu_s()
    result = segment_volume(ct, read_template(ROOT / "data" / "template" / "template.npz"), settings, points)
    row: Row = {"cpu_s": cpu_s() - begun, "surface_mm": {}}
    for bone in NAMES.values():
        vertices, faces = read_stl(truth / f"{bone}.stl")
        solid = result.solids[bone].solid
        row["surface_mm"] |= split_errors(bone, solid, Solid.of(vertices, faces), result.confidence)
    labels = read_volume(truth / "labels.nii.gz").array
    row["dice"] = {n: dice(result.labels.array == c, labels == c) for c, n in NAMES.items()}
    sacrum = result.solids["sacrum"].solid.surface
    middle = find_midplane(refined(Solid.of(sacrum.vertices_lps_mm, sacrum.faces), 3.0))
    wanted = known["midline_plane"]
    normal = np.array(wanted["normal_lps"])
    cosine = min(1.0, abs(float(normal @ np.asarray(middle.plane.normal))))
    centre = sacrum.vertices_lps_mm.mean(axis=0)
    off = abs(middle.plane.distance(centre[None])[0]) - abs(float((centre - wanted["point_lps_mm"]) @ normal))
    row["midplane"] = {
        "deg": float(np.degrees(np.arccos(cosine))),
        "mm": abs(float(off)),
        "residual_mm": middle.residual_rms_mm,
    }
    return row | _fit(result)


def cases() -> list[str]:
    """Every case, the quick ones first."""
    sys.path.insert(0, str(ROOT / "tests" / "plan"))
    import atlas

    wrong = [f"wrong:{n}" for n in disturb.WRONG]
    return ["metal", "phantom", *(f"vhf:{n}" for n in disturb.CHANGES), *wrong] + [
        f"atlas:{n}" for n in atlas.subjects()
    ]


RUNS: dict[str, Callable[[str], Row]] = {
    "atlas": run_atlas,
    "metal": run_metal,
    "vhf": run_vhf,
    "wrong": run_wrong,
    "phantom": run_phantom,
}


def _folder() -> Path:
    folder = ROOT / "results" / "validation" / f"bones-{code_digest('implantflow.segment.core')[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(folder: Path, case: str) -> Path:
    return folder / f"{case.replace(':', '-').replace(' ', '_')}.json"


def rows_of(folder: Path, earlier: Path | None) -> dict[str, Row]:
    """Rows of this version, by case, and with ``earlier`` set those of another where this one has none."""
    rows: dict[str, Row] = {}
    for case in cases():
        for source in (folder, earlier):
            if source is not None and case not in rows and _kept(source, case).exists():
                rows[case] = json.loads(_kept(source, case).read_text(encoding="utf-8"))
                rows[case]["earlier"] = source is earlier
    return rows


def main() -> None:
    """Do what is not there yet, then write the page of all that is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--page-only", action="store_true")
    parser.add_argument("--earlier", type=Path)
    given = parser.parse_args()
    for case in [] if given.page_only else given.cases or cases():
        path = _kept(_folder(), case)
        if not path.exists():
            kind, _, name = case.partition(":")
            row = RUNS[kind](name)
            path.write_text(json.dumps(row), encoding="utf-8")
            print(case, json.dumps(row), flush=True)
    page = bones_page.page(rows_of(_folder(), given.earlier))
    (ROOT / "docs" / "validation" / "bones.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
