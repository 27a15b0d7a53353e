"""Entry of the rule `simulate_print` (rules/simulate_print.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.phantom.print_scan import simulate_print

jobs.run_rule(snakemake, simulate_print)  # noqa: F821
