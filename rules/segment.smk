# Bones from the planning CT, and the gate where a person confirms them.


def shape_prior(wildcards):
    prior = CASES[wildcards.case].segment.prior
    if prior.kind == "atlas":
        folder = Path(SITE.data_root) / prior.path
        files = sorted(str(p) for p in folder.glob("surface/*/*.vtk"))
        return files or [str(folder / "surface")]
    if prior.kind == "label_map":
        return [prior.path]
    return ["data/template/template.npz"]


def landmarks_file(wildcards):
    path = CASES[wildcards.case].segment.prior.landmarks_file
    return [path] if path else []


def edited_labels(wildcards):
    path = CASES[wildcards.case].segment.edited_labels
    return [path] if path else []


rule segment_bones:
    """Threshold, then sacrum, both hip bones and L5 apart, one watertight surface each."""
    input:
        volume=planning_ct,
        manifest=lambda w: f"results/{w.case}/ingest/{CASES[w.case].ingest.planning_ct}/manifest.json",
        invented=lambda w: f"results/{w.case}/ingest/{CASES[w.case].ingest.planning_ct}/invented.nii.gz",
        ingest="results/{case}/ingest/ingest.json",
        prior=shape_prior,
        landmarks=landmarks_file,
        edited=edited_labels,
    output:
        labels="results/{case}/segment/labels.nii.gz",
        confidence="results/{case}/segment/confidence.nii.gz",
        sacrum="results/{case}/segment/sacrum.stl",
        hip_left="results/{case}/segment/hip_left.stl",
        hip_right="results/{case}/segment/hip_right.stl",
        l5="results/{case}/segment/l5.stl",
        segment="results/{case}/segment/segment.json",
    log:
        "results/{case}/logs/segment_bones.log",
    benchmark:
        "results/{case}/benchmarks/segment_bones.tsv"
    group:
        "images"
    threads: 2
    resources:
        mem_mb=memory("segment_bones"),
        runtime=minutes("segment_bones"),
    params:
        case_dir=case_dir,
        settings=section("segment", "side"),
        code=code("segment.stage"),
    script:
        "../scripts/segment_bones.py"


rule gate_labels:
    """A person confirms or corrects the bone labels before anything is planned on them."""
    input:
        subjects=lambda w: [f"results/{w.case}/{p}" for p in labels_subjects()],
        review=review_records("labels"),
    output:
        gate="results/{case}/segment/gate.json",
    log:
        "results/{case}/logs/gate_labels.log",
    benchmark:
        "results/{case}/benchmarks/gate_labels.tsv"
    params:
        case_dir=case_dir,
        settings=gate_settings("labels"),
        code=code("review.gate"),
    script:
        "../scripts/check_gate.py"
