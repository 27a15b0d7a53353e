"""Entry of the rule `homogenise_cell` (rules/strength.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.strength.stage import homogenise_cell

jobs.run_rule(snakemake, homogenise_cell)  # noqa: F821
