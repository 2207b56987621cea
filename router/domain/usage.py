"""What was used and what it costs: integers only, no floats, ever."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

import msgspec

if TYPE_CHECKING:
    NanoUSD = NewType("NanoUSD", int)
    """Money: 1e-9 USD."""
else:
    # What NewType makes is called, in Python, each time: ten times a request.
    NanoUSD = int

PER_MILLION = 1_000_000
NANO_PER_USD = 1_000_000_000


class Usage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Units one attempt used, in the provider's own count. Stands in journals as an array: new fields go to the end.

    `input_tokens` includes cached reads and cache writes; `output_tokens` includes reasoning. The audio and image
    counts are parts of input or output too, `cache_write_1h_tokens` are a part of the cache writes. `estimated` marks
    numbers the provider did not give; `suspect` marks numbers that were clamped. `searches` are what reranking is sold by.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    estimated: bool = False
    suspect: bool = False
    cache_write_1h_tokens: int = 0
    searches: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NOTHING = Usage()


def usage_sum(parts: Sequence[Usage]) -> Usage:
    """What several attempts used together; `estimated` and `suspect` if any was."""
    return Usage(
        input_tokens=sum(u.input_tokens for u in parts),
        output_tokens=sum(u.output_tokens for u in parts),
        cached_input_tokens=sum(u.cached_input_tokens for u in parts),
        cache_write_tokens=sum(u.cache_write_tokens for u in parts),
        reasoning_tokens=sum(u.reasoning_tokens for u in parts),
        audio_input_tokens=sum(u.audio_input_tokens for u in parts),
        audio_output_tokens=sum(u.audio_output_tokens for u in parts),
        estimated=any(u.estimated for u in parts),
        suspect=any(u.suspect for u in parts),
        cache_write_1h_tokens=sum(u.cache_write_1h_tokens for u in parts),
        searches=sum(u.searches for u in parts),
    )


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD per million units. None means "as the plainer unit": cached and audio input as input, and so on.

    An explicit 0 is a price. `input` and `output` are always known; an unknown price is the absence of a `Price`.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image: int | None = None
    second: int | None = None
    character: int | None = None
    search: int | None = None
    cache_write_1h: int | None = None
    dearest_input: int = field(init=False, compare=False, repr=False)
    dearest_output: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        dearest_in = max(self.input, self.cached_input or 0, self.cache_write or 0, self.audio_input or 0)
        object.__setattr__(self, "dearest_input", dearest_in)
        object.__setattr__(self, "dearest_output", max(self.output, self.reasoning or 0, self.audio_output or 0))

    def of(self, usage: Usage) -> NanoUSD:
        """Cost of `usage`, rounded up once. Parts that exceed their whole are capped at it, so a cost is never negative."""
        if usage.searches:
            return self._with_searches(usage)
        if not (
            usage.cached_input_tokens
            or usage.cache_write_tokens
            or usage.reasoning_tokens
            or usage.audio_input_tokens
            or usage.audio_output_tokens
        ):
            return NanoUSD(-(-(usage.input_tokens * self.input + usage.output_tokens * self.output) // PER_MILLION))
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        for_an_hour = min(usage.cache_write_1h_tokens, written)
        audio_in = min(usage.audio_input_tokens, usage.input_tokens - cached - written)
        reasoning = min(usage.reasoning_tokens, usage.output_tokens)
        audio_out = min(usage.audio_output_tokens, usage.output_tokens - reasoning)
        total = (
            (usage.input_tokens - cached - written - audio_in) * self.input
            + cached * _or(self.cached_input, self.input)
            + (written - for_an_hour) * _or(self.cache_write, self.input)
            + for_an_hour * _or(self.cache_write_1h, _or(self.cache_write, self.input))
            + audio_in * _or(self.audio_input, self.input)
            + (usage.output_tokens - reasoning - audio_out) * self.output
            + reasoning * _or(self.reasoning, self.output)
            + audio_out * _or(self.audio_output, self.output)
        )
        return NanoUSD(-(-total // PER_MILLION))

    def _with_searches(self, usage: Usage) -> NanoUSD:
        """What is sold by the search has no parts of tokens with a price of their own."""
        total = usage.input_tokens * self.input + usage.output_tokens * self.output + usage.searches * (self.search or 0)
        return NanoUSD(-(-total // PER_MILLION))


def _or(price: int | None, fallback: int) -> int:
    return fallback if price is None else price


def usd_text(amount: NanoUSD) -> str:
    """Decimal USD without exponent or trailing zeros: 1500 -> "0.0000015"; at least one digit on each side."""
    if amount < 0:
        return f"-{usd_text(NanoUSD(-amount))}"
    digits = str(amount)
    point = len(digits) - 9
    if point > 0:
        return f"{digits[:point]}.{digits[point:].rstrip('0') or '0'}"
    return f"0.{digits.zfill(9).rstrip('0') or '0'}"
