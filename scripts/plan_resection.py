"""Entry of the rule `plan_resection` (rules/plan.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.plan.stage import plan_resection

jobs.run_rule(snakemake, plan_resection)  # noqa: F821
