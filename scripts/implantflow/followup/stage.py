"""Stage function of the follow-up: motion, fusion and ingrowth from one CT after the operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.artifacts import plain, read_json, write_json
from implantflow.config.followup import FollowupJob
from implantflow.errors import ConfigError, ProvenanceError
from implantflow.followup.artefact import artefact
from implantflow.followup.compare import Baseline, read_faces
from implantflow.followup.design import Coverage
from implantflow.followup.found import Found, Protocol
from implantflow.followup.inputs import Inputs
from implantflow.followup.lattice_change import read_lattice
from implantflow.followup.motion import Displacement, Place, displacement
from implantflow.followup.objects import write_objects
from implantflow.followup.outcome import changes, read_outcomes
from implantflow.followup.pictures import write_pictures
from implantflow.followup.scans import locate, scan_of
from implantflow.followup.screws import Earlier, read_screws
from implantflow.followup.second_reading import read_again
from implantflow.followup.table import write_table
from implantflow.followup.transforms import write_transform
from implantflow.jobs import Job, progress
from implantflow.volumes import Volume, read_volume

_WITHOUT_BASELINE = (
    "no baseline scan: what has changed since the operation cannot be told from how it was then"
)


def read_followup(job: Job) -> None:
    """Read one CT after the operation; write poses, table of the faces, figures and pictures.

    Settings: ``followup`` (:class:`FollowupJob`), ``case``, ``side``, ``purpose``, ``simulated``,
    ``scan_date``.

    Raises
    ------
    ImplantflowError
        Pelvis or implant are not found with certainty, files do not belong together, or the outcome table is
        damaged. What the scan cannot show is no error: it is "not determinable", with the reason.
    """
    settings = FollowupJob.model_validate(job.settings["followup"])
    inputs = Inputs.of(job)
    earlier = _baseline_file(job, settings, inputs)
    volume = read_volume(job.input("ct"))
    protocol = Protocol.of(read_json(job.input("manifest")), settings.timepoint.artefact_reduction)
    coverage = Coverage.of(inputs.field, float(np.cbrt(volume.voxel_volume_mm3)))
    located = locate(inputs, volume, coverage, settings, str(job.settings["side"]))
    place = Place.of(located.pelvis, located.implant, inputs.centroid_mm)
    before_ct = None if earlier is None else read_volume(job.input("baseline_ct"))
    baseline = _baseline(job, earlier, before_ct, inputs, coverage, protocol)
    since = None if baseline is None else displacement(place, baseline.place)
    progress("faces")
    faces = read_faces(inputs, located.scan, baseline, settings, since)
    again = read_again(inputs, volume, located.scan, faces, baseline, before_ct, settings, since)
    progress("lattice")
    lattice = read_lattice(inputs, located.scan, baseline, settings, place, faces.faces)
    progress("screws")
    screws = read_screws(
        inputs.plan,
        volume,
        located.found,
        _earlier(earlier, before_ct, baseline),
        settings.metal.threshold_hu,
        settings.screws,
    )
    write_transform(job.outputs["registration"], located.found.scan_from_planning)
    write_transform(job.outputs["implant_pose"], located.found.scan_from_design)
    write_table(job.outputs["faces"], faces.rows() + lattice.rows(faces.faces))
    progress("pictures")
    write_pictures(
        {name: job.outputs[name] for name in ("axial", "coronal", "sagittal", "face_map")},
        inputs,
        volume,
        located.scan,
        faces,
        settings.grade,
        bool(job.settings["simulated"]),
        settings.timepoint.name,
        None if again is None else again.image,
    )
    record = plain(
        {
            "name": settings.timepoint.name,
            "months": settings.timepoint.months,
            "baseline": settings.timepoint.baseline,
            "artefact_reduction": settings.timepoint.artefact_reduction,
            "simulated": bool(job.settings["simulated"]),
            "purpose": job.settings["purpose"],
            **_motion(place, since, settings),
            "faces": faces.figures,
            "second_reading": None if again is None else again.figures,
            "lattice": lattice.figures,
            "screws": screws,
            "metal": artefact(volume, settings.metal.threshold_hu),
            "pelvis": located.pelvis.as_json(),
            "implant": located.implant.as_json(),
            "baseline_comparison": _comparison(baseline),
            "outcomes": _outcomes(job, settings),
            "place": place.as_json(),
            "poses": located.found.as_json(),
            "implant_stl_sha256": inputs.digest,
            "rules": {
                "faces": settings.faces.model_dump(),
                "grade": settings.grade.model_dump(),
                "lattice": settings.lattice.model_dump(),
                "screws": None if settings.screws is None else settings.screws.model_dump(),
            },
            "not_determinable": _missing(baseline, lattice.figures),
        }
    )
    dicom = write_objects(job, record, located.found.scan_from_planning)
    write_json(job.outputs["followup"], {**record, "dicom": dicom})


def _baseline_file(job: Job, settings: FollowupJob, inputs: Inputs) -> dict[str, Any] | None:
    """The baseline's followup.json, checked before any work is done; None where the case has none."""
    path = job.optional_input("baseline")
    if (path is None) != (settings.timepoint.baseline is None):
        raise ConfigError(
            "the job's baseline file and the time point's baseline do not agree",
            where=f"followup.timepoints.{settings.timepoint.name}.baseline",
        )
    if path is None:
        return None
    data: dict[str, Any] = read_json(path)
    if data.get("name") != settings.timepoint.baseline or data.get("implant_stl_sha256") != inputs.digest:
        raise ProvenanceError(
            f"the baseline's file is of time point {data.get('name')} or of another implant",
            where=str(path),
            fix="run the follow-up of the baseline time point again",
        )
    return data


