"""Stages in the order of a case: their rules, what each needs, which a case may lack."""

from __future__ import annotations

#: Stage of every rule, so that a failure is shown where it belongs.
STAGE_OF_RULE = {
    "simulate_patient": "ingest",
    "simulate_print": "inspect",
    "simulate_followup": "followup",
    "ingest_series": "ingest",
    "agree_series": "ingest",
    "make_template": "segment",
    "segment_bones": "segment",
    "gate_labels": "segment",
    "measure_tumour": "tumour",
    "plan_resection": "plan",
    "plan_construct": "plan",
    "plan_outer_shape": "plan",
    "make_prototype": "prototype",
    "print_prototype": "prototype",
    "slice_prototype": "prototype",
    "gate_review": "prototype",
    "design_implant": "implant",
    "homogenise_cell": "strength",
    "size_strut": "strength",
    "check_strength": "strength",
    "check_calculix": "strength",
    "make_lattice": "lattice",
    "gate_design": "build",
    "build_part": "build",
    "simulate_machining": "inspect",
    "inspect_print": "inspect",
    "inspect_machined": "inspect",
    "gate_release": "release",
    "make_traveller": "release",
    "release_case": "release",
    "read_followup": "followup",
    "agree_followup": "followup",
    "audit_case": "audit",
}

#: What each stage needs done before its own result counts.
NEEDS: dict[str, tuple[str, ...]] = {
    "ingest": (),
    "segment": ("ingest",),
    "tumour": ("ingest", "segment"),
    "plan": ("segment", "tumour"),
    "prototype": ("plan",),
    "implant": ("prototype",),
    "lattice": ("implant",),
    "strength": ("implant", "lattice"),
    "build": ("implant", "lattice", "strength"),
    "inspect": ("build",),
    "release": ("inspect",),
    "followup": ("lattice",),
    "audit": (),
}

#: Stages in the order of the case.
STAGES = tuple(NEEDS)

#: Stages that a case may lack or end before, with what a person would add.
OPTIONAL = {
    **{
        stage: f"the section `{stage}` to the case config"
        for stage in ("tumour", "plan", "prototype", "implant", "lattice", "strength", "build")
    },
    "inspect": "a scan of the print and its section `inspect` in the case config",
    "release": "an accepted inspection and the section `release` in the case config",
    "followup": "follow-up scans and the section `followup` in the case config",
}
