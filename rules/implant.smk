# The final implant: what was approved, plus what makes it an implant.


rule design_implant:
    """Screw hole, cable passages, contact faces and dense strut in the approved shape; fit figures."""
    input:
        approved=approved_file("implant.stl"),
        prototype=approved_file("prototype.json"),
        gate=approved_file("gate.json"),
        plan=lambda w: f"{plan_in_force(w)}/plan.json",
        specimen=lambda w: f"{plan_in_force(w)}/specimen.stl",
        remaining_bone=lambda w: f"{plan_in_force(w)}/remaining_bone.stl",
        hip=operated_hip,
        l5="results/{case}/segment/l5.stl",
    output:
        implant="results/{case}/implant/implant.stl",
        regions="results/{case}/implant/regions.json",
        implant_json="results/{case}/implant/implant.json",
    log:
        "results/{case}/logs/design_implant.log",
    benchmark:
        "results/{case}/benchmarks/design_implant.tsv"
    group:
        "implant"
    threads: 2
    resources:
        mem_mb=memory("design_implant"),
        runtime=minutes("design_implant"),
    params:
        case_dir=case_dir,
        settings=section("implant", "side", "purpose"),
        code=code("implant.stage"),
    script:
        "../scripts/design_implant.py"
