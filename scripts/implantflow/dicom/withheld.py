"""Errors while a person's files are read: what happened, without anything that a header or a library said.

Tracebacks of parsers quote values, and values name people. Whatever leaves a stage that reads DICOM therefore has
no cause attached, and an error nobody foresaw has its place in our code in place of its text.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from implantflow.errors import ImplantflowError


@contextlib.contextmanager
def withheld(place: str, folder: Path) -> Iterator[None]:
    """Raise what is raised inside again, fit for logs and reports.

    Parameters
    ----------
    place : what is being read, e.g. ``series ct_planning``; added to where the error is.
    folder : of links with neutral names; the message says how to look a name up.
    """
    try:
        yield
    except ImplantflowError as error:
        names = "file_" in error.where
        error.where = f"{place}: {error.where}" if error.where else place
        if names and folder.is_dir() and any(path.is_symlink() for path in folder.iterdir()):
            error.fix += f" (which file that is: readlink {folder.as_posix()}/NAME)"
        error.__cause__ = None
        error.__suppress_context__ = True
        raise error.with_traceback(None) from None
    except Exception as error:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "implantflow" in f.filename]
        at = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "unknown place"
        raise RuntimeError(
            f"{type(error).__name__} while reading {place} ({at}); its text is withheld, it may quote a header"
        ) from None
