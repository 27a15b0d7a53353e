# DICOM -> volumes in patient space, right or refused.


rule ingest_series:
    """Read one series by its positions, check it, and write it with its manifest."""
    input:
        dicom=lambda w: dicom_folder(w.case, w.series),
    output:
        volume="results/{case}/ingest/{series}/volume.nii.gz",
        manifest="results/{case}/ingest/{series}/manifest.json",
    log:
        "results/{case}/logs/ingest_series.{series}.log",
    benchmark:
        "results/{case}/benchmarks/ingest_series.{series}.tsv"
    params:
        case_dir=case_dir,
        settings=section(
            "purpose",
            series=lambda w: CASES[w.case]
            .ingest.series[w.series]
            .model_dump(mode="json"),
        ),
        code=code("ingest.stage"),
    script:
        "../scripts/ingest_series.py"


rule agree_series:
    """Stop the case when its series belong to different patients."""
    input:
        dicom=lambda w: [dicom_folder(w.case, s) for s in CASES[w.case].ingest.series],
        manifests=lambda w: [
            f"results/{w.case}/ingest/{s}/manifest.json"
            for s in CASES[w.case].ingest.series
        ],
        resolved="results/{case}/config.resolved.yaml",
    output:
        ingest="results/{case}/ingest/ingest.json",
    log:
        "results/{case}/logs/agree_series.log",
    benchmark:
        "results/{case}/benchmarks/agree_series.tsv"
    params:
        case_dir=case_dir,
        settings=section("ingest", "case"),
        code=code("ingest.stage"),
    script:
        "../scripts/agree_series.py"
