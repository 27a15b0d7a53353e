"""UIDs that tell nothing about where the images were made, yet stay equal where the originals were equal."""

from __future__ import annotations

import hashlib


def remap_uid(uid: str) -> str:
    """A UUID-derived UID (root 2.25, DICOM PS3.5 B.2) that depends on ``uid`` only; "" stays "".

    The same original gives the same result in every series and every run, so relations between series
    survive while the organisation's root and the date that many scanners put into UIDs do not.
    """
    if not uid:
        return ""
    digest = hashlib.sha256(b"implantflow-uid-1\x00" + uid.encode("ascii", "replace")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
