"""Entry of the rule `ingest_series` (rules/ingest.smk): hands the job to its one stage function."""

from implantflow.ingest.stage import ingest_series

from implantflow import jobs

jobs.run_rule(snakemake, ingest_series)  # noqa: F821
