"""A provider's usage object, in any of the shapes seen in the OpenAI family, as our `Usage`."""

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from router.domain.usage import Usage

MAX_COUNT = 2**31
"""No real count is above this; what is above it, negative or no integer is clamped and marked `suspect`."""

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_INPUT_PARTS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_PARTS = ("completion_tokens_details", "output_tokens_details")
# Where the same count is found outside the details: DeepSeek; Mistral; Together and Moonshot; Databricks.
_CACHED = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens")

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] | None


class _Parts(msgspec.Struct, gc=False):
    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    audio_tokens: _Count = None
    reasoning_tokens: _Count = None


class Sound(msgspec.Struct, gc=False):
    """The names nearly every answer uses, with nothing odd in them: read in a quarter of the time."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: _Parts | None = None
    completion_tokens_details: _Parts | None = None
    input_tokens_details: _Parts | None = None
    output_tokens_details: _Parts | None = None
    prompt_cache_hit_tokens: _Count = None
    num_cached_tokens: _Count = None
    cached_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    reasoning_tokens: _Count = None
    audio_prompt_tokens: _Count = None


_NO_PARTS = _Parts()
_SOUND = msgspec.json.Decoder(Sound)
_ANY = msgspec.json.Decoder(dict[str, object])


class Counts(msgspec.Struct, frozen=True, gc=False):
    """The counts of one usage object; None is absent or null, which is unknown and never 0."""

    input: int | None = None
    output: int | None = None
    total: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    suspect: bool = False

    def then(self, later: "Counts") -> "Counts":
        """Counts of one stream are cumulative: what a later object knows replaces what an earlier one said."""
        if self.input is None and self.output is None and self.total is None:
            return later
        return Counts(
            input=_later(self.input, later.input),
            output=_later(self.output, later.output),
            total=_later(self.total, later.total),
            cached=_later(self.cached, later.cached),
            cache_write=_later(self.cache_write, later.cache_write),
            reasoning=_later(self.reasoning, later.reasoning),
            audio_input=_later(self.audio_input, later.audio_input),
            audio_output=_later(self.audio_output, later.audio_output),
            suspect=self.suspect or later.suspect,
        )

    def usage(self, *, has_output: bool = True) -> Usage | None:
        """None where the input is unknown. `estimated` with output 0: the output is unknown and is to be estimated.

        `has_output` False: an API without output tokens, so that its absence is 0.
        """
        count_in, count_out, total = self.input, self.output, self.total
        if count_out is None and not has_output:
            count_out = 0
        if total is not None:
            if count_in is None and count_out is not None:
                count_in = max(0, total - count_out)
            elif count_out is None and count_in is not None:
                count_out = max(0, total - count_in)
        if count_in is None:
            return None
        # A part that the provider's own total shows to be left out of its whole is added to it: xAI counts reasoning
        # beside the completion, Mistral audio beside the prompt. `Usage` includes both.
        if total is not None and count_out is not None and (missing := total - count_in - count_out) > 0:
            if missing == self.reasoning:
                count_out += missing
            elif missing == self.audio_input:
                count_in += missing
        # In the order of its fields: their names would cost more than all the rest.
        return Usage(
            count_in,
            count_out or 0,
            self.cached or 0,
            self.cache_write or 0,
            self.reasoning or 0,
            self.audio_input or 0,
            self.audio_output or 0,
            count_out is None,
            self.suspect,
        )


def _later(old: int | None, new: int | None) -> int | None:
    return old if new is None else new


def counts_of(usage: bytes | msgspec.Raw) -> Counts | None:
    """Read a usage object from its JSON bytes; None if it is null, absent, no object, or holds no count at all."""
    if not usage:
        return None
    try:
        return sound_counts(_SOUND.decode(usage))
    except (msgspec.MsgspecError, RecursionError):
        return _odd_counts(usage)


def sound_counts(found: Sound | None) -> Counts | None:
    """None where there is no usage, or no count in it."""
    if found is None:
        return None
    into = found.prompt_tokens_details or found.input_tokens_details or _NO_PARTS
    out = found.completion_tokens_details or found.output_tokens_details or _NO_PARTS
    count_in, count_out = found.prompt_tokens, found.completion_tokens
    if count_in is None:
        count_in = found.input_tokens
    if count_out is None:
        count_out = found.output_tokens
    if count_in is None and count_out is None and found.total_tokens is None:
        return None
    cached, written = into.cached_tokens, into.cache_write_tokens
    if cached is None:
        cached = found.prompt_cache_hit_tokens
    if cached is None:
        cached = found.num_cached_tokens
    if cached is None:
        cached = found.cached_tokens
    if cached is None:
        cached = found.cache_read_input_tokens
    reasoning, audio = out.reasoning_tokens, into.audio_tokens
    return Counts(
        count_in,
        count_out,
        found.total_tokens,
        cached,
        found.cache_creation_input_tokens if written is None else written,
        found.reasoning_tokens if reasoning is None else reasoning,
        found.audio_prompt_tokens if audio is None else audio,
        out.audio_tokens,
    )


def _odd_counts(usage: bytes | msgspec.Raw) -> Counts | None:
    """The slow reading, for an object with a count that is no count: it is clamped, the rest is kept."""
    try:
        found = _ANY.decode(usage)
    except (msgspec.MsgspecError, RecursionError):
        return None
    into, out = _part(found, _INPUT_PARTS), _part(found, _OUTPUT_PARTS)
    read = _Reader()
    counts = Counts(
        input=read.first(found, _INPUT),
        output=read.first(found, _OUTPUT),
        total=read.count(found.get("total_tokens")),
        cached=read.either(into.get("cached_tokens"), read.first(found, _CACHED)),
        cache_write=read.either(into.get("cache_write_tokens"), found.get("cache_creation_input_tokens")),
        reasoning=read.either(out.get("reasoning_tokens"), found.get("reasoning_tokens")),
        audio_input=read.either(into.get("audio_tokens"), found.get("audio_prompt_tokens")),
        audio_output=read.count(out.get("audio_tokens")),
    )
    if counts.input is None and counts.output is None and counts.total is None:
        return None
    return msgspec.structs.replace(counts, suspect=True) if read.is_suspect else counts


def with_output(usage: Usage, estimate: Callable[[], int]) -> Usage:
    """`usage`, with the estimate in place of an output that the provider left unknown."""
    return msgspec.structs.replace(usage, output_tokens=estimate()) if usage.estimated else usage


def _part(found: Mapping[str, object], names: tuple[str, str]) -> Mapping[str, object]:
    for name in names:
        part = found.get(name)
        if isinstance(part, dict):
            return part
    return {}


class _Reader:
    """Reads counts and remembers whether one of them had to be clamped."""

    __slots__ = ("is_suspect",)

    def __init__(self) -> None:
        self.is_suspect = False

    def count(self, value: object) -> int | None:
        if value is None:
            return None
        if type(value) is int and 0 <= value <= MAX_COUNT:
            return value
        self.is_suspect = True
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(min(max(value, 0), MAX_COUNT))
        return None

    def either(self, value: object, other: object) -> int | None:
        return self.count(value if value is not None else other)

    def first(self, found: Mapping[str, object], names: tuple[str, ...]) -> int | None:
        for name in names:
            if (value := found.get(name)) is not None:
                return self.count(value)
        return None
