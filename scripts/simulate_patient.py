"""Entry of the rule `simulate_patient` (rules/simulate.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.phantom.simulate import simulate_patient

jobs.run_rule(snakemake, simulate_patient)  # noqa: F821
