"""Header values without converting the same bytes again for every file of a series."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, cast

#: Longer values are hardly the same twice.
_SHORT = 64


def header_values(dataset: Any) -> dict[str, Any]:
    """DICOM keyword -> value of every top-level element of a pydicom dataset; sequences stay sequences.

    Most values of a series are the same bytes in every file, and pydicom converts each anew: with the results
    kept, reading a header takes half the time.
    """
    encoding = dataset.original_character_set
    charset = (encoding,) if isinstance(encoding, str) else tuple(encoding or ())
    found: dict[str, Any] = {}
    for element in dataset.values():
        if element.is_raw and element.value is not None:
            tag, little = int(element.tag), element.is_little_endian
            value = converted(tag, element.VR, element.value, element.is_implicit_VR, little, charset)
        else:
            value = dataset[element.tag].value
        found[keyword_of(int(element.tag))] = value
    return found


@cache
def keyword_of(tag: int) -> str:
    """The DICOM keyword of a tag."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)


@cache
def encodings(vr: str | None, value: bytes | None, implicit: bool) -> tuple[str, ...]:
    """Python's names for the character sets that an element SpecificCharacterSet states; None when it is absent."""
    from pydicom.charset import convert_encodings, default_encoding

    if value is None:
        return (default_encoding,)
    return tuple(convert_encodings(_convert(0x00080005, vr, value, implicit, True, ())))


def converted(
    tag: int, vr: str | None, value: bytes, implicit: bool, little: bool, charset: tuple[str, ...]
) -> Any:
    """The value that some bytes of an element stand for, as pydicom converts them."""
    convert = _convert_once if len(value) <= _SHORT else _convert
    return convert(tag, vr, value, implicit, little, charset)


def _convert(
    tag: int, vr: str | None, value: bytes, implicit: bool, little: bool, charset: tuple[str, ...]
) -> Any:
    from pydicom.dataelem import RawDataElement, convert_raw_data_element, empty_value_for_VR
    from pydicom.tag import BaseTag

    content = value or cast("bytes | None", empty_value_for_VR(vr, raw=True))
    raw = RawDataElement(BaseTag(tag), vr, len(value), content, 0, implicit, little)
    return convert_raw_data_element(raw, encoding=list(charset) or None).value


_convert_once = lru_cache(maxsize=4096)(_convert)
