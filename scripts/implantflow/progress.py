"""What a long computation says of how far it is."""

from __future__ import annotations

import logging

logger = logging.getLogger("implantflow")


def progress(message: str, *, done: float | None = None) -> None:
    """Report progress of the running job to its log and, as one line, to the terminal.

    ``done`` is the share finished, 0 to 1.
    """
    share = "" if done is None else f" {100 * done:3.0f} %"
    logger.info("%s%s", message, share)
