"""Entry of the rule `ingest_series` (rules/ingest.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.ingest.stage import ingest_series

jobs.run_rule(snakemake, ingest_series)  # noqa: F821
