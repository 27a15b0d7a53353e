# The CT scans after the operation of a case that has none: the built lattice in the operated patient.


def simulated_followups():
    """Names of all simulated follow-up scans of the requested cases, as a pattern."""
    names = {
        name
        for case in CASES.values()
        if case.simulated_followup is not None
        for name in case.simulated_followup.scans
    }
    return "|".join(sorted(names)) or "$^"


def whose_followup(wildcards):
    """The patient before the operation: the phantom as it was drawn, or a person's planning CT and its headers."""
    name = wildcards.case
    if CASES[name].simulated is not None:
        return {"anatomy": f"data/simulated/{name}/anatomy/ct.nii.gz"}
    planning = CASES[name].ingest.planning_ct
    return {
        "anatomy": planning_ct(wildcards),
        "identity": dicom_folder(name, planning),
    }


def followup_simulation(wildcards):
    """The section with the one scan of this job in place of them all."""
    cfg = CASES[wildcards.case].simulated_followup.model_dump(mode="json")
    cfg["scans"] = {wildcards.series: cfg["scans"][wildcards.series]}
    return cfg


rule simulate_followup:
    """Simulate one CT after the operation as DICOM, with the truth in a file that no stage reads."""
    input:
        unpack(whose_followup),
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        plan=lambda w: f"{plan_in_force(w)}/plan.json",
        specimen=lambda w: f"{plan_in_force(w)}/specimen.stl",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
    output:
        dicom=directory("data/simulated/{case}/dicom/{series}"),
    log:
        "results/{case}/logs/simulate_followup.{series}.log",
    benchmark:
        "results/{case}/benchmarks/simulate_followup.{series}.tsv"
    wildcard_constraints:
        series=simulated_followups(),
    group:
        "followup"
    resources:
        mem_mb=memory("simulate_followup"),
        runtime=minutes("simulate_followup"),
    params:
        case_dir=case_dir,
        settings=section(
            "simulated",
            simulated_followup=followup_simulation,
            series=lambda w: w.series,
        ),
        side=lambda w: {
            "truth": f"data/simulated/{w.case}/truth/followup_{w.series}.json"
        },
        code=code("phantom.followup_scan"),
    script:
        "../scripts/simulate_followup.py"
