"""Entry of the rule `print_prototype` (rules/prototype.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.prototype.print_stage import lay_out_prototype

jobs.run_rule(snakemake, lay_out_prototype)  # noqa: F821
