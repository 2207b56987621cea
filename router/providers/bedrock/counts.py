"""Bedrock's usage as ours. Its `inputTokens` are what no cache had a part in; ours include every part."""

from typing import Annotated

import msgspec

from router.domain.usage import Usage
from router.providers.usage import MAX_COUNT

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class _Written(msgspec.Struct, rename="camel"):
    ttl: str = ""
    input_tokens: _Count = 0


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    total_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_write_input_tokens: _Count | None = None
    cache_details: list[_Written] | None = None


_USAGE = msgspec.json.Decoder(_Usage)


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """None where it is absent, odd, or says nothing of the input."""
    try:
        told = _USAGE.decode(raw) if raw else None
    except (msgspec.MsgspecError, RecursionError):
        return None
    if told is None or told.input_tokens is None:
        return None
    output, read, written = told.output_tokens or 0, told.cache_read_input_tokens or 0, told.cache_write_input_tokens or 0
    # A model whose cache works by itself may count its reads within the input: then the sum says so.
    is_inside = told.total_tokens == told.input_tokens + output and read + written <= told.input_tokens
    return Usage(
        input_tokens=told.input_tokens + (0 if is_inside else read + written),
        output_tokens=output,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(sum(w.input_tokens for w in told.cache_details or () if w.ttl == "1h"), written),
    )
