"""Entry of the rule `read_followup` (rules/followup.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.followup.stage import read_followup

jobs.run_rule(snakemake, read_followup)  # noqa: F821
