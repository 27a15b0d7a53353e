# Tumour extent at each timepoint, in planning space.


def timepoint_series(wildcards):
    """Series of each timepoint in config order; a virtual tumour has none."""
    return [
        t.series
        for t in CASES[wildcards.case].tumour.timepoints
        if t.series is not None
    ]


def cases_by_timepoints():
    """Cases by the names of their timepoints: one rule for all cases that name them alike."""
    found = {}
    for name, case in CASES.items():
        if case.tumour:
            names = tuple(t.name for t in case.tumour.timepoints)
            found.setdefault(names, []).append(name)
    return found


# The masks' names depend on the case's timepoints, which Snakemake cannot know from a wildcard alone. What follows the
# rule's name after two underscores is left out of ledger and logs (jobs.run_rule).
for _names, _cases in cases_by_timepoints().items():

    rule:
        name:
            f"measure_tumour__{'_'.join(_names)}"
        input:
            ct=planning_ct,
            labels="results/{case}/segment/labels.nii.gz",
            volumes=lambda w: [
                f"results/{w.case}/ingest/{s}/volume.nii.gz"
                for s in timepoint_series(w)
            ],
            manifests=lambda w: [
                f"results/{w.case}/ingest/{s}/manifest.json"
                for s in timepoint_series(w)
            ],
            outlines=lambda w: [
                t.file for t in CASES[w.case].tumour.timepoints if t.method == "mask"
            ],
            gate="results/{case}/segment/gate.json",
        output:
            **{
                f"mask_{name}": f"results/{{case}}/tumour/{name}_mask.nii.gz"
                for name in _names
            },
            **{
                f"surface_{name}": f"results/{{case}}/tumour/{name}_surface.stl"
                for name in _names
            },
            tumour_stl="results/{case}/tumour/tumour.stl",
            tumour="results/{case}/tumour/tumour.json",
        log:
            "results/{case}/logs/measure_tumour.log",
        benchmark:
            "results/{case}/benchmarks/measure_tumour.tsv"
        wildcard_constraints:
            case="|".join(_cases),
        group:
            "planning"
        # A process a time point; ITK itself stays on one thread.
        threads: 2
        resources:
            mem_mb=memory("measure_tumour"),
            runtime=minutes("measure_tumour"),
        params:
            case_dir=case_dir,
            settings=section("tumour", "side", "purpose", series_names=timepoint_series),
            code=code("tumour.stage"),
        script:
            "../scripts/measure_tumour.py"
