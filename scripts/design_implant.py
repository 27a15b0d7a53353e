"""Entry of the rule `design_implant` (rules/implant.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.implant.stage import design_implant

jobs.run_rule(snakemake, design_implant)  # noqa: F821
