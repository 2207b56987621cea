"""A stream made whole, and a whole answer made a stream: the two shapes of one answer convert without loss."""

from collections.abc import Iterable, Iterator
from typing import assert_never

import msgspec
from msgspec.structs import replace

from router.domain.chat import (
    Audio,
    ChatResult,
    Choice,
    Citation,
    Finish,
    Logprob,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from router.domain.events import (
    AudioDelta,
    Broken,
    CitationAdded,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.domain.usage import Usage


class _Growing(msgspec.Struct):
    """A part under way: what it began with, and what was added since."""

    head: Part
    text: list[str] = msgspec.field(default_factory=list)
    transcript: list[str] = msgspec.field(default_factory=list)
    encrypted: list[str] = msgspec.field(default_factory=list)
    citations: list[Citation] = msgspec.field(default_factory=list)
    logprobs: list[Logprob] = msgspec.field(default_factory=list)
    signature: str = ""

    def whole(self) -> Part:
        part, text = self.head, "".join(self.text)
        if isinstance(part, Text):
            return replace(
                part,
                text=part.text + text,
                citations=(*part.citations, *self.citations),
                logprobs=(*part.logprobs, *self.logprobs),
                signature=self.signature or part.signature,
            )
        if isinstance(part, Refusal):
            return replace(part, text=part.text + text)
        if isinstance(part, ToolCall):
            return replace(part, arguments=part.arguments + text, signature=self.signature or part.signature)
        if isinstance(part, Reasoning):
            return replace(
                part,
                text=part.text + text,
                signature=self.signature or part.signature,
                encrypted=part.encrypted + "".join(self.encrypted),
            )
        if isinstance(part, Audio):
            source = replace(part.source, data=part.source.data + text)
            return replace(part, source=source, transcript=part.transcript + "".join(self.transcript))
        return part


class _Turn(msgspec.Struct):
    """One choice under way. A part that was told again, whole, stands as it was told."""

    parts: dict[int, _Growing] = msgspec.field(default_factory=dict)
    end: Finished | None = None

    def choice(self) -> Choice:
        parts = tuple(self.parts[index].whole() for index in sorted(self.parts))
        end = self.end or Finished(Finish.UNKNOWN)
        return Choice(parts, end.finish, end.said, end.stop_sequence)


class Fold:
    """Feed the events of one stream; `result` is the answer they make so far.

    Events that break the order of `domain.events` raise ValueError: a decoder must never send them.
    """

    __slots__ = ("_started", "_turns", "_usage", "broken")

    def __init__(self) -> None:
        self._started: Started | None = None
        self._turns: dict[int, _Turn] = {}
        self._usage: Usage | None = None
        self.broken: Broken | None = None

    def feed(self, event: StreamEvent) -> None:
        match event:
            case TextDelta():
                self._part(event.choice, event.index).text.append(event.text)
            case PartStarted():
                parts = self._turn(event.choice).parts
                if event.index in parts:
                    raise ValueError(f"part {event.index} of choice {event.choice} begins twice")
                parts[event.index] = _Growing(event.part)
            case PartEnded():
                self._part(event.choice, event.index)
                if event.part is not None:
                    self._turn(event.choice).parts[event.index] = _Growing(event.part)
            case Started():
                self._started = event
            case Finished():
                self._turn(event.choice).end = event
            case UsageReported():
                self._usage = event.usage
            case Broken():
                self.broken = event
            case _:
                self._add(event)

    def _add(self, event: SignatureDelta | CitationAdded | LogprobsAdded | AudioDelta) -> None:
        part = self._part(event.choice, event.index)
        match event:
            case SignatureDelta():
                if event.is_encrypted:
                    part.encrypted.append(event.text)
                else:
                    part.signature = event.text
            case CitationAdded():
                part.citations.append(event.citation)
            case LogprobsAdded():
                part.logprobs.extend(event.logprobs)
            case AudioDelta():
                part.text.append(event.data)
                part.transcript.append(event.transcript)
            case _:
                assert_never(event)

    def result(self) -> ChatResult:
        """Raises ValueError where nothing has started."""
        started = self._started
        if started is None:
            raise ValueError("the stream has not started")
        return ChatResult(
            family=started.family,
            id=started.id,
            model=started.model,
            choices=tuple(self._turns[index].choice() for index in sorted(self._turns)),
            usage=self._usage,
            created=started.created,
            service_tier=started.service_tier,
            fingerprint=started.fingerprint,
        )

    def _turn(self, choice: int) -> _Turn:
        turn = self._turns.get(choice)
        if turn is None:
            turn = self._turns[choice] = _Turn()
        return turn

    def _part(self, choice: int, index: int) -> _Growing:
        part = self._turn(choice).parts.get(index)
        if part is None:
            raise ValueError(f"part {index} of choice {choice} has not begun")
        return part


def folded(events: Iterable[StreamEvent]) -> ChatResult:
    """The answer that a whole stream makes. Raises ValueError for one that did not start."""
    fold = Fold()
    for event in events:
        fold.feed(event)
    return fold.result()


def unfolded(result: ChatResult) -> Iterator[StreamEvent]:
    """The events of a stream that would have made `result`."""
    yield Started(result.family, result.id, result.model, result.created, result.service_tier, result.fingerprint)
    for number, choice in enumerate(result.choices):
        for index, part in enumerate(choice.parts):
            yield from _unfolded_part(part, index, number)
        yield Finished(choice.finish, choice.said, choice.stop_sequence, number)
    if result.usage is not None:
        yield UsageReported(result.usage)


def _unfolded_part(part: Part, index: int, choice: int) -> Iterator[StreamEvent]:
    yield PartStarted(index, _begun(part), choice)
    if text := _text_of(part):
        yield TextDelta(index, text, choice)
    if isinstance(part, Text):
        for citation in part.citations:
            yield CitationAdded(index, citation, choice)
        if part.logprobs:
            yield LogprobsAdded(index, part.logprobs, choice)
    if isinstance(part, Audio) and (part.source.data or part.transcript):
        yield AudioDelta(index, part.source.data, part.transcript, choice)
    if isinstance(part, Reasoning) and part.encrypted:
        yield SignatureDelta(index, part.encrypted, choice, is_encrypted=True)
    if isinstance(part, Text | Reasoning) and part.signature:
        yield SignatureDelta(index, part.signature, choice)
    yield PartEnded(index, choice)


def _begun(part: Part) -> Part:
    """What is known when a part begins. The signature of a call is known with it: none stands between its arguments."""
    if isinstance(part, Text):
        return replace(part, text="", citations=(), logprobs=(), signature="")
    if isinstance(part, Refusal):
        return Refusal("")
    if isinstance(part, ToolCall):
        return replace(part, arguments="")
    if isinstance(part, Reasoning):
        return replace(part, text="", signature="", encrypted="")
    if isinstance(part, Audio):
        return replace(part, source=replace(part.source, data=""), transcript="")
    return part


def _text_of(part: Part) -> str:
    """What grows by TextDelta."""
    if isinstance(part, ToolCall):
        return part.arguments
    return part.text if isinstance(part, Text | Refusal | Reasoning) else ""
