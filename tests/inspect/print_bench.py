"""A small part from design to print: field, build, simulated print, scan. Truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np

from implantflow.artifacts import read_json, read_stl, sha256_file, write_json, write_stl
from implantflow.build.stage import build_part
from implantflow.config.build import load_machine
from implantflow.field.make import make_field
from implantflow.field.placement import place_on_plate
from implantflow.field.shaping import Filling
from implantflow.ingest.stage import ingest_series
from implantflow.inspect.machined_stage import inspect_machined
from implantflow.inspect.stage import inspect_print
from implantflow.jobs import Job
from implantflow.phantom.machined_scan import simulate_machining
from implantflow.phantom.print_scan import simulate_print
from implantflow.solids.mesh import Solid
from implantflow.solids.stock import with_stock

BUILD: dict[str, Any] = {
    "machine": "arcam-a1",
    "orientation": {"up_lps": [0, 0, 1], "right_lps": [1, 0, 0], "support_gap_mm": 1.0},
    "limits": {
        "volume_error_pct": 1.0,
        "island_join_max_mm": 2.5,
        "island_area_max_mm2": 5.0,
        "crumb_max_mm3": 2.0,
    },
}
SIMULATED: dict[str, Any] = {
    "seed": 5,
    "shrink_pct": [1.0, 0.8, 0.9],
    "bow_mm": 0.08,
    "resolution_mm": 0.25,
    "surface": {
        "directions": 20,
        "noise_mm": 0.02,
        "missing_radius_mm": 5.0,
        "missing_towards_xyz": [-1.0, 0.0, 0.1],
    },
    "ct": {"voxel_mm": 0.35, "blur_mm": 0.2, "noise_hu": 100.0, "metal_hu": 2600.0},
}
LIMITS: dict[str, Any] = {
    "tolerance_mm": 0.15,
    "within_tolerance_min_pct": 90.0,
    "p95_max_mm": 0.2,
    "scale_error_max_pct": 0.2,
    "coverage_min_pct": 75.0,
}

#: The part stands a little askew, as anatomical parts do: none of its faces runs along the build's axes.
TILT = np.linalg.qr(np.array([[1.0, -0.09, 0.05], [0.08, 1.0, -0.04], [-0.06, 0.03, 1.0]]))[0]
TILT = TILT * np.sign(np.diag(TILT))


@dataclass(frozen=True)
class Bench:
    """A case folder with a designed part; builds, prints and inspects revisions of it."""

    folder: Path

    def _job(self, rule: str, **parts: Any) -> Job:
        return Job(rule=rule, case_dir=self.folder, wildcards={}, function="", code_digest="", **parts)

    def build(self, revision: str, scale_xyz: list[float]) -> Path:
        """Build a revision; its folder."""
        out = self.folder / "build" / revision
        out.mkdir(parents=True)
        names = {
            "cli": "build.cli",
            "obf": "build.obf",
            "orientation": "o.json",
            "themes": "t.json",
            "layers": "l.parquet",
        }
        names |= {"build": "build.json", "checks": "c.json"}
        settings = {**BUILD, "revision": {"id": revision, "scale_xyz": scale_xyz}}
        build_part(
            self._job(
                "build_part",
                inputs={"field": self.folder / "field.json", "field_data": self.folder / "field.npz"},
                outputs={key: out / name for key, name in names.items()},
                settings={"build": settings, "purpose": "demo", "case": "x", "side": "left"},
                threads=2,
            )
        )
        return out

    def print(self, revision: str, kind: str) -> Path:
        """Print and scan a revision in simulation; the scan's folder. The truth lies beside it as JSON."""
        scan = self.folder / "scan" / f"{revision}_{kind}"
        scan.parent.mkdir(exist_ok=True)
        simulate_print(
            self._job(
                "simulate_print",
                inputs={"cli": self.folder / "build" / revision / "build.cli"},
                outputs={"scan": scan},
                side_outputs={"truth": scan.with_suffix(".json")},
                settings={"simulated_print": SIMULATED, "kind": kind, "revision": revision},
                threads=2,
            )
        )
        return scan

    def ingest(self, scan: Path) -> Path:
        """The CT of a print through the front door; the volume."""
        volume = scan.with_suffix(".nii.gz")
        ingest_series(
            self._job(
                "ingest_series",
                inputs={"dicom": scan},
                outputs={
                    "volume": volume,
                    "invented": scan.with_suffix(".invented.nii.gz"),
                    "manifest": scan.with_suffix(".manifest.json"),
                },
                settings={"series": {"modality": "CT"}},
            )
        )
        return volume

    def inspect(self, revision: str, kind: str, scan: Path, **changes: Any) -> Path:
        """Inspect a scan; the folder with deviation.json, deviation.ply, deviation.png."""
        out = self.folder / "inspect" / f"{revision}_{kind}_{len(list(self.folder.glob('inspect/*')))}"
        out.mkdir(parents=True)
        scanned = {"id": revision, "kind": kind, "series": "print_x" if kind == "ct" else None}
        inputs = {
            "volume" if kind == "ct" else "scan": scan,
            "field": self.folder / "field.json",
            "field_data": self.folder / "field.npz",
            "build": self.folder / "build" / revision / "build.json",
            "regions": self.folder / "regions.json",
            "implant": self.folder / "implant.stl",
        }
        names = {"deviation": "deviation.json", "map": "deviation.ply", "picture": "deviation.png"}
        inspect_print(
            self._job(
                "inspect_print",
                inputs=inputs,
                outputs={key: out / name for key, name in names.items()},
                settings={
                    "inspect": {**LIMITS, **changes, "revision": scanned},
                    "purpose": "demo",
                    "simulated": True,
                },
                threads=2,
            )
        )
        return out

    def machine(self, name: str, revision: str, kind: str = "surface", **workshop: float) -> Path:
        """Machine and scan a revision in simulation; the scan's folder ``{name}_machined``, truth beside it."""
        scan = self.folder / "scan" / f"{name}_machined"
        scan.parent.mkdir(exist_ok=True)
        names = {"field": "field.json", "regions": "regions.json", "implant": "implant.stl"}
        names |= {"cli": f"build/{revision}/build.cli", "build": f"build/{revision}/build.json"}
        simulate_machining(
            self._job(
                "simulate_machining",
                inputs={key: self.folder / value for key, value in names.items()},
                outputs={"scan": scan},
                side_outputs={"truth": scan.with_suffix(".json")},
                settings={
                    "simulated_print": {**SIMULATED, "workshop": workshop},
                    "kind": kind,
                    "revision": revision,
                },
                threads=2,
            )
        )
        return scan

    def inspect_machined(self, revision: str, scan: Path, kind: str = "surface") -> dict[str, Any]:
        """Inspect the scan (of kind ct: the ingested volume) of a machined part; machined.json."""
        out = self.folder / "inspect" / f"{scan.name}_{len(list(self.folder.glob('inspect/*')))}"
        out.mkdir(parents=True)
        names = {
            "field": "field.json",
            "field_data": "field.npz",
            "regions": "regions.json",
            "implant": "implant.stl",
        }
        names["build"] = f"build/{revision}/build.json"
        series = "machined_x" if kind == "ct" else None
        machined = {"kind": kind, "series": series, "face_tolerance_mm": 0.15, "bore_tolerance_mm": 0.1}
        read = "volume" if kind == "ct" else "scan"
        inspect_machined(
            self._job(
                "inspect_machined",
                inputs={read: scan, **{key: self.folder / value for key, value in names.items()}},
                outputs={"machined": out / "machined.json", "picture": out / "machined.png"},
                settings={
                    "inspect": {
                        **LIMITS,
                        "revision": {"id": revision, "kind": "surface", "machined": machined},
                    },
                    "purpose": "demo",
                    "simulated": True,
                },
                threads=2,
            )
        )
        found: dict[str, Any] = read_json(out / "machined.json")
        return found

    def truth(self, revision: str, kind: str) -> dict[str, Any]:
        """What the simulator knows of a print."""
        found: dict[str, Any] = read_json(self.folder / "scan" / f"{revision}_{kind}.json")
        return found


