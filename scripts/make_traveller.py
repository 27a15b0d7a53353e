"""Entry of the rule `make_traveller` (rules/release.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.release.stage import make_traveller

jobs.run_rule(snakemake, make_traveller)  # noqa: F821
