"""Entry of the rule `make_cohort` (rules/report.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.report.cohort import make_cohort

jobs.run_rule(snakemake, make_cohort)  # noqa: F821
