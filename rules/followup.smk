# CTs after the operation: motion of the implant, fusion at its faces, bone in its lattice.


def timepoint_of(wildcards):
    return next(
        t
        for t in CASES[wildcards.case].followup.timepoints
        if t.name == wildcards.timepoint
    )


def baseline_of(wildcards):
    """The time point that this one is compared with, or None."""
    name = timepoint_of(wildcards).baseline
    points = CASES[wildcards.case].followup.timepoints
    return next((t for t in points if t.name == name), None)


def baseline_input(pattern):
    """Input function: ``pattern`` filled for the baseline, nothing where there is none."""

    def paths(wildcards):
        base = baseline_of(wildcards)
        if base is None:
            return []
        return pattern.format(case=wildcards.case, name=base.name, series=base.series)

    return paths


def followup_settings(wildcards):
    """The followup section with the one time point of this job in place of the list."""
    followup = CASES[wildcards.case].followup
    settings = followup.model_dump(mode="json", exclude={"timepoints"})
    settings["timepoint"] = timepoint_of(wildcards).model_dump(mode="json")
    return settings


def is_simulated(wildcards):
    """Whether the CT shown is not a person's: the patient or the scan after the operation is made up."""
    case = CASES[wildcards.case]
    return case.patient_is_simulated or case.simulated_followup is not None


def scan_date(wildcards):
    """The date that the case states for the CT, or that of its simulation; None where nobody states one."""
    case, series = CASES[wildcards.case], timepoint_of(wildcards).series
    stated = case.ingest.series[series].acquired
    if stated is None and case.simulated_followup is not None:
        stated = case.simulated_followup.scans[series].study_date
    return None if stated is None else stated.isoformat()


def planning_manifest(wildcards):
    planning = CASES[wildcards.case].ingest.planning_ct
    return f"results/{wildcards.case}/ingest/{planning}/manifest.json"


rule read_followup:
    """Find pelvis and implant in one CT after the operation; read its faces and its lattice."""
    input:
        ct=lambda w: f"results/{w.case}/ingest/{timepoint_of(w).series}/volume.nii.gz",
        manifest=lambda w: f"results/{w.case}/ingest/{timepoint_of(w).series}/manifest.json",
        agreed="results/{case}/ingest/followup.json",
        planning_manifest=planning_manifest,
        planning_ct=planning_ct,
        labels="results/{case}/segment/labels.nii.gz",
        hip=operated_hip,
        plan=lambda w: f"{plan_in_force(w)}/plan.json",
        remaining_bone=lambda w: f"{plan_in_force(w)}/remaining_bone.stl",
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
        baseline=baseline_input("results/{case}/followup/{name}/followup.json"),
        baseline_ct=baseline_input("results/{case}/ingest/{series}/volume.nii.gz"),
        baseline_manifest=baseline_input("results/{case}/ingest/{series}/manifest.json"),
        outcomes=lambda w: CASES[w.case].followup.outcomes or [],
    output:
        registration="results/{case}/followup/{timepoint}/registration.tfm",
        implant_pose="results/{case}/followup/{timepoint}/implant.tfm",
        faces="results/{case}/followup/{timepoint}/faces.csv",
        followup="results/{case}/followup/{timepoint}/followup.json",
        axial="results/{case}/followup/{timepoint}/axial.png",
        coronal="results/{case}/followup/{timepoint}/coronal.png",
        sagittal="results/{case}/followup/{timepoint}/sagittal.png",
        face_map="results/{case}/followup/{timepoint}/faces.png",
        dicom=directory("results/{case}/followup/{timepoint}/dicom"),
    log:
        "results/{case}/logs/read_followup.{timepoint}.log",
    benchmark:
        "results/{case}/benchmarks/read_followup.{timepoint}.tsv"
    group:
        "followup"
    resources:
        mem_mb=memory("read_followup"),
        runtime=minutes("read_followup"),
    params:
        case_dir=case_dir,
        settings=section(
            "case",
            "purpose",
            "side",
            followup=followup_settings,
            simulated=is_simulated,
            scan_date=scan_date,
        ),
        code=code("followup.stage"),
    script:
        "../scripts/read_followup.py"
