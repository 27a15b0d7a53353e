"""Entry of the rule `inspect_print` (rules/inspect.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.inspect.stage import inspect_print

jobs.run_rule(snakemake, inspect_print)  # noqa: F821