def _baseline(
    job: Job,
    data: dict[str, Any] | None,
    ct: Volume | None,
    inputs: Inputs,
    coverage: Coverage,
    protocol: Protocol,
) -> Baseline | None:
    """The baseline as it was read, with its scan."""
    if data is None or ct is None:
        return None
    found = Found.from_json(data["poses"])
    theirs = Protocol.of(read_json(job.input("baseline_manifest")), str(data["artefact_reduction"]))
    return Baseline(
        str(data["name"]),
        float(data["months"]),
        Place.from_json(data["place"]),
        scan_of(inputs, ct, found, coverage),
        protocol.differences(theirs),
        theirs.kvp,
    )


def _earlier(data: dict[str, Any] | None, ct: Volume | None, baseline: Baseline | None) -> Earlier | None:
    """The whole scan of the baseline: screws stand beyond what is kept around the implant."""
    if data is None or ct is None or baseline is None:
        return None
    return Earlier(ct, Found.from_json(data["poses"]), not baseline.differences)


def _motion(place: Place, since: Displacement | None, settings: FollowupJob) -> dict[str, Any]:
    """The contract's keys of motion: since the baseline; and against the plan, which is no migration."""
    placement = displacement(place, None)
    found: dict[str, Any] = {
        "migration_mm": None,
        "rotation_deg": None,
        "repeatability_mm": placement.repeatability_mm,
        "migration_status": "not determinable",
        "migration_reason": _WITHOUT_BASELINE,
    }
    if since is not None:
        found |= {
            "migration_mm": since.norm_mm,
            "rotation_deg": since.angle_deg,
            "repeatability_mm": since.repeatability_mm,
            "migration_status": "determined",
            "migration_reason": None,
            "migration": since.as_json(),
            "subsidence_flag": since.norm_mm > settings.grade.subsidence_max_mm,
        }
    found["against_plan"] = placement.as_json()
    found["against_plan"]["meaning"] = "how it was placed at the operation and any motion since, together"
    found["repeatability_method"] = (
        "1.96 standard errors of the poses of implant and pelvis (of both time points), from the scatter of what "
        "blocks of neighbouring voxels say (clustered sandwich estimator); a bias common to all blocks is not in it"
    )
    return found


def _comparison(baseline: Baseline | None) -> dict[str, Any]:
    """Whether HU of the two scans may be compared, and why not."""
    if baseline is None:
        return {"baseline": None, "hu_comparable": False, "reasons": [_WITHOUT_BASELINE]}
    return {
        "baseline": baseline.name,
        "hu_comparable": not baseline.differences,
        "reasons": baseline.differences,
    }


def _missing(baseline: Baseline | None, lattice: dict[str, Any]) -> list[dict[str, str]]:
    """What this scan cannot show, and why."""
    found = []
    if baseline is None:
        found.append({"figure": "migration_mm, rotation_deg", "reason": _WITHOUT_BASELINE})
    if lattice["status"] != "determined":
        found.append({"figure": "lattice.delta_hu, lattice.delta_bone_fraction", "reason": lattice["reason"]})
    return found


def _outcomes(job: Job, settings: FollowupJob) -> dict[str, Any] | None:
    """The outcome table up to this time point; None where the case has none."""
    path = job.optional_input("outcomes")
    if path is None:
        return None
    rows = [row for row in read_outcomes(path) if row["months"] <= settings.timepoint.months + 1.0]
    return {"rows": rows, "changes": changes(rows)}
