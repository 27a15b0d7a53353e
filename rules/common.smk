# Wiring only: the cases of this run, the names of their files, and the params every rule carries.
# Threads: up to the lattice one job waits for the next, so each takes two cores; after it builds, prints and follow-up
# scans go side by side, one core each.

import gc
import subprocess
import sys
from pathlib import Path

from implantflow import needs, runs, slurm
from implantflow.codedigest import code_digest
from implantflow.config.load import load
from implantflow.config.models import CaseConfig
from implantflow.config.selection import ends_before, requested
from implantflow.config.site import SiteConfig
from implantflow.dicom.intake import take_in
from implantflow.errors import ImplantflowError
from implantflow.report.run_record import write_run_record
from implantflow.review.subjects import (
    design_subjects,
    labels_subjects,
    prototype_subjects,
    release_subjects,
)

CASE_FOLDER = Path(config.get("case_dir", "config/cases"))

# A cohort's jobs all live until its end. Python looks through whatever is alive every some thousand new objects, which
# took a fifth of a dry run of a hundred cases (docs/scale.md); fifty times as seldom is seldom enough.
gc.freeze()
gc.set_threshold(35_000, 50, 50)


def cases_to_load():
    """The requested cases; in the process of one job of theirs that case only, since a cohort may have hundreds."""
    names = requested(config, CASE_FOLDER)
    # In a job on a cluster Snakemake reads the rules before it knows what is asked for.
    if workflow.is_main_process or workflow.dag_settings is None:
        return names
    needed = {
        job.wildcards_dict.get("case") for job in workflow.dag_settings.target_jobs
    }
    return [name for name in names if None in needed or name in needed]


def load_cases():
    """Every requested case config, with neutral paths in place of a person's; all errors of all files at once."""
    try:
        site = load(SiteConfig, Path("config/site.yaml"))
        cases, errors = {}, []
        for name in cases_to_load():
            try:
                case = load(CaseConfig, CASE_FOLDER / f"{name}.yaml")
                if case.case != name:
                    errors.append(
                        f"{CASE_FOLDER / name}.yaml: its key 'case' says '{case.case}'"
                    )
                    continue
                cases[name] = take_in(case, site, link=workflow.is_main_process)
            except ImplantflowError as error:
                errors.append(str(error))
        if errors:
            raise ImplantflowError("\n\n".join(errors))
        return site, cases
    except ImplantflowError as error:
        print(f"\nimplantflow: ERROR: {error}\n", file=sys.stderr)
        sys.exit(error.exit_code if error.exit_code != 1 else 2)


SITE, CASES = load_cases()


wildcard_constraints:
    case="[a-z][a-z0-9_]*",
    series="[a-z][a-z0-9_]*",
    iteration="[a-z][a-z0-9_]*",
    revision="[a-z][a-z0-9_]*",
    timepoint="[a-z][a-z0-9_]*",


def per_case(paths):
    """The files that ``paths(case)`` names, over the requested cases."""
    found = []
    for name in CASES:
        value = paths(name)
        found += [value] if isinstance(value, str) else list(value)
    return found


def stage(section, paths):
    """Input function of a target: as ``per_case``, where at least one case has the section; who has not is named.

    A function, because only those of what is asked for are called. It leaves by the exit: around an error Snakemake
    would put its own words and a traceback.
    """

    def files(wildcards):
        try:
            for line in ends_before(section, CASES, CASE_FOLDER):
                print(f"implantflow: {line}", file=sys.stderr)
        except ImplantflowError as error:
            print(f"\nimplantflow: ERROR: {error}\n", file=sys.stderr)
            sys.exit(error.exit_code)
        return per_case(paths)

    return files


def iterations(name):
    prototype = CASES[name].prototype
    return [] if prototype is None else [i.id for i in prototype.iterations]


def approved(name):
    """The iteration that the case goes on with, as a list; empty for a case that ends before its prototypes."""
    prototype = CASES[name].prototype
    return [] if prototype is None else [prototype.approved]


def print_files(name, ids, *parts):
    """Plates (``print``) and G-code (``gcode``) of the iterations ``ids`` for the case's printer, if it has one."""
    prototype = CASES[name].prototype
    if prototype is None or prototype.printer is None:
        return []
    return [f"results/{name}/prototype/{i}/{part}.json" for i in ids for part in parts]


