"""Answers of DICOMweb servers, good and bad, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from implantflow.config.pacs import WebNode
from implantflow.dicom import pacs_web
from implantflow.dicom.pacs import IMAGE_CLASSES, ArchiveError, Image, images_of
from implantflow.errors import ConfigError

OBJECT = b"\0" * 128 + b"DICM" + bytes(range(256)) + b"--edge no boundary\r\n"
KIND = 'multipart/related; type="application/dicom"; boundary="edge"'
WHOLE = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + OBJECT + b"\r\n--edge--"


class Answer:
    def __init__(self, status: int = 200, items: Any = None, content: bytes = b"", kind: str = "") -> None:
        self.status_code, self.content, self.headers = status, content, {"Content-Type": kind}
        self._items = items

    def json(self) -> Any:
        if self._items is None:
            raise ValueError
        return self._items


def archive() -> pacs_web.WebArchive:
    node = WebNode(url="http://127.0.0.1:1/x", tls=False)
    return pacs_web.WebArchive(node, {})


def instance(number: int) -> dict[str, Any]:
    return {"00080018": {"vr": "UI", "Value": [f"1.2.{number}"]}}


def test_one_object_of_a_multipart_answer() -> None:
    for head in (b"", b"preface\r\n"):
        for tail in (b"", b"\r\n", b"\r\nepilogue"):
            assert pacs_web._single_part(head + WHOLE + tail, KIND) == OBJECT
    assert pacs_web._single_part(OBJECT, "application/dicom") == OBJECT


@pytest.mark.parametrize("end", [0, 10, 60, 200, len(WHOLE) - 8, len(WHOLE) - 2, len(WHOLE) - 1])
def test_answer_cut_short_is_no_object(end: int) -> None:
    with pytest.raises(ArchiveError):
        pacs_web._single_part(WHOLE[:end], KIND)


def test_answer_that_is_no_multipart() -> None:
    for kind in ("text/html", "", "multipart/related"):
        with pytest.raises(ArchiveError):
            pacs_web._single_part(WHOLE, kind)


def paged(monkeypatch: pytest.MonkeyPatch, total: int, *, knows_pages: bool, cap: int = 10**9) -> list[Any]:
    monkeypatch.setattr(pacs_web, "_PAGE", 10)
    found = archive()

    def call(method: str, path: str, params: dict[str, Any], **options: Any) -> Answer:
        first = params["offset"] if knows_pages else 0
        count = min(params["limit"], cap) if knows_pages else total
        items = [instance(n) for n in range(first, min(first + count, total))]
        return Answer(200 if items else 204, items)

    monkeypatch.setattr(found, "_call", call)
    return found._list("studies/1/series/2/instances", {})


@pytest.mark.parametrize("total", [0, 1, 9, 10, 11, 20, 47])
@pytest.mark.parametrize("knows_pages", [True, False])
def test_every_page_is_read(total: int, knows_pages: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    items = paged(monkeypatch, total, knows_pages=knows_pages)
    assert items == [instance(n) for n in range(total)]


def test_server_that_sends_smaller_pages_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(paged(monkeypatch, 23, knows_pages=True, cap=4)) == 23


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), ConfigError),
        (Answer(403), ConfigError),
        (Answer(302), ArchiveError),
        (Answer(500), ArchiveError),
        (Answer(404), ArchiveError),
        (Answer(200, None), ArchiveError),
    ],
)
def test_other_answers_are_refused(
    answer: Answer, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = archive()
    monkeypatch.setattr(found._session, "request", lambda *a, **k: answer)
    with pytest.raises(error) as caught:
        found.find_studies({"PatientID": "SECRET"})
    assert "SECRET" not in str(caught.value)


def test_object_that_was_not_stored_is_an_error() -> None:
    assert pacs_web._failed({"00081198": {"vr": "SQ", "Value": [{}]}})
    assert not pacs_web._failed({"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": [{}]}})


def test_list_shorter_than_the_archives_own_count_is_refused() -> None:
    listed = [(f"1.2.{n}", IMAGE_CLASSES[0]) for n in range(29)] + [
        ("1.2.99", "1.2.840.10008.5.1.4.1.1.88.33")
    ]
    for counted in ("", "30", "?"):
        assert images_of("1.2", counted, listed) == [Image("1.2", f"1.2.{n}") for n in range(29)]
    with pytest.raises(ArchiveError, match="counts 31 images in a series and lists 30"):
        images_of("1.2", "31", listed)
