# Resection and fixation plan, one folder per revision.


def plan_revision(wildcards):
    return next(
        r for r in CASES[wildcards.case].plan.revisions if r.id == wildcards.revision
    )


def planned_timepoints(pattern):
    """Input function: a tumour file of each time point that the revision is planned on."""

    def files(wildcards):
        every = [t.name for t in CASES[wildcards.case].tumour.timepoints]
        chosen = plan_revision(wildcards).timepoints or every
        return [f"results/{wildcards.case}/tumour/{name}{pattern}" for name in chosen]

    return files


def planned_tumour(wildcards):
    """The tumour of all time points, or the surfaces of those that the revision names."""
    if plan_revision(wildcards).timepoints is None:
        return [f"results/{wildcards.case}/tumour/tumour.stl"]
    return planned_timepoints("_surface.stl")(wildcards)


rule plan_resection:
    """Mid-plane, osteotomy planes, margin, specimen and remaining bone, screw corridors."""
    input:
        sacrum="results/{case}/segment/sacrum.stl",
        hip_left="results/{case}/segment/hip_left.stl",
        hip_right="results/{case}/segment/hip_right.stl",
        l5="results/{case}/segment/l5.stl",
        labels="results/{case}/segment/labels.nii.gz",
        segment="results/{case}/segment/segment.json",
        tumour_stl=planned_tumour,
        tumour="results/{case}/tumour/tumour.json",
        masks=planned_timepoints("_mask.nii.gz"),
        ct=planning_ct,
        gate="results/{case}/segment/gate.json",
    output:
        plan="results/{case}/plan/{revision}/plan.json",
        specimen="results/{case}/plan/{revision}/specimen.stl",
        remaining_bone="results/{case}/plan/{revision}/remaining_bone.stl",
        remaining_hip="results/{case}/plan/{revision}/remaining_hip.stl",
    log:
        "results/{case}/logs/plan_resection.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/plan_resection.{revision}.tsv"
    group:
        "planning"
    threads: 2
    resources:
        mem_mb=memory("plan_resection"),
        runtime=minutes("plan_resection"),
    params:
        case_dir=case_dir,
        settings=section(
            "side",
            "purpose",
            plan=lambda w: plan_revision(w).of_resection(),
            missing_levels=lambda w: plan_revision(w).missing_levels,
        ),
        code=code("plan.stage"),
    script:
        "../scripts/plan_resection.py"


def construct_in_force(wildcards):
    """The construct of the plan that the implant is made on, nothing when that plan has none."""
    folder = plan_in_force(wildcards)
    revision = next(
        r
        for r in CASES[wildcards.case].plan.revisions
        if r.id == folder.rsplit("/", 1)[1]
    )
    return [f"{folder}/construct.json"] if revision.fixation is not None else []


rule plan_construct:
    """Rods, connectors and cables on the screws, as closed solids; collisions are errors."""
    input:
        plan="results/{case}/plan/{revision}/plan.json",
        specimen="results/{case}/plan/{revision}/specimen.stl",
        remaining_bone="results/{case}/plan/{revision}/remaining_bone.stl",
        remaining_hip="results/{case}/plan/{revision}/remaining_hip.stl",
        sacrum="results/{case}/segment/sacrum.stl",
        hip_left="results/{case}/segment/hip_left.stl",
        hip_right="results/{case}/segment/hip_right.stl",
        l5="results/{case}/segment/l5.stl",
        labels="results/{case}/segment/labels.nii.gz",
        segment="results/{case}/segment/segment.json",
        gate="results/{case}/segment/gate.json",
    output:
        construct="results/{case}/plan/{revision}/construct.json",
        solids="results/{case}/plan/{revision}/construct.stl",
    log:
        "results/{case}/logs/plan_construct.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/plan_construct.{revision}.tsv"
    group:
        "planning"
    resources:
        mem_mb=memory("plan_construct"),
        runtime=minutes("plan_construct"),
    params:
        case_dir=case_dir,
        settings=section(
            plan=lambda w: plan_revision(w).model_dump(
                mode="json", exclude={"mirror"}
            ),
        ),
        code=code("plan.construct"),
    script:
        "../scripts/plan_construct.py"


rule plan_outer_shape:
    """The sacrum's outer surface, its changed part from the mirrored healthy side, with the map of which is which."""
    input:
        plan="results/{case}/plan/{revision}/plan.json",
        sacrum="results/{case}/segment/sacrum.stl",
        tumour_stl=planned_tumour,
        gate="results/{case}/segment/gate.json",
    output:
        outer="results/{case}/plan/{revision}/outer.stl",
        map="results/{case}/plan/{revision}/outer_map.npz",
        facts="results/{case}/plan/{revision}/outer.json",
    log:
        "results/{case}/logs/plan_outer_shape.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/plan_outer_shape.{revision}.tsv"
    group:
        "planning"
    resources:
        mem_mb=memory("plan_outer_shape"),
        runtime=minutes("plan_outer_shape"),
    params:
        case_dir=case_dir,
        settings=section(
            plan=lambda w: plan_revision(w).model_dump(
                mode="json", exclude={"fixation"}
            ),
        ),
        code=code("plan.outer"),
    script:
        "../scripts/plan_outer_shape.py"