def iteration_of(wildcards):
    return next(
        i
        for i in CASES[wildcards.case].prototype.iterations
        if i.id == wildcards.iteration
    )


def approved_iteration(wildcards):
    case = CASES[wildcards.case]
    return next(i for i in case.prototype.iterations if i.id == case.prototype.approved)


def plan_in_force(wildcards):
    return f"results/{wildcards.case}/plan/{approved_iteration(wildcards).plan}"


def operated_hip(wildcards):
    return f"results/{wildcards.case}/segment/hip_{CASES[wildcards.case].side}.stl"


def approved_file(name):
    """Input function: a file of the approved iteration."""
    return (
        lambda w: f"results/{w.case}/prototype/{CASES[w.case].prototype.approved}/{name}"
    )


def planning_ct(wildcards):
    return f"results/{wildcards.case}/ingest/{CASES[wildcards.case].ingest.planning_ct}/volume.nii.gz"


def scanned_part(name, series):
    """(revision, print or machined, its scan) of the part that was scanned as ``series``, or None."""
    inspect = CASES[name].inspect
    scans = [] if inspect is None else inspect.scans
    return next((found for found in scans if found[2].series == series), None)


def dicom_folder(name, series):
    """Where the DICOM files of one series lie: simulated beside the project, or the links that intake made."""
    case, part = CASES[name], scanned_part(name, series)
    if part is not None:
        revision, state, scan = part
        if case.simulated_print is not None:
            return f"data/simulated/{name}/{state}/{revision}"
        return scan.dicom
    if case.is_simulated(series):
        return f"data/simulated/{name}/dicom/{series}"
    entry = case.ingest.series[series]
    return entry.dicom or f"{SITE.sealed_root}/{name}/studies/{entry.study}"


def series_settings(wildcards):
    """Settings of one series; the CT of a print is not among the patient's own."""
    if scanned_part(wildcards.case, wildcards.series) is not None:
        return {"modality": "CT"}
    return CASES[wildcards.case].ingest.series[wildcards.series].model_dump(mode="json")


def section(*names, **extra):
    """Params function: the resolved sections ``names`` of the case as plain JSON, plus ``extra`` (functions)."""

    def settings(wildcards):
        case = CASES[wildcards.case]
        found = case.model_dump(mode="json", include=set(names))
        found.update({key: value(wildcards) for key, value in extra.items()})
        return found

    return settings


def case_dir(wildcards):
    return f"results/{wildcards.case}"


def code(module):
    """Digest of ``module`` and all it imports: editing any of them re-runs the job."""
    return code_digest(f"implantflow.{module}")


def memory(name):
    """Resource function: MB for a job of the rule ``name``, more on every attempt."""
    return lambda wildcards, input, attempt: needs.memory_mb(name, input, attempt)


def minutes(name):
    """Resource function: time limit of a job of the rule ``name``."""
    return lambda wildcards, input, attempt: needs.minutes(name, input, attempt)


def series_group(wildcards):
    """What is submitted together with the reading of a series: whatever makes or needs it."""
    if scanned_part(wildcards.case, wildcards.series) is not None:
        return "build"
    later = wildcards.series in CASES[wildcards.case].followup_series
    return "followup" if later else "images"


def review_records(item):
    """The signed records of a gate that exist now; an absent record must not stop the DAG (decision 5)."""

    def records(wildcards):
        name = item(wildcards) if callable(item) else item
        return sorted(
            str(p)
            for p in Path(f"config/reviews/{wildcards.case}").glob(
                f"{name}.*.dsse.json"
            )
        )

    return records


def site_registry():
    """What the gates need of the site: its people and rules, none of its places."""
    return SITE.model_dump(
        mode="json", include={"reviewers", "signatures", "imaging_max_age"}
    )


def gate_settings(name, item=None):
    """Params function of a gate rule: the case's policy, the site's registry, and what is being reviewed."""

    def settings(wildcards):
        case = CASES[wildcards.case]
        return {
            "gate": {"name": name, "item": item(wildcards) if item else name},
            "case": case.case,
            "purpose": case.purpose,
            "review": case.review.model_dump(mode="json"),
            "site": site_registry(),
        }

    return settings


def tumour_files(name):
    return [f"results/{name}/tumour/tumour.json"] if CASES[name].tumour else []


