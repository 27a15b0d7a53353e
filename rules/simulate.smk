# The project's own phantom patients. No stage reads the truth folder, so it is no tracked output.


rule simulate_patient:
    """Simulate one patient's CT and MR scans as DICOM; the truth goes to a folder that no stage reads."""
    output:
        ct_planning=directory("data/simulated/{case}/dicom/ct_planning"),
        mr_diagnosis=directory("data/simulated/{case}/dicom/mr_diagnosis"),
        mr_preoperative=directory("data/simulated/{case}/dicom/mr_preoperative"),
        anatomy="data/simulated/{case}/anatomy/ct.nii.gz",
    log:
        "results/{case}/logs/simulate_patient.log",
    benchmark:
        "results/{case}/benchmarks/simulate_patient.tsv"
    group:
        "images"
    resources:
        mem_mb=memory("simulate_patient"),
        runtime=minutes("simulate_patient"),
    params:
        case_dir=case_dir,
        settings=section("simulated"),
        side=lambda w: {"truth": f"data/simulated/{w.case}/truth/patient"},
        code=code("phantom.simulate"),
    script:
        "../scripts/simulate_patient.py"


rule make_template:
    """The project's own shape template: another draw of the phantom's parameters than any test patient."""
    output:
        template="data/template/template.npz",
    log:
        "data/template/logs/make_template.log",
    benchmark:
        "data/template/benchmarks/make_template.tsv"
    resources:
        mem_mb=memory("make_template"),
        runtime=minutes("make_template"),
    params:
        case_dir="data/template",
        settings={},
        code=code("phantom.template"),
    script:
        "../scripts/make_template.py"
