"""What a DICOMDIR says should lie in a folder: a disc's own list of its images (DICOM PS3.3 F)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from implantflow.dicom.quiet import quietly

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"


def listed_images(path: Path) -> dict[str, frozenset[str]]:
    """SeriesInstanceUID -> SOPInstanceUIDs that a DICOMDIR lists; empty for any other file, or a damaged one.

    A list that cannot be read tells nothing: the images themselves are judged by their own headers.
    """
    import pydicom

    try:
        with quietly():
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) != _DIRECTORY_CLASS:
                return {}
            records = {int(r.seq_item_tell): r for r in dataset.DirectoryRecordSequence}
            found: dict[str, frozenset[str]] = {}
            for record in records.values():
                if record.DirectoryRecordType == "SERIES":
                    uid = str(record.SeriesInstanceUID)
                    found[uid] = found.get(uid, frozenset()) | set(_below(record, records))
            return found
    except Exception:  # whatever a damaged list provokes in the parser
        return {}


def _below(series: Any, records: Mapping[int, Any]) -> Iterator[str]:
    """SOPInstanceUIDs of the records that hang below a series, each told by its place in the file."""
    seen: set[int] = set()
    at = int(series.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0)
    while at in records and at not in seen:
        seen.add(at)
        record = records[at]
        if record.DirectoryRecordType == "IMAGE":
            yield str(record.ReferencedSOPInstanceUIDInFile)
        at = int(record.get("OffsetOfTheNextDirectoryRecord") or 0)
