"""Entry of the rule `agree_series` (rules/ingest.smk): hands the job to its one stage function."""

from implantflow.ingest.stage import agree_series

from implantflow import jobs

jobs.run_rule(snakemake, agree_series)  # noqa: F821
