"""Whole JSON answers: the usage they carry, and an estimate of what they hold where they carry none."""

import msgspec

from router.domain.usage import Usage
from router.providers.usage import Counts, Sound, counts_of, sound_counts, with_output

BYTES_PER_TOKEN = 4
_TEXTS = frozenset({"content", "text", "reasoning_content", "reasoning", "thinking", "refusal", "arguments", "name", "code"})
_MAX_DEPTH = 16


class _Metered(msgspec.Struct, gc=False):
    usage: Sound | None = None


class _Odd(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


_METERED = msgspec.json.Decoder(_Metered)
_ODD = msgspec.json.Decoder(_Odd)
_ANY = msgspec.json.Decoder(dict[str, object])


def counts_in(answer: bytes) -> Counts | None:
    """The usage of a whole answer, None if it gives none. Raises ValueError if `answer` is no JSON object."""
    try:
        try:
            return sound_counts(_METERED.decode(answer).usage)
        except msgspec.ValidationError:
            return counts_of(_ODD.decode(answer).usage)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON object: {error}") from None


def usage_in(answer: bytes) -> Usage | None:
    """The same as it is charged: an output that is left unknown is estimated from the texts of the answer."""
    counts = counts_in(answer)
    if counts is None:
        return None
    usage = counts.usage()
    if usage is None or not usage.estimated:
        return usage
    return with_output(usage, lambda: estimated_output_tokens(answer))


def estimated_output_tokens(answer: bytes) -> int:
    """A token per four bytes of the texts in `choices`, `output` or `content`: at least 1 where there is any, else 0."""
    try:
        found = _ANY.decode(answer)
    except (msgspec.MsgspecError, RecursionError):
        return max(1, len(answer) // BYTES_PER_TOKEN) if answer else 0
    size = sum(_text_bytes(found.get(name), 0) for name in ("choices", "output", "content"))
    return max(1, size // BYTES_PER_TOKEN) if size else 0


def _text_bytes(value: object, depth: int) -> int:
    if depth > _MAX_DEPTH:
        return 0
    if isinstance(value, list):
        return sum(_text_bytes(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return 0
    size = 0
    for name, item in value.items():
        if isinstance(item, str):
            size += len(item.encode()) if name in _TEXTS else 0
        elif name == "input":
            size += len(msgspec.json.encode(item))  # the arguments of a tool, as an object
        else:
            size += _text_bytes(item, depth + 1)
    return size
