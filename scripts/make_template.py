"""Entry of the rule `make_template` (rules/simulate.smk): hands the job to its one stage function."""

from implantflow.phantom.template import make_template

from implantflow import jobs

jobs.run_rule(snakemake, make_template)  # noqa: F821
