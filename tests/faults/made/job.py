"""Entry of the made pipeline's jobs."""

from tests.faults.made import stage

from implantflow.jobs import run_rule

run_rule(snakemake, getattr(stage, snakemake.rule))  # noqa: F821
