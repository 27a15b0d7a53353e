# From an accepted print to the theatre: the release gate, the manufacturing traveller, the package.


def release_settings(wildcards):
    """What the release is told: its section, what is simulated, and the site's limits for the age of images."""
    case = CASES[wildcards.case]
    found = section("case", "purpose", "side", "release")(wildcards)
    found["simulated"] = {
        "patient": case.patient_is_simulated,
        "tumour": case.tumour_is_virtual,
        "print": case.simulated_print is not None,
    }
    found["imaging_max_age"] = SITE.imaging_max_age.model_dump(mode="json")
    return found


def release_gate_settings(wildcards):
    """The gate's settings, with its revision and whether that is the one the case releases."""
    release = CASES[wildcards.case].release
    found = gate_settings("release")(wildcards)
    found["gate"]["revision"] = wildcards.revision
    found["gate"]["put_forward"] = (
        release is not None and release.revision == wildcards.revision
    )
    found["gate"]["machined"] = inspected(wildcards).machined is not None
    return found


def released_machined(name):
    """Input function: a file of the inspection of the machined part that is released; none where none is machined."""

    def paths(wildcards):
        case = CASES[wildcards.case]
        kept = [r for r in case.inspect.revisions if r.id == case.release.revision]
        return machined_files(wildcards.case, kept, name)

    return paths


def of_each_print(name):
    """Input function: a file of each revision whose print was inspected."""
    return lambda w: [
        f"results/{w.case}/inspect/{r.id}/{name}"
        for r in CASES[w.case].inspect.revisions
    ]


def released(name):
    """Input function: a file of the build that is released."""
    return lambda w: f"results/{w.case}/build/{CASES[w.case].release.revision}/{name}"


def timepoint_files(pattern):
    """Input function: ``pattern`` filled for each time point of the tumour; those without a series give none."""

    def paths(wildcards):
        points = CASES[wildcards.case].tumour.timepoints
        found = [
            pattern.format(case=wildcards.case, name=t.name, series=t.series)
            for t in points
            if t.series is not None or "{series}" not in pattern
        ]
        return list(dict.fromkeys(found))

    return paths


rule gate_release:
    """Of an inspected print: refused when it was rejected, else released by those who sign for it."""
    input:
        subjects=lambda w: [
            f"results/{w.case}/{p}"
            for p in release_subjects(
                w.revision, machined=inspected(w).machined is not None
            )
        ],
        review=review_records("release"),
    output:
        gate="results/{case}/inspect/{revision}/gate.json",
    log:
        "results/{case}/logs/gate_release.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/gate_release.{revision}.tsv"
    params:
        case_dir=case_dir,
        settings=release_gate_settings,
        code=code("review.gate"),
    script:
        "../scripts/check_gate.py"


rule make_traveller:
    """The form that goes with the part: powder, build, and every step after it, to be filled and signed."""
    input:
        build=released("build.json"),
    output:
        form="results/{case}/release/traveller.html",
    log:
        "results/{case}/logs/make_traveller.log",
    benchmark:
        "results/{case}/benchmarks/make_traveller.tsv"
    params:
        case_dir=case_dir,
        settings=release_settings,
        code=code("release.stage"),
    script:
        "../scripts/make_traveller.py"


rule release_case:
    """Everything compared once more, then the package for the theatre with its documents."""
    input:
        implant="results/{case}/implant/implant.stl",
        implant_json="results/{case}/implant/implant.json",
        regions="results/{case}/implant/regions.json",
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        lattice="results/{case}/lattice/lattice.json",
        strength="results/{case}/strength/final/strength.json",
        plan=lambda w: f"{plan_in_force(w)}/plan.json",
        approved=approved_file("implant.stl"),
        prototype=approved_file("prototype.json"),
        tumour="results/{case}/tumour/tumour.json",
        tumour_stl="results/{case}/tumour/tumour.stl",
        masks=timepoint_files("results/{case}/tumour/{name}_mask.nii.gz"),
        image_manifests=timepoint_files("results/{case}/ingest/{series}/manifest.json"),
        labels="results/{case}/segment/labels.nii.gz",
        segment="results/{case}/segment/segment.json",
        bones=expand(
            "results/{{case}}/segment/{bone}.stl",
            bone=["sacrum", "hip_left", "hip_right", "l5"],
        ),
        ingest="results/{case}/ingest/ingest.json",
        manifest=lambda w: f"results/{w.case}/ingest/{CASES[w.case].ingest.planning_ct}/manifest.json",
        resolved="results/{case}/config.resolved.yaml",
        cli=released("build.cli"),
        themes=released("themes.json"),
        checks=released("checks.json"),
        builds=lambda w: [
            f"results/{w.case}/build/{r.id}/build.json"
            for r in CASES[w.case].build.revisions
        ],
        deviations=of_each_print("deviation.json"),
        pictures=of_each_print("deviation.png"),
        machined=released_machined("machined.json"),
        machined_pictures=released_machined("machined.png"),
        gates=lambda w: [
            f"results/{w.case}/segment/gate.json",
            f"results/{w.case}/prototype/{CASES[w.case].prototype.approved}/gate.json",
            f"results/{w.case}/design/gate.json",
            *of_each_print("gate.json")(w),
        ],
        form="results/{case}/release/traveller.html",
        traveller=lambda w: CASES[w.case].release.traveller or [],
    output:
        implant="results/{case}/release/implant.stl",
        dicom="results/{case}/release/implant.dcm",
        objects=directory("results/{case}/release/dicom"),
        cli="results/{case}/release/build/build.cli",
        themes="results/{case}/release/build/themes.json",
        checks="results/{case}/release/build/checks.json",
        build="results/{case}/release/build/build.json",
        inspection=directory("results/{case}/release/inspection"),
        strength="results/{case}/release/strength.json",
        lattice="results/{case}/release/lattice.json",
        traveller="results/{case}/release/traveller.json",
        label="results/{case}/release/label.html",
        label_svg="results/{case}/release/label.svg",
        history="results/{case}/release/device_history.json",
        history_page="results/{case}/release/device_history.html",
        signatures=directory("results/{case}/release/signatures"),
        release="results/{case}/release/release.json",
        manifest="results/{case}/release/manifest.json",
        checksums="results/{case}/release/SHA256SUMS",
    log:
        "results/{case}/logs/release_case.log",
    benchmark:
        "results/{case}/benchmarks/release_case.tsv"
    group:
        "report"
    resources:
        mem_mb=memory("release_case"),
        runtime=minutes("release_case"),
    params:
        case_dir=case_dir,
        settings=release_settings,
        code=code("release.stage"),
    script:
        "../scripts/release_case.py"
