"""The chunks of streamGenerateContent as events. A part ends when one of another kind begins, a call at once.

A stream asked for without `alt=sse` is a JSON array of the same chunks: it is read too, in pieces of any size.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from itertools import count

import msgspec

from router.domain.chat import Audio, Family, Finish, Part, Reasoning, Text, ToolCall
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
from router.providers.gemini.array_frames import ArrayCutter
from router.providers.gemini.citations import citations_of, shifted_by
from router.providers.gemini.counts import Meter, tier_told
from router.providers.gemini.result_in import model_of, number_of, refusal_of
from router.providers.gemini.shapes import (
    TOLD,
    Candidate,
    Feedback,
    Told,
    call_id,
    logprobs_of,
    read_part,
    seconds_of,
    text_of,
)
from router.providers.gemini.wording import KINDS, finish_of, reason_word
from router.providers.sse import frames


class GeminiStreamDecoder:
    """Reads one stream. `finished`: every candidate so far has a finish reason, or the prompt was refused."""

    def __init__(self) -> None:
        self._is_started = False
        self._is_blocked = False
        self._is_broken = False
        self._choices: dict[int, _ChoiceReader] = {}
        self._meter = Meter()
        self._array = ArrayCutter()
        self._id = ""

    @property
    def finished(self) -> bool:
        return self._is_blocked or (bool(self._choices) and all(one.word for one in self._choices.values()))

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """Raises ValueError for a frame that is no chunk."""
        events: list[StreamEvent] = []
        for found in _plain(frame) or self._chunks(frame):
            try:
                self._read(TOLD.decode(found), events)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise ValueError(f"no chunk of Gemini's: {error}") from None
        return events

    def close(self) -> Sequence[StreamEvent]:
        """The end of every choice. A text may grow behind its finish reason, and citations come with it."""
        events: list[StreamEvent] = []
        if not self._is_broken:
            for choice in self._choices.values():
                choice.end(events)
        return events

    def _chunks(self, frame: bytes) -> Iterator[bytes]:
        if self._array.takes(frame):
            yield from self._array.feed(frame)
        else:
            yield from (data for _, data in frames(frame) if data != b"[DONE]")

    def _read(self, told: Told, events: list[StreamEvent]) -> None:
        if told.error:
            self._is_broken = True
            events.append(_broken(told.error))
            return
        if not self._is_started and (told.candidates is not None or told.prompt_feedback is not None or told.response_id):
            self._is_started = True
            self._id = text_of(told.response_id)
            events.append(_started(told, self._id))
        for candidate in told.candidates or ():
            number = number_of(candidate)
            choice = self._choices.get(number)
            if choice is None:
                choice = self._choices[number] = _ChoiceReader(number, self._id)
            choice.read(candidate, events)
        if told.prompt_feedback is not None and not self._choices and not self._is_blocked:
            self._block(told.prompt_feedback, events)
        usage = self._meter.add(told.usage_metadata)
        if usage is not None:
            events.append(UsageReported(usage))

    def _block(self, feedback: Feedback, events: list[StreamEvent]) -> None:
        refusal = refusal_of(feedback)
        word = text_of(feedback.block_reason)
        if refusal is None and not word:
            return
        self._is_blocked = True
        if refusal is not None:
            whole = PartStarted(0, msgspec.structs.replace(refusal, text=""))
            events += [whole, TextDelta(0, refusal.text), PartEnded(0)]
        events.append(Finished(Finish.FILTERED, word))


def _plain(frame: bytes) -> tuple[bytes, ...]:
    """The data of a frame of one line, as nearly all are; nothing for any other."""
    if frame[:6] != b"data: " or (frame[-2:] != b"\n\n" and frame[-4:] != b"\r\n\r\n"):
        return ()
    found = frame[6:].rstrip()
    return () if b"\n" in found or b"\r" in found or found == b"[DONE]" else (found,)


def _started(told: Told, answer: str) -> Started:
    return Started(Family.GEMINI, answer, model_of(told), seconds_of(told.create_time), tier_told(told.usage_metadata))


def _broken(error: object) -> Broken:
    found = error if isinstance(error, dict) else {}
    code = found.get("code")
    kind = KINDS.get(text_of(found.get("status")), "api_error")
    message = text_of(found.get("message")) or "the provider ended the stream with an error"
    return Broken(kind, message, code if type(code) is int and 400 <= code < 600 else None)


class _ChoiceReader:
    """One candidate. Texts and thoughts follow one another in chunks; everything else comes whole."""

    __slots__ = ("word", "_number", "_answer", "_next", "_open", "_index", "_signed", "_calls", "_text", "_before", "_sound")

    def __init__(self, number: int, answer: str) -> None:
        self.word = ""
        self._number = number
        self._answer = answer
        self._next = count()
        self._open: type[Part] | None = None
        self._index = 0
        self._signed = False
        self._calls = 0
        self._text: list[str] = []
        self._before = 0
        self._sound = b""

    def read(self, candidate: Candidate, events: list[StreamEvent]) -> None:
        """Raises ValueError where a part is none."""
        content = candidate.content
        for raw in (content.parts or ()) if content is not None else ():
            part = read_part(raw)
            if isinstance(part, Text | Reasoning):
                self._say(part, events)
            elif isinstance(part, Audio):
                self._sing(part, events)
            elif part is not None:
                self._whole(part, events)
        self._annotate(candidate, events)
        self.word = reason_word(candidate.finish_reason) or self.word

    def end(self, events: list[StreamEvent]) -> None:
        self._end_open(events)
        events.append(Finished(finish_of(self.word, has_calls=self._calls > 0), self.word, None, self._number))

    def _say(self, part: Text | Reasoning, events: list[StreamEvent]) -> None:
        """A part with a signature of its own is never joined with another that has one."""
        if self._open is not type(part) or (self._signed and part.signature):
            self._begin(Text("") if isinstance(part, Text) else Reasoning("", Family.GEMINI), events)
        if part.text:
            if isinstance(part, Text):
                self._text.append(part.text)
            events.append(TextDelta(self._index, part.text, self._number))
        if part.signature:
            self._signed = True
            events.append(SignatureDelta(self._index, part.signature, self._number))

    def _sing(self, part: Audio, events: list[StreamEvent]) -> None:
        """Each chunk is base64 of its own: what does not fill three bytes waits for the next."""
        if self._open is not Audio:
            self._begin(msgspec.structs.replace(part, source=msgspec.structs.replace(part.source, data="")), events)
        try:
            sound = self._sound + base64.b64decode(part.source.data)
        except (binascii.Error, ValueError):
            raise ValueError("inlineData of the stream is no base64") from None
        whole = len(sound) - len(sound) % 3
        self._sound = sound[whole:]
        if whole:
            events.append(AudioDelta(self._index, base64.b64encode(sound[:whole]).decode(), choice=self._number))

    def _whole(self, part: Part, events: list[StreamEvent]) -> None:
        if isinstance(part, ToolCall):
            part = call_id(part, self._answer, self._number, self._calls)
            self._calls += 1
            self._begin(msgspec.structs.replace(part, arguments=""), events)
            events.append(TextDelta(self._index, part.arguments, self._number))
        else:
            self._begin(part, events)
        self._end_open(events)

    def _annotate(self, candidate: Candidate, events: list[StreamEvent]) -> None:
        """Citations and probabilities are of the text so far, and stand with the last part of it."""
        text = "".join(self._text) if candidate.grounding_metadata or candidate.citation_metadata else ""
        citations, probabilities = citations_of(candidate, text), logprobs_of(candidate.logprobs_result)
        if not citations and not probabilities:
            return
        if self._open is not Text:
            self._begin(Text(""), events)
        events += [CitationAdded(self._index, shifted_by(self._before, one), self._number) for one in citations]
        if probabilities:
            events.append(LogprobsAdded(self._index, probabilities, self._number))

    def _begin(self, part: Part, events: list[StreamEvent]) -> None:
        self._end_open(events)
        self._index = next(self._next)
        self._open = type(part)
        self._signed = False
        if self._open is Text:
            self._before = sum(map(len, self._text))
        events.append(PartStarted(self._index, part, self._number))

    def _end_open(self, events: list[StreamEvent]) -> None:
        if self._open is None:
            return
        if self._sound:
            events.append(AudioDelta(self._index, base64.b64encode(self._sound).decode(), choice=self._number))
            self._sound = b""
        events.append(PartEnded(self._index, self._number))
        self._open = None
