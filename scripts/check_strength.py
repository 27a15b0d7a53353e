"""Entry of the rule `check_strength` (rules/strength.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.strength.stage import strength_final

jobs.run_rule(snakemake, strength_final)  # noqa: F821
