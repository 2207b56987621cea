"""Cohere's words for what is common, and the members of its usage."""

import msgspec

from router.domain.chat import Finish
from router.domain.usage import Usage
from router.providers.usage import Counts, counts_of

THINKING = "thinking"
PLAN = "tool_plan"
"""Two kinds of thoughts, each going back to its own place. Cohere signs neither: what stands as the signature of a Reasoning
is its kind, so that every caller gives it back."""

_FINISHES = {
    "COMPLETE": Finish.STOP,
    "STOP_SEQUENCE": Finish.STOP_SEQUENCE,
    "MAX_TOKENS": Finish.LENGTH,
    "TOOL_CALL": Finish.TOOLS,
}
FAILURES = {"ERROR": 500, "TIMEOUT": 504}
"""Finish reasons that say that Cohere itself failed: there is no answer. Each with the status it comes near."""


class _Usage(msgspec.Struct):
    billed_units: msgspec.Raw = msgspec.Raw()
    tokens: msgspec.Raw = msgspec.Raw()


_USAGE = msgspec.json.Decoder(_Usage)


def finish_of(word: str) -> Finish:
    return _FINISHES.get(word, Finish.UNKNOWN)


def usage_of(usage: msgspec.Raw) -> Usage | None:
    """What is billed, else what was counted; None where neither is told.

    `tokens` counts Cohere's own prompt too, which nobody pays for, and `cached_tokens` are of those: they are no part of
    what is billed.
    """
    try:
        told = _USAGE.decode(usage) if usage else _Usage()
    except (msgspec.MsgspecError, RecursionError):
        return None
    counted = counts_of(told.tokens) or Counts()
    billed = counts_of(told.billed_units) or counted
    if billed.input is None:
        return None
    output = billed.output or 0
    return Usage(
        input_tokens=billed.input,
        output_tokens=output,
        reasoning_tokens=min(counted.reasoning or 0, output),
        suspect=billed.suspect or counted.suspect,
    )
