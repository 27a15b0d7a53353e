# The report of each case, and the table over cases.


def report_files(name):
    files = [f"results/{name}/report/index.html", f"results/{name}/report/case.json"]
    case = CASES[name]
    if case.simulated or case.simulated_print or case.simulated_followup:
        files.append(f"results/{name}/report/comparison.json")
    return files


def provisional_page(wildcards):
    """The mark beside a page that was made after a failure: it makes the pipeline's own page due."""
    mark = f"results/{wildcards.case}/report/provisional.txt"
    return [mark] if Path(mark).exists() else []


rule resolve_config:
    """The case config with every default filled, kept beside the results."""
    output:
        resolved="results/{case}/config.resolved.yaml",
    log:
        "results/{case}/logs/resolve_config.log",
    params:
        case_dir=case_dir,
        settings=lambda w: {"config": CASES[w.case].model_dump(mode="json")},
        code=code("config.resolve"),
    script:
        "../scripts/resolve_config.py"


rule report_case:
    """One offline page and one JSON per case, from whatever the stages wrote."""
    input:
        verify="results/{case}/audit/verify.json",
        provisional=provisional_page,
    output:
        index="results/{case}/report/index.html",
        case_json="results/{case}/report/case.json",
    log:
        "results/{case}/logs/report_case.log",
    benchmark:
        "results/{case}/benchmarks/report_case.tsv"
    group:
        "report"
    threads: 2
    resources:
        mem_mb=memory("report_case"),
        runtime=minutes("report_case"),
    params:
        case_dir=case_dir,
        settings=lambda w: {"config": CASES[w.case].model_dump(mode="json")},
        code=code("report.stage"),
    script:
        "../scripts/report_case.py"


rule compare_truth:
    """Simulated cases only: each figure beside its truth. The truth folder is read here and nowhere else."""
    input:
        case_json="results/{case}/report/case.json",
    output:
        comparison="results/{case}/report/comparison.json",
        script="results/{case}/report/comparison.js",
    log:
        "results/{case}/logs/compare_truth.log",
    benchmark:
        "results/{case}/benchmarks/compare_truth.tsv"
    group:
        "report"
    threads: 2
    resources:
        mem_mb=memory("compare_truth"),
        runtime=minutes("compare_truth"),
    params:
        case_dir=case_dir,
        settings=lambda w: {
            "truth": f"data/simulated/{w.case}/truth",
            "simulated": True,
        },
        code=code("report.compare"),
    script:
        "../scripts/compare_truth.py"


rule make_cohort:
    """One table over the cases of this run."""
    input:
        cases=per_case(lambda c: f"results/{c}/report/case.json"),
    output:
        index="results/cohort/index.html",
        table="results/cohort/cohort.parquet",
    log:
        "results/cohort/logs/make_cohort.log",
    resources:
        mem_mb=memory("make_cohort"),
        runtime=minutes("make_cohort"),
    params:
        case_dir="results/cohort",
        settings={"cases": list(CASES)},
        code=code("report.cohort"),
    script:
        "../scripts/make_cohort.py"
