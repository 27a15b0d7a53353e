"""Entry of the rule `inspect_machined` (rules/inspect.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.inspect.machined_stage import inspect_machined

jobs.run_rule(snakemake, inspect_machined)  # noqa: F821
