"""Anthropic's usage object as our counts. Its `input_tokens` are what no cache had a part in; ours include every part."""

from typing import Annotated, NamedTuple

import msgspec

from router.domain.usage import Usage
from router.providers.usage import MAX_COUNT, Counts, counts_of

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class _Written(msgspec.Struct):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _Thought(msgspec.Struct):
    thinking_tokens: _Count | None = None


class _Parts(msgspec.Struct):
    cache_creation: _Written | None = None
    output_tokens_details: _Thought | None = None


_PARTS = msgspec.json.Decoder(_Parts)


class MessageCounts(NamedTuple):
    """What one stream or answer has told. `counts` stand as in the object; `hour` is what of the cache writes is kept for
    an hour, None where it does not say."""

    counts: Counts
    hour: int | None = None

    def then(self, later: "MessageCounts") -> "MessageCounts":
        """Counts are cumulative: what a later object knows replaces what an earlier one said. An input of 0 without anything
        cached is a member that a server only filled in."""
        counts = self.counts.then(later.counts)
        if later.counts.input == 0 and not (later.counts.cached or later.counts.cache_write):
            counts = msgspec.structs.replace(counts, input=self.counts.input or 0)
        return MessageCounts(counts, self.hour if later.hour is None else later.hour)

    def usage(self) -> Usage | None:
        """With cached reads and cache writes inside the input; None where the input is unknown."""
        counts = self.counts
        if counts.input is None:
            return None
        every = counts.input + (counts.cached or 0) + (counts.cache_write or 0)
        whole = msgspec.structs.replace(counts, input=every).usage()
        return msgspec.structs.replace(whole, cache_write_1h_tokens=self.hour) if whole is not None and self.hour else whole


def message_counts(usage: bytes | msgspec.Raw) -> MessageCounts | None:
    """What a usage object says; None where it is absent, null, no object, or holds no count."""
    counts = counts_of(usage)
    if counts is None:
        return None
    parts = _parts(usage)
    written, thought = parts.cache_creation, parts.output_tokens_details
    if counts.cache_write is None and written is not None:
        both = written.ephemeral_5m_input_tokens + written.ephemeral_1h_input_tokens
        counts = msgspec.structs.replace(counts, cache_write=both)
    if thought is not None and thought.thinking_tokens is not None:
        counts = msgspec.structs.replace(counts, reasoning=thought.thinking_tokens)
    return MessageCounts(counts, None if written is None else written.ephemeral_1h_input_tokens)


def _parts(usage: bytes | msgspec.Raw) -> _Parts:
    """What the family's other dialects have no name for; nothing where it is odd."""
    try:
        return _PARTS.decode(usage)
    except (msgspec.MsgspecError, RecursionError):
        return _Parts()
