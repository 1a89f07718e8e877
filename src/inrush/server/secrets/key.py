"""The key of a home: the file `key` (mode 0600). It encrypts what the store must not hold in clear, with AES-GCM, and
keys for other purposes are derived from it."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from inrush import intact
from inrush.errors import InvalidError


class HomeKey:
    """The key in the file `path`, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = _load(path)

    def encrypt(self, what: str, data: bytes) -> bytes:
        """Encrypts bytes for the store. The same `what` is needed to decrypt them."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return nonce + AESGCM(self._key).encrypt(nonce, data, what.encode())

    def decrypt(self, what: str, sealed: bytes, name: str = "") -> bytes:
        """Decrypts what `encrypt` encrypted. Raises `InvalidError`, which calls it `name`, if another key encrypted
        it."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._key).decrypt(sealed[:12], sealed[12:], what.encode())
        except InvalidTag:
            raise InvalidError(
                f"the {name or what} cannot be decrypted: the file `key` of the home is not the one that encrypted it; "
                "restore that file"
            ) from None

    def derived(self, purpose: str) -> bytes:
        """A key for another purpose."""
        return self.digest(purpose.encode())

    def digest(self, data: bytes) -> bytes:
        """An HMAC of these bytes, from which nobody without the key can tell what they are."""
        return hmac.new(self._key, data, hashlib.sha256).digest()


def _load(path: Path) -> bytes:
    key = intact.read(path, _whole, "restore it, or remove it and create the secrets again")
    if key is None:
        key = os.urandom(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    return key


def _whole(data: bytes) -> bytes:
    if len(data) != 32:
        raise ValueError("it must have 32 bytes")
    return data
