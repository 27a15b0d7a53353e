"""Door of the stage plan: bones and tumour in, planes, solids and corridors out."""

from __future__ import annotations

from functools import partial

from implantflow import artifacts
from implantflow.config.plan import PlanRevision
from implantflow.jobs import Job, progress
from implantflow.parallel import side_by_side
from implantflow.plan import sacrum, vertebra
from implantflow.plan.extent import planned_on, read_case
from implantflow.plan.figures import figures, origins
from implantflow.plan.margin import require_margin, timepoint_margins
from implantflow.plan.screws import plan_screw, require_apart, within_scan
from implantflow.plan.sides import agree_on_side
from implantflow.solids.booleans import merged
from implantflow.solids.mesh import EDGE_MM, write_solid


def plan_resection(job: Job) -> None:
    """Plan one revision of the resection (rule ``plan_resection``).

    Inputs ``sacrum``, ``hip_left``, ``hip_right``, ``l5``, ``tumour_stl`` (one or several STL, patient LPS mm; their
    union is kept clear of), ``tumour`` (JSON), ``masks`` (tumour masks in planning space), ``labels``, ``segment``
    (JSON) and ``ct`` (may be absent: then there is no vertebra above L5 and no density). Outputs ``plan`` (JSON),
    ``specimen``, ``remaining_bone`` and ``remaining_hip`` (STL). Settings ``plan`` (one revision, without rods and
    outer shape), ``missing_levels``, ``side``, ``purpose``.

    Raises
    ------
    GeometryError
        Sides disagree, a plane is not determined, volumes do not add up.
    QualityGateError
        The margin is not kept, a tract is left behind, screws collide, or the implant's screw does not fit.
    """
    revision = PlanRevision.model_validate(job.settings["plan"])
    case = read_case(job, revision)
    progress("landmarks and osteotomies", done=0.1)
    stage = vertebra if revision.procedure == "spondylectomy" else sacrum
    planned, anatomy = stage.plan(case)
    margins = require_margin(planned.cuts, case.tumour.vertices, revision)
    evidence = {"tumour_centroid": planned.facts.pop("tumour_side_mm"), "specimen_centroid": None}
    if revision.procedure == "hemisacrectomy":
        evidence["specimen_centroid"] = agree_on_side(
            case.side, "specimen", planned.specimen, planned.middle.plane
        )
    record = {
        "revision": revision.id,
        "frame": "patient_lps",
        "purpose": job.settings["purpose"],
        "procedure": revision.procedure,
        "side": case.side,
        "side_evidence_mm": evidence,
        **figures(case, planned, margins),
        "imaging": planned_on(artifacts.read_json(job.input("tumour")), revision),
        "timepoint_margins_mm": timepoint_margins(job, planned.cuts),
    }
    title = f"implantflow {{}} {case.side} patient LPS mm"
    write_solid(job.outputs["specimen"], planned.specimen, title.format("specimen"), EDGE_MM)
    # Without a sacrum the pelvis is what remains.
    rest = planned.remaining or merged([planned.hips["left"], planned.hips["right"]])
    write_solid(job.outputs["remaining_bone"], rest, title.format("remaining bone"), EDGE_MM)
    if "remaining_hip" in job.outputs:
        write_solid(job.outputs["remaining_hip"], planned.hips[case.side], title.format("remaining hip"))

    progress("screw corridors", done=0.6)
    wanted, record["corridors_left_out"] = within_scan(revision, anatomy, job.settings["missing_levels"])
    tasks = [partial(plan_screw, config, anatomy) for config in wanted]
    record["corridors"] = side_by_side(tasks, job.threads)
    require_apart(record["corridors"])
    record["origins"] = origins(record)
    artifacts.write_json(job.outputs["plan"], record)
