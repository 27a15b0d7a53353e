"""Keeps pydicom silent: its warnings and log lines quote header values, which name patients."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No warnings, no log lines and no value validation (what is used is validated here) by pydicom."""
    from pydicom import config

    log = logging.getLogger("pydicom")
    was_disabled = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was_disabled
