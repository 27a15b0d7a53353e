"""Entry of the rule `plan_resection` (rules/plan.smk): hands the job to its one stage function."""

from implantflow.plan.stage import plan_resection

from implantflow import jobs

jobs.run_rule(snakemake, plan_resection)  # noqa: F821
