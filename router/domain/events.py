"""The answer while it is being made: what a stream says, in no provider's words, and how events and whole answers convert.

Order: `Started`; then, for each part of each choice, `PartStarted`, its deltas, `PartEnded`, parts in order and possibly
interleaved; `Finished` once a choice; `UsageReported` any number of times (the last one counts). `Broken` ends everything.
"""

import msgspec

from router.domain.chat import Citation, Family, Finish, Logprob, Part
from router.domain.usage import Usage


class Started(msgspec.Struct, frozen=True, gc=False):
    """`created` is seconds since the epoch, 0 where the provider does not tell."""

    family: Family
    id: str
    model: str
    created: int = 0
    service_tier: str = ""
    fingerprint: str = ""


class PartStarted(msgspec.Struct, frozen=True):
    """`part` holds what is known at its beginning: a tool call's id and name, an opaque part whole. `index` counts the
    parts of a choice from 0."""

    index: int
    part: Part
    choice: int = 0


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a Text, a Refusal, a Reasoning or of a ToolCall's arguments, by the kind of the part."""

    index: int
    text: str
    choice: int = 0


class SignatureDelta(msgspec.Struct, frozen=True, gc=False):
    """The signature (Reasoning, Text, ToolCall), or more of `encrypted` where `is_encrypted`."""

    index: int
    text: str
    choice: int = 0
    is_encrypted: bool = False


class CitationAdded(msgspec.Struct, frozen=True):
    index: int
    citation: Citation
    choice: int = 0


class LogprobsAdded(msgspec.Struct, frozen=True):
    index: int
    logprobs: tuple[Logprob, ...]
    choice: int = 0


class AudioDelta(msgspec.Struct, frozen=True, gc=False):
    """More base64 data, or more of the transcript."""

    index: int
    data: str = ""
    transcript: str = ""
    choice: int = 0


class PartEnded(msgspec.Struct, frozen=True, gc=False):
    """`part` is the whole where the provider tells it again, else None."""

    index: int
    choice: int = 0
    part: Part | None = None


class Finished(msgspec.Struct, frozen=True, gc=False):
    finish: Finish
    said: str = ""
    stop_sequence: str | None = None
    choice: int = 0


class UsageReported(msgspec.Struct, frozen=True, gc=False):
    """Cumulative: everything up to now."""

    usage: Usage


class Broken(msgspec.Struct, frozen=True, gc=False):
    """The provider itself ended the stream with an error. `kind` is its word, `status` an HTTP status where it gives one."""

    kind: str
    message: str
    status: int | None = None


StreamEvent = (
    Started
    | PartStarted
    | TextDelta
    | SignatureDelta
    | CitationAdded
    | LogprobsAdded
    | AudioDelta
    | PartEnded
    | Finished
    | UsageReported
    | Broken
)
