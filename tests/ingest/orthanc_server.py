"""A real Orthanc on loopback for one test session, and a wire to it that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

USER, PASSWORD = "reader", "ZQKANARYORTHANCPASSWORD"
AE = "ARCHIVE"
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


@dataclass(frozen=True)
class Orthanc:
    """Ports of a running server."""

    dicom_port: int
    http_port: int

    def rest(self, method: str, path: str, **options: Any) -> Any:
        """Orthanc's own interface, which the library under test does not use."""
        url = f"http://127.0.0.1:{self.http_port}/{path}"
        answer = requests.request(method, url, auth=(USER, PASSWORD), timeout=30, **options)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.content

    def upload(self, folder: Path) -> None:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            self.rest("POST", "instances", data=path.read_bytes())

    def clear(self) -> None:
        for patient in self.rest("GET", "patients"):
            self.rest("DELETE", f"patients/{patient}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def orthanc_or_skip() -> tuple[str, str]:
    """Programme and DICOMweb plugin; skips where they are not installed, never in CI."""
    programme = shutil.which("Orthanc")
    plugin = next((str(p) for d in _PLUGINS for p in sorted(Path(d).glob("libOrthancDicomWeb*.so*"))), None)
    if programme and plugin:
        return programme, plugin
    reason = "Orthanc and its DICOMweb plugin are not installed (Debian: orthanc orthanc-dicomweb)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def running(folder: Path, tls: dict[str, Path] | None = None) -> Iterator[Orthanc]:
    """Start a server with an empty store in ``folder``; ``tls`` (files ca, cert, key): DIMSE is encrypted.

    Its web server stays plain: Debian's build crashes with its own HTTPS, which hospitals put in front of it anyway
    (here: a :class:`Wire` with TLS).
    """
    programme, plugin = orthanc_or_skip()
    server = Orthanc(free_port(), free_port())
    config: dict[str, Any] = {
        "Name": "test",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": server.http_port,
        "DicomPort": server.dicom_port,
        "DicomAet": AE,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [plugin],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": False,
        "DicomModalities": {
            "us": {"AET": "IMPLANTFLOW", "Host": "127.0.0.1", "Port": 1, "AllowGet": True, "AllowFind": True}
        },
        "UnknownSopClassAccepted": True,
        "KeepAlive": True,
    }
    if tls:
        config |= {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(tls["cert"]),
            "DicomTlsPrivateKey": str(tls["key"]),
            "DicomTlsTrustedCertificates": str(tls["ca"]),
        }
    (folder / "store").mkdir(parents=True)
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [programme, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(150):
        if process.poll() is not None:
            break
        with contextlib.suppress(requests.exceptions.RequestException):
            server.rest("GET", "system")
            return
        time.sleep(0.2)
    raise AssertionError(f"Orthanc did not start: {log.read_text()[-2000:]}")


class Wire:
    """A TCP relay to a port, which stops after so many bytes from the server."""

    def __init__(self, port: int, allowed: list[int | None], tls: ssl.SSLContext | None = None) -> None:
        """``allowed``: bytes each connection in turn may carry back; None or past the end: all."""
        self._port, self._allowed, self.connections = port, list(allowed), 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            limit = self._allowed[number] if number < len(self._allowed) else None
            try:
                client = self._tls.wrap_socket(client, server_side=True) if self._tls else client
            except OSError:
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=_relay, args=(client, server, None), daemon=True).start()
            threading.Thread(target=_relay, args=(server, client, limit), daemon=True).start()


def _relay(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data if limit is None else data[: max(0, limit - passed)])
            passed += len(data)
            if limit is not None and passed >= limit:
                break
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def wire(port: int, *allowed: int | None, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """A :class:`Wire` for the duration of a test."""
    made = Wire(port, list(allowed), tls)
    try:
        yield made
    finally:
        made.close()
