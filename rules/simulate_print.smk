# The prints of a case without a real machine: what the build file says, with a known error, and its scan.


rule simulate_print:
    """Print a build revision in simulation and scan it, with the truth in a file that no stage reads."""
    input:
        cli="results/{case}/build/{revision}/build.cli",
    output:
        scan=directory("data/simulated/{case}/print/{revision}"),
    log:
        "results/{case}/logs/simulate_print.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/simulate_print.{revision}.tsv"
    group:
        "build"
    resources:
        mem_mb=memory("simulate_print"),
        runtime=minutes("simulate_print"),
    params:
        case_dir=case_dir,
        settings=section(
            "simulated_print",
            revision=lambda w: w.revision,
            kind=lambda w: inspected(w).kind,
        ),
        side=lambda w: {
            "truth": f"data/simulated/{w.case}/truth/print_{w.revision}.json"
        },
        code=code("phantom.print_scan"),
    script:
        "../scripts/simulate_print.py"


rule simulate_machining:
    """Machine the stock of a simulated print away, with known errors, and scan the part again."""
    input:
        cli="results/{case}/build/{revision}/build.cli",
        build="results/{case}/build/{revision}/build.json",
        field="results/{case}/lattice/field.json",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
    output:
        scan=directory("data/simulated/{case}/machined/{revision}"),
    log:
        "results/{case}/logs/simulate_machining.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/simulate_machining.{revision}.tsv"
    group:
        "build"
    resources:
        mem_mb=memory("simulate_machining"),
        runtime=minutes("simulate_machining"),
    params:
        case_dir=case_dir,
        settings=section(
            "simulated_print",
            revision=lambda w: w.revision,
            kind=lambda w: inspected(w).machined.kind,
        ),
        side=lambda w: {
            "truth": f"data/simulated/{w.case}/truth/machined_{w.revision}.json"
        },
        code=code("phantom.machined_scan"),
    script:
        "../scripts/simulate_machining.py"
