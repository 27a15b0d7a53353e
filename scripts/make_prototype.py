"""Entry of the rule `make_prototype` (rules/prototype.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.prototype.stage import make_prototype

jobs.run_rule(snakemake, make_prototype)  # noqa: F821
