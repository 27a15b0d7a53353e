"""Entry of the rule `simulate_machining` (rules/simulate_print.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.phantom.machined_scan import simulate_machining

jobs.run_rule(snakemake, simulate_machining)  # noqa: F821