def plan_files(name):
    """Files of each plan revision; construct and outer shape where the revision has them."""
    plan = CASES[name].plan
    return [
        f"results/{name}/plan/{r.id}/{file}"
        for r in (plan.revisions if plan else [])
        for file, there in (
            ("plan.json", True),
            ("construct.json", r.fixation is not None),
            ("outer.json", r.mirror is not None),
        )
        if there
    ]


def prototype_files(name):
    return [f"results/{name}/prototype/{i}/prototype.json" for i in iterations(name)]


def design_files(name, file):
    """``file`` where the case has the sections implant, strength, lattice and build; they come together."""
    return [f"results/{name}/{file}"] if CASES[name].build else []


def build_files(name):
    build = CASES[name].build
    return [
        f"results/{name}/build/{r.id}/checks.json"
        for r in (build.revisions if build else [])
    ]


def early_files(name):
    """Where a case ends whose config has no implant yet: its last stage's results, and the gate it waits at."""
    case = CASES[name]
    if case.build:
        return []
    folders = [f"prototype/{i}" for i in approved(name)] or ["segment"]
    gates = [f"results/{name}/{folder}/gate.json" for folder in folders]
    return [*gates, *tumour_files(name), *plan_files(name)]


def inspection_files(name):
    """What inspection leaves of a case: the decision on every print, and what was found of machined parts."""
    inspect = CASES[name].inspect
    revisions = [] if inspect is None else inspect.revisions
    return [
        *(f"results/{name}/inspect/{r.id}/gate.json" for r in revisions),
        *machined_files(name, revisions),
    ]


def machined_files(name, revisions, file="machined.json"):
    """What was found of the machined parts among these revisions."""
    return [
        f"results/{name}/inspect/{r.id}/{file}"
        for r in revisions
        if r.machined is not None
    ]


def release_files(name):
    return (
        [] if CASES[name].release is None else [f"results/{name}/release/manifest.json"]
    )


def followup_files(name):
    followup = CASES[name].followup
    timepoints = [] if followup is None else followup.timepoints
    return [f"results/{name}/followup/{t.name}/followup.json" for t in timepoints]


RUN_LOCKS = []


def begin_run():
    """Lock the cases until this process ends, however it ends; on a cluster, see that every job can start."""
    try:
        RUN_LOCKS.extend(runs.begin(CASES))
        if workflow.executor_plugin.name == "slurm":
            slurm.check_fit(submissions(), slurm.nodes())
        without_needless_timers()
    except ImplantflowError as error:
        print(f"\nimplantflow: ERROR: {error}\n", file=sys.stderr)
        sys.exit(error.exit_code)


def without_needless_timers():
    """Take away Snakemake's own limit of 100 jobs a second, unless the user has set another.

    With it every job that ends leaves one more timer, and each has all jobs that wait looked at again every second (seen
    in Snakemake 9.27): with twenty cases that takes a core. Nothing here starts 100 jobs a second.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def submissions():
    """What will be submitted: jobs, and groups of them as one."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    units = {id(u): u for u in (workflow.dag.get_job_group(job) or job for job in jobs)}
    return [
        slurm.Request(
            name=f"{unit.groupid if unit.is_group() else unit.rule.name}",
            cpus=int(unit.threads),
            memory_mb=int(unit.resources.get("mem_mb", 0)),
            partition=unit.resources.get("slurm_partition"),
        )
        for unit in units.values()
    ]


def run_cli(*arguments, stdout=None):
    command = [sys.executable, "-m", "implantflow", *arguments]
    subprocess.run(command, check=False, stdout=stdout)


def print_next_steps(names=None):
    for name in CASES if names is None else names:
        page = Path(f"results/{name}/report/index.html")
        if page.exists():
            write_run_record(page.parents[1])
            print(f"{name}: {page}")


def render_what_exists():
    """Pages of all cases but those whose own came out of this run: in a cohort most others."""
    runs.enter_killed(CASES)
    dag = workflow.dag
    open_jobs = [job for job in dag.needrun_jobs() if not dag.finished(job)]
    stopped = {job.wildcards_dict.get("case") for job in open_jobs}
    pages = {
        j.wildcards_dict.get("case") for j in dag.jobs if j.rule.name == "report_case"
    }
    print_next_steps([name for name in CASES if name in pages - stopped])
    for name in CASES:
        if name not in pages - stopped:
            run_cli("report", name)
    if len(CASES) > 1:
        run_cli("cohort", *CASES, stdout=subprocess.DEVNULL)
