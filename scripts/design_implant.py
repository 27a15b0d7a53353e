"""Entry of the rule `design_implant` (rules/implant.smk): hands the job to its one stage function."""

from implantflow.implant.stage import design_implant

from implantflow import jobs

jobs.run_rule(snakemake, design_implant)  # noqa: F821
