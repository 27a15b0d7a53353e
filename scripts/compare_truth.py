"""Entry of the rule `compare_truth` (rules/report.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.report.compare import compare_truth

jobs.run_rule(snakemake, compare_truth)  # noqa: F821
