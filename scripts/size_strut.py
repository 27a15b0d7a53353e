"""Entry of the rule `size_strut` (rules/strength.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.strength.stage import strength_solid

jobs.run_rule(snakemake, strength_solid)  # noqa: F821
