# DICOM -> volumes in patient space, right or refused.


def manifests(wildcards, names):
    return [f"results/{wildcards.case}/ingest/{s}/manifest.json" for s in names]


def agree_settings(names):
    """Params function: only the series that are compared, so that adding a later scan re-runs nothing earlier."""

    def settings(wildcards):
        case = CASES[wildcards.case]
        found = section("ingest", "case")(wildcards)
        kept = names(case)
        found["ingest"]["series"] = {
            name: entry
            for name, entry in found["ingest"]["series"].items()
            if name in kept
        }
        return found

    return settings


def outlines(case):
    """(file, series) of what another program drew on this case's scans."""
    points = case.tumour.timepoints if case.tumour else []
    found = [(t.file, t.series) for t in points if t.method == "mask"]
    if case.segment.prior.kind == "label_map":
        found.append((case.segment.prior.path, case.ingest.planning_ct))
    return found


def preoperative_settings(wildcards):
    found = agree_settings(lambda case: case.preoperative_series)(wildcards)
    return {**found, "drawn_on": [s for _, s in outlines(CASES[wildcards.case])]}


def with_planning_ct(wildcards):
    """The planning CT and the follow-up scans, which must be of the same patient."""
    case = CASES[wildcards.case]
    return [case.ingest.planning_ct, *case.followup_series]


def sealed_link(name):
    """Params function: where the way back to the patient is written, outside the results."""
    return lambda w: {"link": f"{SITE.sealed_root}/{w.case}/link/{name}.json"}


rule fetch_study:
    """Fetch a study from an image archive into the sealed folder, whole or not at all."""
    input:
        study=f"{SITE.sealed_root}/studies/{{study}}.json",
        site=ancient("config/site.yaml"),
    output:
        dicom=directory(f"{SITE.sealed_root}/{{case}}/studies/{{study}}"),
    log:
        "results/{case}/logs/fetch_study.{study}.log",
    benchmark:
        "results/{case}/benchmarks/fetch_study.{study}.tsv"
    wildcard_constraints:
        study="[a-z][a-z0-9_]*",
    resources:
        mem_mb=memory("fetch_study"),
        runtime=minutes("fetch_study"),
    params:
        case_dir=case_dir,
        settings={},
        code=code("ingest.stage"),
    script:
        "../scripts/fetch_study.py"


rule ingest_series:
    """Read one series by its positions, check it, and write it with its manifest."""
    input:
        dicom=lambda w: dicom_folder(w.case, w.series),
    output:
        volume="results/{case}/ingest/{series}/volume.nii.gz",
        invented="results/{case}/ingest/{series}/invented.nii.gz",
        manifest="results/{case}/ingest/{series}/manifest.json",
    log:
        "results/{case}/logs/ingest_series.{series}.log",
    benchmark:
        "results/{case}/benchmarks/ingest_series.{series}.tsv"
    group:
        series_group
    resources:
        mem_mb=memory("ingest_series"),
        runtime=minutes("ingest_series"),
    params:
        case_dir=case_dir,
        settings=section(
            "purpose",
            series=series_settings,
        ),
        code=code("ingest.stage"),
    script:
        "../scripts/ingest_series.py"


rule agree_series:
    """Stop the case when its series belong to different patients."""
    input:
        dicom=lambda w: [
            dicom_folder(w.case, s) for s in CASES[w.case].preoperative_series
        ],
        manifests=lambda w: manifests(w, CASES[w.case].preoperative_series),
        outlines=lambda w: [path for path, _ in outlines(CASES[w.case])],
    output:
        ingest="results/{case}/ingest/ingest.json",
    log:
        "results/{case}/logs/agree_series.log",
    benchmark:
        "results/{case}/benchmarks/agree_series.tsv"
    group:
        "images"
    resources:
        mem_mb=memory("agree_series"),
        runtime=minutes("agree_series"),
    params:
        case_dir=case_dir,
        settings=preoperative_settings,
        side=sealed_link("preoperative"),
        code=code("ingest.stage"),
    script:
        "../scripts/agree_series.py"


rule agree_followup:
    """Stop the follow-up when its scans are not of the patient who was planned."""
    input:
        dicom=lambda w: [dicom_folder(w.case, s) for s in with_planning_ct(w)],
        manifests=lambda w: manifests(w, with_planning_ct(w)),
    output:
        ingest="results/{case}/ingest/followup.json",
    log:
        "results/{case}/logs/agree_followup.log",
    benchmark:
        "results/{case}/benchmarks/agree_followup.tsv"
    group:
        "followup"
    resources:
        mem_mb=memory("agree_followup"),
        runtime=minutes("agree_followup"),
    params:
        case_dir=case_dir,
        settings=agree_settings(
            lambda case: [case.ingest.planning_ct, *case.followup_series]
        ),
        side=sealed_link("followup"),
        code=code("ingest.stage"),
    script:
        "../scripts/agree_series.py"
