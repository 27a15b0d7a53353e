"""Entry of the rule `plan_construct` (rules/plan.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.plan.construct import plan_construct

jobs.run_rule(snakemake, plan_construct)  # noqa: F821
