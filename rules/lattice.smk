# The one field that every later stage evaluates, measured; and the design gate.


def stress_files(wildcards):
    """The solution that grades the lattice, where the case grades it by stress."""
    if CASES[wildcards.case].lattice.stress_grading is None:
        return {}
    folder = f"results/{wildcards.case}/strength/solid"
    return {
        "strength_solid": f"{folder}/strength.json",
        "strength_view": f"{folder}/view.npz",
    }


rule make_lattice:
    """Porous lattice with dense strut and faces as one field; density, pores and throats measured from it."""
    input:
        unpack(stress_files),
        implant="results/{case}/implant/implant.stl",
        regions="results/{case}/implant/regions.json",
        cell="results/{case}/strength/cell.json",
    output:
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        lattice="results/{case}/lattice/lattice.json",
        coupon="results/{case}/lattice/coupon.stl",
        preview="results/{case}/lattice/preview.stl",
        beams="results/{case}/lattice/beams.3mf",
    log:
        "results/{case}/logs/make_lattice.log",
    benchmark:
        "results/{case}/benchmarks/make_lattice.tsv"
    group:
        "implant"
    threads: 2
    resources:
        mem_mb=memory("make_lattice"),
        runtime=minutes("make_lattice"),
    params:
        case_dir=case_dir,
        # Without the revisions and what is built beside the part: another build re-makes no lattice.
        settings=section(
            "lattice",
            "purpose",
            build=lambda w: CASES[w.case].build.model_dump(
                mode="json",
                exclude={"revisions", "supports", "start_plate", "coupon"},
            ),
        ),
        code=code("lattice.stage"),
    script:
        "../scripts/make_lattice.py"


def design_gate_settings(wildcards):
    """The gate's settings, with the planned date of surgery and how old images may be by then."""
    release = CASES[wildcards.case].release
    found = gate_settings("design")(wildcards)
    found["imaging"] = {
        "surgery_date": None,
        "limits": None,
        "site": found["site"]["imaging_max_age"],
    }
    if release is not None:
        stated = release.model_dump(mode="json")
        found["imaging"]["surgery_date"] = stated["surgery_date"]
        found["imaging"]["limits"] = stated["imaging_max_age_days"]
    return found


rule gate_design:
    """Surgeon and engineer approve implant, field, strength and checks by digest, before anything is built."""
    input:
        subjects=lambda w: [
            f"results/{w.case}/{p}"
            for p in design_subjects(CASES[w.case].prototype.approved)
        ],
        review=review_records("design"),
        # Not signed for, but asked: how old the images of the plan are on the day of surgery.
        plan=lambda w: f"{plan_in_force(w)}/plan.json",
        # Not read: nothing is built before screws and rods are known to find room.
        construct=lambda w: construct_in_force(w),
        tumour="results/{case}/tumour/tumour.json",
        manifest=lambda w: planning_ct(w).replace("volume.nii.gz", "manifest.json"),
        ingest="results/{case}/ingest/ingest.json",
    output:
        gate="results/{case}/design/gate.json",
    log:
        "results/{case}/logs/gate_design.log",
    benchmark:
        "results/{case}/benchmarks/gate_design.tsv"
    params:
        case_dir=case_dir,
        settings=design_gate_settings,
        code=code("review.gate"),
    script:
        "../scripts/check_gate.py"
