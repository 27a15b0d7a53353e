"""Entry of the rule `check_calculix` (rules/strength.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.strength.stage import strength_calculix

jobs.run_rule(snakemake, strength_calculix)  # noqa: F821
