# Layers, contours and hatches of each build revision, and the file the machine reads.


rule build_part:
    """Slice the field at the layer thickness, write the build file, read it back and check it."""
    input:
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        gate="results/{case}/design/gate.json",
    output:
        cli="results/{case}/build/{revision}/build.cli",
        obf="results/{case}/build/{revision}/build.obf",
        themes="results/{case}/build/{revision}/themes.json",
        layers="results/{case}/build/{revision}/layers.parquet",
        build="results/{case}/build/{revision}/build.json",
        checks="results/{case}/build/{revision}/checks.json",
        orientation="results/{case}/build/{revision}/orientation.json",
    log:
        "results/{case}/logs/build_part.{revision}.log",
    benchmark:
        "results/{case}/benchmarks/build_part.{revision}.tsv"
    group:
        "build"
    resources:
        mem_mb=memory("build_part"),
        runtime=minutes("build_part"),
    params:
        case_dir=case_dir,
        settings=section(
            "purpose",
            "case",
            "side",
            build=lambda w: build_settings(w),
        ),
        code=code("build.stage"),
    script:
        "../scripts/build_part.py"


def build_settings(wildcards):
    """The build section with the one revision of this job in place of the list."""
    build = CASES[wildcards.case].build
    settings = build.model_dump(mode="json", exclude={"revisions"})
    settings["revision"] = next(
        r.model_dump(mode="json") for r in build.revisions if r.id == wildcards.revision
    )
    return settings
