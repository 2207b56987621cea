"""Errors of the providers behind these APIs: Google's, Amazon's, Cohere's, Hugging Face's, Azure's envelopes."""

from typing import Any

import msgspec

from router.providers.codec import ToldError
from router.providers.openai_chat_codec.errors_in import decode_error as _openai_error

_MEMBERS = msgspec.json.Decoder(dict[str, Any])


def decode_error(status: int, body: bytes) -> ToldError:
    """Never raises."""
    told = _openai_error(status, body)
    try:
        found = _MEMBERS.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return told
    inner = found.get("error")
    state = inner.get("status") if isinstance(inner, dict) else None
    if isinstance(state, str) and told.code is not None and told.code.isdigit():
        return msgspec.structs.replace(told, code=state)
    if isinstance(amazon := found.get("Message"), str):
        return ToldError(amazon)
    return told
