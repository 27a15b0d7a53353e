"""The resolved config of a case: every default filled in, kept beside the results."""

from __future__ import annotations

import yaml

from implantflow.jobs import Job


def resolve_config(job: Job) -> None:
    """Write ``settings["config"]`` as YAML with sorted keys (job of the rule ``resolve_config``)."""
    text = yaml.safe_dump(job.settings["config"], sort_keys=True, allow_unicode=True, width=100)
    job.outputs["resolved"].write_text(
        "# Written by implantflow from the case config, every default filled in. Do not edit.\n" + text,
        encoding="utf-8",
    )
