"""Entry of the rule `resolve_config` (rules/report.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.config.resolve import resolve_config

jobs.run_rule(snakemake, resolve_config)  # noqa: F821