def _shape() -> manifold3d.Manifold:
    """A lopsided part of 26 x 20 x 34 mm with a hole: nothing that could be laid on itself."""
    body = manifold3d.Manifold.cube((22.0, 18.0, 30.0))
    wedge = manifold3d.Manifold.cube((40.0, 40.0, 40.0)).rotate((0, 24, 0)).translate((17.0, -5.0, 6.0))
    knob = manifold3d.Manifold.sphere(6.0, 48).translate((6.0, 5.0, 29.0))
    hole = manifold3d.Manifold.cylinder(60.0, 2.0, 2.0, 48).rotate((90, 0, 0)).translate((8.0, 50.0, 9.0))
    slope = manifold3d.Manifold.cube((60.0, 40.0, 40.0)).rotate((-35, 0, 0)).translate((-10.0, 12.0, 14.0))
    return ((body - wedge - slope) + knob - hole).refine_to_length(1.5)


def make_bench(folder: Path, machining: dict[str, Any] | None = None) -> Bench:
    """Design the part in ``folder``, with stock where ``machining`` says so, and build its first revision.

    The revision of a part with stock is already scaled for the shrinkage of the simulated process.
    """
    mesh = _shape().to_mesh()
    upright = np.asarray(mesh.vert_properties, dtype=np.float64)[:, :3]
    side = np.flatnonzero(upright[mesh.tri_verts][:, :, 0].max(1) < 1e-3)
    write_stl(folder / "implant.stl", upright @ TILT.T, mesh.tri_verts, "test part")
    loaded, faces = read_stl(folder / "implant.stl")
    vertices = loaded.astype(np.float64)

    def tilted(*point: float) -> list[float]:
        found: list[float] = (TILT @ np.array(point)).tolist()
        return found

    regions = {
        "implant_stl_sha256": sha256_file(folder / "implant.stl"),
        "contact_faces": [{"name": "midline", "triangles": side.tolist(), "thickness_mm": 2.0}],
        "shell": {"thickness_mm": 0.0},
        "strut": {
            "segments": [
                {"start_lps_mm": tilted(4, 4, 4), "end_lps_mm": tilted(13, 13, 18), "radius_mm": 2.0}
            ]
        },
        "screw_holes": [
            {
                "name": "s1",
                "start_lps_mm": tilted(8.0, -5.0, 9.0),
                "end_lps_mm": tilted(8.0, 25.0, 9.0),
                "diameter_mm": 4.0,
                "boss_diameter_mm": 7.0,
            }
        ],
        "cable_passages": [],
        "machining": machining,
    }
    printed = None
    if machining is not None:
        solid = with_stock(Solid.of(vertices, faces), regions)[0]
        printed = solid.vertices, solid.faces
    machine = load_machine("arcam-a1")
    lowest = vertices if printed is None else printed[0]
    matrix = place_on_plate(lowest, (0, 0, 1), (1, 0, 0), 1.0, machine.envelope_mm, machine.layer_mm)
    field = make_field(
        vertices, faces, regions, matrix, Filling("diamond", 2.5, 0.67), 2.5, 0.67, 0.5, printed
    )
    facts = {"purpose": "demo", "implant_stl_sha256": regions["implant_stl_sha256"]}
    field.save(folder / "field.json", folder / "field.npz", facts)
    write_json(folder / "regions.json", regions)
    made = Bench(folder)
    shrunk = np.array(SIMULATED["shrink_pct"]) if machining else np.zeros(3)
    made.build("r1", (1.0 / (1.0 - shrunk / 100.0)).tolist())
    return made
