"""DIMSE: C-FIND, C-GET and C-STORE with pynetdicom (DICOM PS3.4, PS3.7)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from implantflow.config.pacs import DimseNode
from implantflow.dicom.pacs import IMAGE_CLASSES, MODALITIES, ArchiveError, Image, Keep, Study, images_of
from implantflow.dicom.quiet import quietly
from implantflow.errors import InputError

#: Offered one by one, so that an image comes as it is stored: explicit and implicit little endian, deflated, big
#: endian, RLE, JPEG lossless (two), baseline and extended, JPEG-LS (two), JPEG 2000 (two).
_SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
)
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000


class DimseArchive:
    """One archive and our own application entity."""

    def __init__(self, node: DimseNode, secret: Mapping[str, str]) -> None:
        self._node = node
        self._secret = secret

    def find_studies(self, query: Mapping[str, str]) -> list[Study]:
        """Studies that match."""
        keys = (
            "StudyInstanceUID",
            "StudyDate",
            "ModalitiesInStudy",
            "StudyDescription",
            "NumberOfStudyRelatedInstances",
        )
        answers = self._find("STUDY", {**dict.fromkeys(keys, ""), **query})
        return [Study(*(_text(answer, key) for key in keys)) for answer in answers]

    def images(self, study_uid: str) -> list[Image]:
        """Every image of the study's CT and MR series."""
        keys = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
        series = self._find("SERIES", {"StudyInstanceUID": study_uid, **dict.fromkeys(keys, "")})
        found: list[Image] = []
        for one in series:
            if _text(one, "Modality") not in MODALITIES:
                continue
            uid = _text(one, "SeriesInstanceUID")
            query = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid}
            listed = self._find("IMAGE", {**query, "SOPInstanceUID": "", "SOPClassUID": ""})
            pairs = [(_text(answer, "SOPInstanceUID"), _text(answer, "SOPClassUID")) for answer in listed]
            found += images_of(uid, _text(one, "NumberOfSeriesRelatedInstances"), pairs)
        return found

    def fetch(self, study_uid: str, wanted: Sequence[Image], keep: Keep) -> None:
        """C-GET of every series that lacks images; single images where few of them do."""
        by_series: dict[str, list[str]] = {}
        for image in wanted:
            by_series.setdefault(image.series_uid, []).append(image.sop_uid)
        for series_uid, sop_uids in by_series.items():
            query = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
            self._get("IMAGE", {**query, "SOPInstanceUID": sop_uids}, keep)

    def send(self, datasets: Sequence[Any]) -> None:
        """Store all objects over one association."""
        from pynetdicom import build_context

        kinds = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(kinds)]
        with self._association(contexts) as association:
            for dataset in datasets:
                try:
                    status = association.send_c_store(dataset).get("Status")
                except ValueError:
                    raise ArchiveError("the archive does not take objects of this kind") from None
                if status is None:
                    raise ArchiveError("the connection to the archive broke")
                if status != _SUCCESS and status >> 12 != 0xB:
                    raise ArchiveError(f"the archive refused an object (status 0x{status:04X})")

    def holds(self, study_uid: str, series_uid: str, sop_uid: str) -> bool:
        """Whether the archive lists this object."""
        query = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": sop_uid}
        return any(_text(answer, "SOPInstanceUID") == sop_uid for answer in self._find("IMAGE", query))

    def _find(self, level: str, keys: Mapping[str, Any]) -> list[Any]:
        from pynetdicom import build_context

        found = []
        with self._association([build_context(_FIND)]) as association:
            for status, answer in association.send_c_find(_identifier(level, keys), _FIND):
                _check(status, "search")
                if status.Status in _PENDING:
                    found.append(answer)
                    continue
                return found
        raise ArchiveError("the connection broke during the search")

    def _get(self, level: str, keys: Mapping[str, Any], keep: Keep) -> None:
        from pynetdicom import build_context, build_role, evt

        problems: list[Exception] = []

        def on_store(event: Any) -> int:
            try:
                keep("", event.encoded_dataset())
            except Exception as error:  # raised on the library's thread; given on below
                problems.append(error)
                return 0xA700
            return _SUCCESS

        contexts = [build_context(_GET)]
        contexts += [build_context(c, s) for c in IMAGE_CLASSES for s in _SYNTAXES]
        roles = [build_role(sop_class, scp_role=True) for sop_class in IMAGE_CLASSES]
        with self._association(contexts, roles, [(evt.EVT_C_STORE, on_store)]) as association:
            done = False
            for status, _ in association.send_c_get(_identifier(level, keys), _GET):
                if problems:
                    association.abort()
                    break
                _check(status, "retrieval")
                done = status.Status not in _PENDING
        if problems:
            raise problems[0]
        if not done:
            raise ArchiveError("the connection broke during the retrieval")

    @contextlib.contextmanager
    def _association(
        self, contexts: Sequence[Any], roles: Sequence[Any] = (), handlers: Sequence[Any] = ()
    ) -> Iterator[Any]:
        from pynetdicom import AE

        node = self._node
        entity = AE(ae_title=node.calling_ae)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = node.timeout_s
        entity.connection_timeout = node.timeout_s
        with quietly(), _silent():
            association = entity.associate(
                node.host,
                node.port,
                contexts=list(contexts),
                ae_title=node.called_ae,
                ext_neg=list(roles),
                evt_handlers=list(handlers),
                tls_args=self._tls(),
            )
            if not association.is_established:
                raise ArchiveError(
                    "the archive rejected us: it may not know our AE title"
                    if association.is_rejected
                    else "no connection to the archive",
                    where="config/site.yaml, pacs",
                    fix="check host, port, called_ae, calling_ae, tls, and that the archive knows calling_ae",
                )
            try:
                yield association
            finally:
                if association.is_established:
                    association.release()
                else:
                    association.abort()

    def _tls(self) -> tuple[Any, str] | None:
        if not self._node.tls:
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=self._secret.get("CA"))
            if "CERT" in self._secret:
                context.load_cert_chain(self._secret["CERT"], self._secret["KEY"])
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"a certificate or key cannot be read ({type(error).__name__})", where="environment"
            ) from None
        return context, self._node.host


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """pynetdicom's log quotes what it sends and gets."""
    log = logging.getLogger("pynetdicom")
    was_disabled, level = log.disabled, log.level
    log.setLevel(logging.CRITICAL + 1)
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = was_disabled
        log.setLevel(level)


def _identifier(level: str, keys: Mapping[str, Any]) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


def _check(status: Any, what: str) -> None:
    """Refuse every answer but success, pending and warning (B000: some sub-operations failed; counted later)."""
    code = status.get("Status") if status else None
    if code is None:
        raise ArchiveError(f"the connection broke during the {what}")
    if code not in (_SUCCESS, 0xB000, *_PENDING):
        raise ArchiveError(f"the archive ended the {what} with status 0x{code:04X}")


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    many = not isinstance(value, str) and hasattr(value, "__iter__")
    return "\\".join(str(v) for v in value) if many else str(value)
