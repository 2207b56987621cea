"""Encryption of what callers were answered. Imported at its first use: the library costs start and memory."""

import hmac
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class AesGcm:
    """AES-256-GCM. Every name has a key of its own, so that nonces drawn at random cannot come to repeat under one."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, plain: bytes, name: str, context: bytes) -> bytes:
        """`plain`, encrypted; it opens under the same `name` and `context` only."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(name).encrypt(nonce, plain, context)

    def open(self, sealed: bytes, name: str, context: bytes) -> bytes:
        """What was sealed. Raises ValueError if it is not intact, or was sealed under something else."""
        try:
            return self._cipher(name).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("not what was sealed under this name") from None

    def _cipher(self, name: str) -> AESGCM:
        return AESGCM(hmac.digest(self._key, name.encode(), sha256))
