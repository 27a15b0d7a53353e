"""Header values without converting the same bytes again for every file of a series."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

#: Longer values are hardly the same twice.
_SHORT = 64


def header_values(dataset: Any) -> dict[str, Any]:
    """DICOM keyword -> value of every top-level element of a pydicom dataset; sequences stay sequences.

    Most values of a series are the same bytes in every file, and pydicom converts each anew: with the results
    kept, reading a header takes half the time.
    """
    charset = _charset(dataset)
    found: dict[str, Any] = {}
    for element in dataset.values():
        if element.is_raw and element.value is not None and element.length <= _SHORT:
            value = _converted(
                element.tag,
                element.VR,
                element.value,
                element.is_implicit_VR,
                element.is_little_endian,
                charset,
            )
        else:
            value = dataset[element.tag].value
        found[_keyword(element.tag)] = value
    return found


def _charset(dataset: Any) -> tuple[str, ...]:
    encoding = dataset.original_character_set
    return (encoding,) if isinstance(encoding, str) else tuple(encoding or ())


@cache
def _keyword(tag: int) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)


@lru_cache(maxsize=4096)
def _converted(
    tag: Any, vr: str | None, value: bytes, implicit: bool, little: bool, charset: tuple[str, ...]
) -> Any:
    from pydicom.dataelem import RawDataElement, convert_raw_data_element

    raw = RawDataElement(tag, vr, len(value), value, 0, implicit, little)
    return convert_raw_data_element(raw, encoding=list(charset) or None).value
