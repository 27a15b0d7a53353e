# What was done, with what, by whom: the ledger walked and exported once the case is as far as its config goes.


rule audit_case:
    """Walk the ledger, hash every output again, check gates and signatures; write the trace."""
    input:
        checks=lambda w: build_files(w.case),
        prototypes=lambda w: prototype_files(w.case),
        early=lambda w: early_files(w.case),
        # G-code takes the slicer a minute a model: `snakemake prototype` makes it, the default target does not.
        prints=lambda w: print_files(w.case, approved(w.case), "print"),
        inspection=lambda w: inspection_files(w.case),
        release=lambda w: release_files(w.case),
        followup=lambda w: followup_files(w.case),
        calculix=lambda w: calculix_files(w.case),
        resolved="results/{case}/config.resolved.yaml",
    output:
        verify="results/{case}/audit/verify.json",
        trace="results/{case}/audit/trace.html",
        crate="results/{case}/audit/ro-crate-metadata.json",
        workflow="results/{case}/audit/Snakefile",
    log:
        "results/{case}/logs/audit_case.log",
    benchmark:
        "results/{case}/benchmarks/audit_case.tsv"
    group:
        "report"
    resources:
        mem_mb=memory("audit_case"),
        runtime=minutes("audit_case"),
    params:
        case_dir=case_dir,
        settings=section(
            "case",
            "purpose",
            site=lambda w: site_registry(),
        ),
        code=code("audit.stage"),
    script:
        "../scripts/audit_case.py"
