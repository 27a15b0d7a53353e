"""Entry of the rule `simulate_followup` (rules/simulate_followup.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.phantom.followup_scan import simulate_followup

jobs.run_rule(snakemake, simulate_followup)  # noqa: F821
