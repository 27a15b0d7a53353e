# Resection and fixation plan, one folder per revision.


rule plan_resection:
    """Mid-plane, osteotomy planes, margin, specimen and remaining bone, screw corridors."""
    input:
        sacrum="results/{case}/segment/sacrum.stl",
        hip_left="results/{case}/segment/hip_left.stl",
        hip_right="results/{case}/segment/hip_right.stl",
        l5="results/{case}/segment/l5.stl",
        labels="results/{case}/segment/labels.nii.gz",
        segment="results/{case}/segment/segment.json",
        tumour_stl="results/{case}/tumour/tumour.stl",
        tumour="results/{case}/tumour/tumour.json",
        masks=lambda w: [
            f"results/{w.case}/tumour/{t.name}_mask.nii.gz"
            for t in CASES[w.case].tumour.timepoints
        ],
        gate="results/{case}/segment/gate.json",
    output:
        plan="results/{case}/plan/{revision}/plan.json",
        specimen="results/{case}/plan/{revision}/specimen.stl",
        remaining_bone="results/{case}/plan/{revision}/remaining_bone.stl",
    log:
        "results/{case}/logs/plan_resection.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/plan_resection.{revision}.tsv"
    threads: 2
    params:
        case_dir=case_dir,
        settings=section(
            "side",
            "purpose",
            plan=lambda w: next(
                r.model_dump(mode="json")
                for r in CASES[w.case].plan.revisions
                if r.id == w.revision
            ),
        ),
        code=code("plan.stage"),
    script:
        "../scripts/plan_resection.py"
