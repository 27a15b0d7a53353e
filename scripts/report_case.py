"""Entry of the rule `report_case` (rules/report.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.report.stage import report_case

jobs.run_rule(snakemake, report_case)  # noqa: F821
