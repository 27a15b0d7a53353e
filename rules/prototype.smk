# RP iterations: made, printed, reviewed; iteration n+1 names its parent and its corrections.


def parent_file(name):
    """Input function: a file of the iteration's parent, or nothing for a first iteration."""

    def files(wildcards):
        parent = iteration_of(wildcards).parent
        return [f"results/{wildcards.case}/prototype/{parent}/{name}"] if parent else []

    return files


def iteration_plan(name):
    return lambda w: f"results/{w.case}/plan/{iteration_of(w).plan}/{name}"


def outer_shape(name):
    """Input function: the plan's outer shape where it mirrors the healthy side, else the sacrum as segmented."""

    def files(wildcards):
        plan = iteration_of(wildcards).plan
        revision = next(r for r in CASES[wildcards.case].plan.revisions if r.id == plan)
        folder = f"results/{wildcards.case}"
        if revision.mirror is not None:
            return f"{folder}/plan/{plan}/{name}"
        return f"{folder}/segment/sacrum.stl" if name == "outer.stl" else []

    return files


def printer_of(wildcards):
    return CASES[wildcards.case].prototype.printer


def edited_files(wildcards):
    """The STL of each import_stl correction, in their order."""
    return [
        c.file for c in iteration_of(wildcards).corrections if c.kind == "import_stl"
    ]


rule make_prototype:
    """One RP iteration: the implant body and the bone it meets, printable, with its review sheet."""
    input:
        plan=iteration_plan("plan.json"),
        specimen=iteration_plan("specimen.stl"),
        remaining_bone=iteration_plan("remaining_bone.stl"),
        sacrum=outer_shape("outer.stl"),
        outer=outer_shape("outer.json"),
        hip=operated_hip,
        l5="results/{case}/segment/l5.stl",
        parent=parent_file("implant.stl"),
        parent_shape=parent_file("shape.npz"),
        parent_json=parent_file("prototype.json"),
        edited=edited_files,
    output:
        implant="results/{case}/prototype/{iteration}/implant.stl",
        bone="results/{case}/prototype/{iteration}/bone.stl",
        model="results/{case}/prototype/{iteration}/model.3mf",
        sheet="results/{case}/prototype/{iteration}/sheet.html",
        shape="results/{case}/prototype/{iteration}/shape.npz",
        prototype="results/{case}/prototype/{iteration}/prototype.json",
    log:
        "results/{case}/logs/make_prototype.{iteration}.log",
    benchmark:
        "results/{case}/benchmarks/make_prototype.{iteration}.tsv"
    group:
        "planning"
    threads: 2
    resources:
        mem_mb=memory("make_prototype"),
        runtime=minutes("make_prototype"),
    params:
        case_dir=case_dir,
        settings=section(
            "implant",
            "side",
            "case",
            "purpose",
            prototype=lambda w: iteration_of(w).model_dump(mode="json"),
            simulated=lambda w: CASES[w.case].patient_is_simulated,
        ),
        code=code("prototype.stage"),
    script:
        "../scripts/make_prototype.py"


rule print_prototype:
    """One RP iteration laid out for the case's printer: assembly, halves cut to show the fit, plates."""
    input:
        model="results/{case}/prototype/{iteration}/model.3mf",
        prototype="results/{case}/prototype/{iteration}/prototype.json",
    output:
        folder=directory("results/{case}/prototype/{iteration}/print"),
        record="results/{case}/prototype/{iteration}/print.json",
    log:
        "results/{case}/logs/print_prototype.{iteration}.log",
    benchmark:
        "results/{case}/benchmarks/print_prototype.{iteration}.tsv"
    group:
        "planning"
    resources:
        mem_mb=memory("print_prototype"),
        runtime=minutes("print_prototype"),
    params:
        case_dir=case_dir,
        settings=section("case", "purpose", printer=printer_of),
        code=code("prototype.print_stage"),
    script:
        "../scripts/print_prototype.py"


rule slice_prototype:
    """G-code of the plates, with time and material, where the slicer is installed."""
    input:
        folder="results/{case}/prototype/{iteration}/print",
        record="results/{case}/prototype/{iteration}/print.json",
    output:
        folder=directory("results/{case}/prototype/{iteration}/gcode"),
        record="results/{case}/prototype/{iteration}/gcode.json",
    log:
        "results/{case}/logs/slice_prototype.{iteration}.log",
    benchmark:
        "results/{case}/benchmarks/slice_prototype.{iteration}.tsv"
    resources:
        mem_mb=memory("slice_prototype"),
        runtime=minutes("slice_prototype"),
    params:
        case_dir=case_dir,
        settings=section(printer=printer_of),
        code=code("prototype.print_stage"),
    script:
        "../scripts/slice_prototype.py"


rule gate_review:
    """An RP iteration is approved by name, or the implant is not made from it."""
    input:
        subjects=lambda w: [
            f"results/{w.case}/{p}" for p in prototype_subjects(w.iteration)
        ],
        review=review_records(lambda w: w.iteration),
    output:
        gate="results/{case}/prototype/{iteration}/gate.json",
    log:
        "results/{case}/logs/gate_review.{iteration}.log",
    benchmark:
        "results/{case}/benchmarks/gate_review.{iteration}.tsv"
    params:
        case_dir=case_dir,
        settings=gate_settings("review", lambda w: w.iteration),
        code=code("review.gate"),
    script:
        "../scripts/check_gate.py"
