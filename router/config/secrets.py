"""The server's secret: one secret, one derived key per purpose; made once beside an SQLite database."""

import hmac
import os
import secrets as entropy
import tempfile
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from router.config.paths import sqlite_file
from router.config.schema import RouterConfig

SECRET_BYTES = 32
_FILE = "router.secret"


class Purpose(StrEnum):
    """A label of its own for every use, so that no two uses share a key."""

    API_KEYS = "routerd api-key digest v1"
    BOOTSTRAP = "routerd bootstrap item hash v1"
    KEY_CACHE = "routerd principal cache v1"
    CONFIG_MASK = "routerd configuration mask v1"
    SESSIONS = "routerd session token v1"
    STORED_SECRETS = "routerd stored secret v1"
    IDEMPOTENCY = "routerd idempotent answer v1"
    WEBHOOKS = "routerd webhook signing v1"
    RESPONSES = "routerd stored response v1"


class SecretUnavailable(Exception):
    """The secret's file cannot be read or made; the message names the file and says what would be right."""


def derive(secret: bytes, label: str) -> bytes:
    """32 bytes for `label` by HKDF-SHA256 (RFC 5869) without salt; one block is all that is needed."""
    key = hmac.digest(bytes(32), secret, sha256)
    return hmac.digest(key, label.encode() + b"\x01", sha256)


def server_secret(config: RouterConfig, make: Callable[[int], bytes] = entropy.token_bytes) -> bytes:
    """The configured secret; else the one beside the SQLite database, made with mode 0600 if there is none.

    Raises SecretUnavailable.
    """
    if config.server.secret:
        return config.server.secret.encode()
    database = sqlite_file(config.database.url)
    if database is None:
        raise SecretUnavailable("server.secret is required with PostgreSQL")
    path = database.parent / _FILE
    try:
        if not path.exists():
            _create(path, make(SECRET_BYTES).hex())
        if path.stat().st_mode & 0o077:
            raise SecretUnavailable(f"{path}: others may read it; set its mode to 0600")
        secret = path.read_bytes().strip()
    except OSError as error:
        raise SecretUnavailable(f"{path}: {error.strerror}") from None
    if len(secret) < SECRET_BYTES:
        raise SecretUnavailable(f"{path}: holds {len(secret)} bytes, at least {SECRET_BYTES} are needed")
    return secret


def _create(path: Path, text: str) -> None:
    """Complete under its name or not there at all; of two processes that start together the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        os.unlink(draft)
