# Every printed revision against the design: deviation, size, verdict.


def inspected(wildcards):
    """What the case says about the scan of one printed revision."""
    return next(
        r for r in CASES[wildcards.case].inspect.revisions if r.id == wildcards.revision
    )


def scan_of(state):
    """Input function: the scan of the part as ``print`` or ``machined``; an STL, a simulated one's folder, or the
    ingested CT."""

    def scan(wildcards):
        case, scanned = CASES[wildcards.case], inspected(wildcards).scans[state]
        if scanned.kind == "ct":
            return {
                "volume": f"results/{wildcards.case}/ingest/{scanned.series}/volume.nii.gz"
            }
        if case.simulated_print is not None:
            folder = f"data/simulated/{wildcards.case}/{state}"
            return {"scan": f"{folder}/{wildcards.revision}"}
        return {"scan": scanned.file}

    return scan


rule inspect_print:
    """Lay the scan of a print on the design, judge its deviation and size, propose the next scale."""
    input:
        unpack(scan_of("print")),
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        build="results/{case}/build/{revision}/build.json",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
    output:
        deviation="results/{case}/inspect/{revision}/deviation.json",
        map="results/{case}/inspect/{revision}/deviation.ply",
        picture="results/{case}/inspect/{revision}/deviation.png",
    log:
        "results/{case}/logs/inspect_print.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/inspect_print.{revision}.tsv"
    group:
        "build"
    resources:
        mem_mb=memory("inspect_print"),
        runtime=minutes("inspect_print"),
    params:
        case_dir=case_dir,
        settings=section(
            "purpose",
            inspect=lambda w: inspect_settings(w),
            simulated=lambda w: CASES[w.case].simulated_print is not None,
        ),
        code=code("inspect.stage"),
    script:
        "../scripts/inspect_print.py"


def inspect_settings(wildcards):
    """The inspect section with the one revision of this job in place of the list."""
    settings = CASES[wildcards.case].inspect.model_dump(
        mode="json", exclude={"revisions"}
    )
    # The scan of the machined part is another job's: it makes no other inspection of the print.
    settings["revision"] = inspected(wildcards).model_dump(
        mode="json", exclude={"machined"}
    )
    return settings


def machined_settings(wildcards):
    """The same with what the case says of the machined part."""
    settings = inspect_settings(wildcards)
    settings["revision"] = inspected(wildcards).model_dump(mode="json")
    return settings


rule inspect_machined:
    """Lay the scan of the machined part on the finished design; judge its milled faces and bores."""
    input:
        unpack(scan_of("machined")),
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        build="results/{case}/build/{revision}/build.json",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
    output:
        machined="results/{case}/inspect/{revision}/machined.json",
        picture="results/{case}/inspect/{revision}/machined.png",
    log:
        "results/{case}/logs/inspect_machined.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/inspect_machined.{revision}.tsv"
    group:
        "build"
    resources:
        mem_mb=memory("inspect_machined"),
        runtime=minutes("inspect_machined"),
    params:
        case_dir=case_dir,
        settings=section(
            "purpose",
            inspect=machined_settings,
            simulated=lambda w: CASES[w.case].simulated_print is not None,
        ),
        code=code("inspect.machined_stage"),
    script:
        "../scripts/inspect_machined.py"
