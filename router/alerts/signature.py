"""Standard Webhooks: what is signed, with which secret, and in which headers it travels."""

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256

from router.config.fields import SIGNING_KEY_PREFIX


def signing_key(secret: str) -> bytes:
    """The key behind a configured secret: what `whsec_` encodes, else the text's own bytes."""
    if secret.startswith(SIGNING_KEY_PREFIX):
        return b64decode(secret.removeprefix(SIGNING_KEY_PREFIX))
    return secret.encode("utf-8", "surrogateescape")


def shown_secret(key: bytes) -> str:
    """A key in the form receivers' libraries take."""
    return SIGNING_KEY_PREFIX + b64encode(key).decode()


def signed_headers(letter_id: str, body: bytes, key: bytes, now: int) -> dict[str, str]:
    """`now` is the time of this attempt in microseconds since the epoch; the id is the letter's and stays."""
    message_id, timestamp = f"msg_{letter_id}", str(now // 1_000_000)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = b64encode(hmac.digest(key, signed, sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}
