"""DICOMweb: QIDO-RS to find, WADO-RS to fetch, STOW-RS to send (DICOM PS3.18).

Plain requests: the three calls are short, and dicomweb-client would bring its own retries, an image library, and
answers that are decoded before their completeness can be judged.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from implantflow.config.pacs import WebNode
from implantflow.dicom.pacs import MODALITIES, ArchiveError, Image, Keep, Study, images_of
from implantflow.errors import ConfigError

_JSON = {"Accept": "application/dicom+json"}
_WADO = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
#: Answers are asked for in pages of this many; servers cut longer ones without a word.
_PAGE = 500
#: Tags of the DICOM JSON model (PS3.18 F).
_TAGS = {
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "SOPInstanceUID": "00080018",
    "SOPClassUID": "00080016",
    "Modality": "00080060",
    "ModalitiesInStudy": "00080061",
    "StudyDate": "00080020",
    "StudyDescription": "00081030",
    "NumberOfStudyRelatedInstances": "00201208",
    "NumberOfSeriesRelatedInstances": "00201209",
    "FailedSOPSequence": "00081198",
}


class WebArchive:
    """One DICOMweb root."""

    def __init__(self, node: WebNode, secret: Mapping[str, str]) -> None:
        import requests

        if not node.tls and not node.local and {"PASSWORD", "TOKEN"} & set(secret):
            raise ConfigError(
                "the environment holds a password or token, but the connection is not encrypted",
                where="config/site.yaml, pacs",
                fix="use https and tls: true",
            )
        self._node = node
        self._session = requests.Session()
        # Proxies and .netrc of the machine must not see, nor add, anything.
        self._session.trust_env = False
        if "CA" in secret:
            self._session.verify = secret["CA"]
        if "CERT" in secret:
            self._session.cert = (secret["CERT"], secret["KEY"])
        if "USER" in secret:
            self._session.auth = (secret["USER"], secret["PASSWORD"])
        elif "TOKEN" in secret:
            self._session.headers["Authorization"] = f"Bearer {secret['TOKEN']}"

    def find_studies(self, query: Mapping[str, str]) -> list[Study]:
        """Studies that match."""
        fields = {"includefield": [_TAGS["StudyDescription"], _TAGS["NumberOfStudyRelatedInstances"]]}
        keys = (
            "StudyInstanceUID",
            "StudyDate",
            "ModalitiesInStudy",
            "StudyDescription",
            "NumberOfStudyRelatedInstances",
        )
        return [
            Study(*(_value(item, key) for key in keys)) for item in self._list("studies", {**query, **fields})
        ]

    def images(self, study_uid: str) -> list[Image]:
        """Every image of the study's CT and MR series."""
        found: list[Image] = []
        count = {"includefield": _TAGS["NumberOfSeriesRelatedInstances"]}
        for series in self._list(f"studies/{quote(study_uid, safe='')}/series", count):
            if _value(series, "Modality") not in MODALITIES:
                continue
            uid = _value(series, "SeriesInstanceUID")
            listed = self._list(_path(study_uid, uid), {})
            pairs = [(_value(item, "SOPInstanceUID"), _value(item, "SOPClassUID")) for item in listed]
            found += images_of(uid, _value(series, "NumberOfSeriesRelatedInstances"), pairs)
        return found

    def fetch(self, study_uid: str, wanted: Sequence[Image], keep: Keep) -> None:
        """One request an image: a broken one costs only itself."""
        for image in wanted:
            path = _path(study_uid, image.series_uid, image.sop_uid)
            answer = self._call("GET", path, headers=_WADO)
            keep(image.sop_uid, _single_part(answer.content, answer.headers.get("Content-Type", "")))

    def send(self, datasets: Sequence[Any]) -> None:
        """Store all objects in one request a study."""
        for dataset in datasets:
            boundary = secrets.token_hex(16)
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = head + buffer.getvalue() + f"\r\n--{boundary}--\r\n".encode()
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            answer = self._call(
                "POST",
                f"studies/{dataset.StudyInstanceUID}",
                data=body,
                headers={"Content-Type": kind, **_JSON},
            )
            if answer.status_code != 200 or _failed(_json(answer)):
                raise ArchiveError("the archive refused an object")

    def holds(self, study_uid: str, series_uid: str, sop_uid: str) -> bool:
        """Whether the archive lists this object."""
        listed = self._list(_path(study_uid, series_uid), {})
        return any(_value(item, "SOPInstanceUID") == sop_uid for item in listed)

    def _list(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All pages of a QIDO-RS answer."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        while True:
            page = {**query, "limit": _PAGE, "offset": len(found)}
            answer = self._call("GET", path, params=page, headers=_JSON)
            items = [] if answer.status_code == 204 else _json(answer)
            fresh = [item for item in items if _key(item) not in seen]
            seen |= {_key(item) for item in fresh}
            found += fresh
            # A short page may be the server's own limit, and one that knows no pages sends the same again: only a
            # page without anything new is the end.
            if not fresh:
                return found

    def _call(self, method: str, path: str, **options: Any) -> Any:
        import requests

        try:
            answer = self._session.request(
                method,
                f"{self._node.url.rstrip('/')}/{path}",
                timeout=self._node.timeout_s,
                allow_redirects=False,
                **options,
            )
        except requests.exceptions.SSLError:
            raise ArchiveError(
                "the archive's certificate is not trusted",
                fix="set IMPLANTFLOW_PACS_NODE_CA to its authority",
            ) from None
        except requests.exceptions.RequestException as error:
            raise ArchiveError(f"the connection to the archive failed ({type(error).__name__})") from None
        if answer.status_code in (401, 403):
            raise ConfigError(
                f"the archive lets us not in (status {answer.status_code})",
                where="environment",
                fix="set IMPLANTFLOW_PACS_NODE_USER and _PASSWORD, or _TOKEN",
            )
        if answer.status_code not in (200, 204):
            raise ArchiveError(f"the archive answered with status {answer.status_code}")
        return answer


def _path(study_uid: str, series_uid: str, sop_uid: str = "") -> str:
    """Path of a series' instances, or of one; UIDs come from the archive and are not trusted to be UIDs."""
    study, series, sop = (quote(uid, safe="") for uid in (study_uid, series_uid, sop_uid))
    return f"studies/{study}/series/{series}/instances" + (f"/{sop}" if sop else "")


def _json(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ArchiveError("the archive's answer is no DICOM JSON") from None


def _failed(answer: Mapping[str, Any]) -> bool:
    """Whether a STOW-RS answer (PS3.18 table 10.5.3-1) lists an object that was not stored; some list none, emptily."""
    return bool((answer.get(_TAGS["FailedSOPSequence"]) or {}).get("Value"))


def _value(item: Mapping[str, Any], keyword: str) -> str:
    values = (item.get(_TAGS[keyword]) or {}).get("Value") or []
    return "\\".join(str(value) for value in values)


def _key(item: Mapping[str, Any]) -> str:
    return "/".join(_value(item, k) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))


def _single_part(body: bytes, content_type: str) -> bytes:
    """The one object of a multipart/related answer (RFC 2387), which must have arrived to its last boundary."""
    if content_type.split(";")[0].strip().lower() == "application/dicom":
        return body
    marks = [part.strip() for part in content_type.split(";")]
    named = [m.split("=", 1)[1].strip('"') for m in marks if m.lower().startswith("boundary=")]
    if not named:
        raise ArchiveError("the archive's answer is no multipart")
    edge = f"--{named[0]}".encode()
    start, end = body.find(edge), body.rfind(b"\r\n" + edge)
    head = body.find(b"\r\n\r\n", start)
    if start < 0 or head < 0 or end <= head or body[end + 2 + len(edge) :][:2] != b"--":
        raise ArchiveError("an image arrived cut short")
    return body[head + 4 : end]
