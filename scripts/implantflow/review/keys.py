"""Key pairs of reviewers: the private key stays with the person, the public key goes into the site config."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from implantflow.config.site import Reviewer
from implantflow.errors import ReviewError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PROJECT_DIR = Path(__file__).parents[3]


def make_key_pair(path: Path, passphrase: bytes | None) -> str:
    """Write a new Ed25519 private key (PKCS#8 PEM, mode 600) and return the public key as hex.

    Parameters
    ----------
    path : Path
        New file outside the project and outside any git work tree.
    passphrase : bytes or None
        Encrypts the file; None leaves it readable to whoever can read the file.

    Raises
    ------
    ReviewError
        The place is inside a project, or the file exists.
    """
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _check_place(path)
    key = Ed25519PrivateKey.generate()
    encryption = s.BestAvailableEncryption(passphrase) if passphrase else s.NoEncryption()
    pem = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ReviewError(
            "a key is never overwritten", where=str(path), fix="give another file name"
        ) from error
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        path.unlink(missing_ok=True)  # half a key
        raise
    return public_hex(key)


def read_private_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Read a key made by :func:`make_key_pair`.

    Raises
    ------
    ReviewError
        Missing, readable to others, inside the project, encrypted with another passphrase, or not Ed25519.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.is_file():
        raise ReviewError("the key file is missing", where=str(path), fix="give your own with --key KEYFILE")
    _check_place(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ReviewError(
            "other users can read this private key",
            where=str(path),
            fix=f"chmod 600 {path}; if others may have read it, have it revoked in config/site.yaml",
        )
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ReviewError(
            f"not a private key that can be read: {error}", where=str(path), fix="check the passphrase"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReviewError("not an Ed25519 key", where=str(path), fix="make one with `review keygen`")
    return key


def is_encrypted(path: Path) -> bool:
    """True when the key file asks for a passphrase."""
    return path.is_file() and b"ENCRYPTED PRIVATE KEY" in path.read_bytes()[:200]


def public_hex(key: Ed25519PrivateKey) -> str:
    """The 32 bytes of the public key belonging to ``key``, as hex."""
    return key.public_key().public_bytes_raw().hex()


def registry_entry(reviewer: Reviewer) -> str:
    """YAML of one reviewer, to paste below ``reviewers:`` in config/site.yaml."""
    import yaml

    data = reviewer.model_dump(mode="json", exclude_none=True)
    lines = yaml.safe_dump([data], sort_keys=False, allow_unicode=True).splitlines()
    return "\n".join(f"  {line}" for line in lines) + "\n"


def _check_place(path: Path) -> None:
    place = path.resolve()
    if place.is_relative_to(PROJECT_DIR) or any((p / ".git").exists() for p in place.parents):
        raise ReviewError(
            "a private key does not belong into a project folder: it would travel with it",
            where=str(path),
            fix="keep it in your own home folder or on a token only you hold",
        )
