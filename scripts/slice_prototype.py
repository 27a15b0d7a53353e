"""Entry of the rule `slice_prototype` (rules/prototype.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.prototype.print_stage import slice_prototype

jobs.run_rule(snakemake, slice_prototype)  # noqa: F821
