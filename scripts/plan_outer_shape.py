"""Entry of the rule `plan_outer_shape` (rules/plan.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.plan.outer import plan_outer_shape

jobs.run_rule(snakemake, plan_outer_shape)  # noqa: F821
