"""Entry of the rule `agree_series` (rules/ingest.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.ingest.stage import agree_series

jobs.run_rule(snakemake, agree_series)  # noqa: F821
