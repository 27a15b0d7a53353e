"""Config of image archives: where they are. Credentials come from the environment, never from a file of ours."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from implantflow.config.base import Section

AeTitle = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,16}$")]

#: Names of this machine itself, which no wire leads to.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _Node(Section):
    tls: bool = Field(
        description="Whether the connection is encrypted. With true the server's certificate is checked; its "
        "authority, and the own certificate and key where the server asks for them, come from the environment "
        "(IMPLANTFLOW_PACS_NODE_CA, _CERT, _KEY: files). false sends patients' data in the clear: only inside a "
        "network that is protected otherwise."
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="Longest silence of the server before giving up, s."
    )


class DimseNode(_Node):
    """An archive spoken to by DIMSE: C-FIND, C-GET, C-STORE (DICOM PS3.4)."""

    kind: Literal["dimse"] = "dimse"
    host: str = Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$", description="Host name or address.")
    port: int = Field(ge=1, le=65535, description="TCP port.")
    called_ae: AeTitle = Field(description="The archive's application entity title.")
    calling_ae: AeTitle = Field(description="Our own, as the archive's administrator registered it.")

    @property
    def local(self) -> bool:
        """True when the server is this machine."""
        return self.host in LOOPBACK


class WebNode(_Node):
    """An archive spoken to by DICOMweb: QIDO-RS, WADO-RS, STOW-RS (DICOM PS3.18)."""

    kind: Literal["dicomweb"] = "dicomweb"
    url: str = Field(
        pattern=r"^https?://[^\s?#]+$",
        description="Root of the services, e.g. https://archive.example/dicom-web. User and password, or a token, come "
        "from the environment (IMPLANTFLOW_PACS_NODE_USER and _PASSWORD, or _TOKEN).",
    )

    @property
    def local(self) -> bool:
        """True when the server is this machine."""
        return urlsplit(self.url).hostname in LOOPBACK

    @model_validator(mode="after")
    def _plain(self) -> Self:
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            raise ValueError("url holds a user or password: take it out and set IMPLANTFLOW_PACS_NODE_USER")
        if (parts.scheme == "https") != self.tls:
            raise ValueError(f"url begins with {parts.scheme}:// but tls is {str(self.tls).lower()}")
        return self


PacsNode = Annotated[DimseNode | WebNode, Field(discriminator="kind")]
