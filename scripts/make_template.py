"""Entry of the rule `make_template` (rules/simulate.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.phantom.template import make_template

jobs.run_rule(snakemake, make_template)  # noqa: F821
