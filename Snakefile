# implantflow: the index. One rule file per stage, in the order of a case; what each one does is in its docstring.
# Usage: snakemake [TARGET] --cores N --config cases=demo,vhf     (target first: --config swallows what follows)

from snakemake.utils import min_version

min_version("9.14")


include: "rules/common.smk"
include: "rules/simulate.smk"
include: "rules/simulate_print.smk"
include: "rules/simulate_followup.smk"
include: "rules/ingest.smk"
include: "rules/segment.smk"
include: "rules/tumour.smk"
include: "rules/plan.smk"
include: "rules/prototype.smk"
include: "rules/implant.smk"
include: "rules/strength.smk"
include: "rules/lattice.smk"
include: "rules/build.smk"
include: "rules/inspect.smk"
include: "rules/release.smk"
include: "rules/followup.smk"
include: "rules/audit.smk"
include: "rules/report.smk"


# On a cluster these run where Snakemake runs: a closed gate must not take down what is submitted with it, and each takes
# a second or two.
localrules:
    resolve_config,
    gate_labels,
    gate_review,
    gate_design,
    gate_release,
    make_traveller,


rule report:
    default_target: True
    input:
        per_case(report_files),


rule ingest:
    input:
        per_case(lambda c: f"results/{c}/ingest/ingest.json"),


rule segment:
    input:
        per_case(lambda c: f"results/{c}/segment/gate.json"),


rule tumour:
    input:
        stage("tumour", tumour_files),


rule plan:
    input:
        stage("plan", plan_files),


rule prototype:
    input:
        stage("prototype", prototype_files),
        per_case(lambda c: print_files(c, iterations(c), "print", "gcode")),


rule implant:
    input:
        stage("implant", lambda c: design_files(c, "implant/implant.json")),


rule strength:
    input:
        stage("strength", lambda c: design_files(c, "strength/final/strength.json")),
        per_case(calculix_files),


rule lattice:
    input:
        stage("lattice", lambda c: design_files(c, "lattice/lattice.json")),


rule build:
    input:
        stage("build", build_files),


rule inspect:
    input:
        stage("inspect", inspection_files),


rule release:
    input:
        stage("release", release_files),


rule followup:
    input:
        stage("followup", followup_files),


rule audit:
    input:
        per_case(lambda c: f"results/{c}/audit/verify.json"),


rule cohort:
    input:
        "results/cohort/index.html",


# One run at a time on a case; a dry run does not come here.
onstart:
    begin_run()


onsuccess:
    print_next_steps()


# What exists is shown also after a failure or at a gate that waits; the reasons are the last lines printed.
onerror:
    render_what_exists()
