"""The chunks of a Chat Completions stream as events. A part ends when another begins, a call when its arguments are whole.

Choices finish when the stream does: some servers add to a choice after its finish reason, and the usage follows it anyway.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from router.domain.chat import Audio, Citation, Family, Finish, Opaque, Part, Reasoning, Refusal, Source, Text, ToolCall
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
from router.providers.openai_chat_codec.reasoning import read_reasoning
from router.providers.openai_chat_codec.result_in import content_parts
from router.providers.openai_chat_codec.shapes import (
    FAILURES,
    TOLD,
    Call,
    Function,
    Option,
    Said,
    Sound,
    Told,
    arguments_of,
    citations_of,
    finish_of,
    found_in,
    images_of,
    logprobs_of,
    seconds_of,
    signed,
    text_of,
)
from router.providers.sse import frames
from router.providers.usage import Counts


class ChatStreamDecoder:
    """Reads one stream. `finished`: every choice so far has a finish reason, or `[DONE]` has come."""

    def __init__(self) -> None:
        self._is_started = False
        self._is_done = False
        self._is_broken = False
        self._choices: dict[int, _ChoiceReader] = {}
        self._counts = Counts()
        self._found: tuple[Citation, ...] = ()

    @property
    def finished(self) -> bool:
        return self._is_done or (bool(self._choices) and all(choice.word is not None for choice in self._choices.values()))

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """Raises ValueError for a frame that is no chunk."""
        events: list[StreamEvent] = []
        for name, found in frames(frame):
            if found == b"[DONE]":
                self._is_done = True
                continue
            try:
                told = TOLD.decode(found)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise ValueError(f"no chunk of a chat completion: {error}") from error
            self._read(told, events, is_error=name == b"error")
        return events

    def close(self) -> Sequence[StreamEvent]:
        """The end of every choice."""
        events: list[StreamEvent] = []
        if self._is_broken:
            return events
        for number, choice in self._choices.items():
            choice.cite(self._found, events)
            choice.end_all(events)
            events.append(choice.finished(number))
        return events

    def _read(self, told: Told, events: list[StreamEvent], *, is_error: bool) -> None:
        if told.error or is_error:
            self._is_broken = True
            events.append(_broken(told.error))
            return
        if not self._is_started and (told.choices or text_of(told.id)):
            self._is_started = True
            events.append(_started(told))
        for option in told.choices or ():
            number = option.index if type(option.index) is int else 0
            choice = self._choices.get(number)
            if choice is None:
                choice = self._choices[number] = _ChoiceReader(number)
            choice.read(option, events)
            if option.error or choice.word in FAILURES:
                self._is_broken = True
                events.append(_broken(option.error or {"type": choice.word, "code": FAILURES.get(choice.word or "")}))
                return
        if told.search_results or told.citations:
            self._found = found_in(told)
        counts = told.counts()
        if counts is not None:
            self._counts = self._counts.then(counts)
            usage = self._counts.usage()
            if usage is not None:
                events.append(UsageReported(usage))


def _started(told: Told) -> Started:
    return Started(
        Family.CHAT,
        text_of(told.id),
        text_of(told.model),
        seconds_of(told.created),
        text_of(told.service_tier),
        text_of(told.system_fingerprint),
    )


def _broken(error: object) -> Broken:
    if not isinstance(error, dict):
        return Broken("error", text_of(error) or "the provider ended the stream with an error")
    code = error.get("code")
    kind = text_of(error.get("type")) or text_of(code) or "error"
    message = text_of(error.get("message")) or "the provider ended the stream with an error"
    is_status = type(code) is int and 400 <= code < 600
    return Broken(kind, message, code if is_status else None)


class _OpenCall:
    """A call under way: its part's index, and its arguments so far. It has no index until its name is told. `has_ended`:
    the arguments are whole."""

    __slots__ = ("index", "id", "pieces", "is_custom", "has_ended")

    def __init__(self, call_id: str, *, is_custom: bool) -> None:
        self.index: int | None = None
        self.id = call_id
        self.pieces: list[str] = []
        self.is_custom = is_custom
        self.has_ended = False

    def is_whole(self) -> bool:
        """Whether nothing but space can follow the arguments."""
        text = "".join(self.pieces).strip()
        if self.is_custom or self.index is None or not text.endswith("}"):
            return False
        try:
            msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class _ChoiceReader:
    """One choice. Texts and thoughts follow one another; calls stay open beside one another until they are whole."""

    __slots__ = ("word", "_number", "_next", "_open", "_open_index", "_calls", "_stop", "_audio", "_has_refused")

    def __init__(self, number: int) -> None:
        self.word: str | None = None
        self._number = number
        self._next = 0
        self._open: type[Part] | None = None
        self._open_index = 0
        self._calls: dict[object, _OpenCall] = {}
        self._stop: str | None = None
        self._audio: tuple[int, Sound] | None = None
        self._has_refused = False

    def read(self, option: Option, events: list[StreamEvent]) -> None:
        said = option.delta or option.message
        if said is not None:
            content = said.content
            if said.reasoning_content or said.reasoning or said.reasoning_details:
                self._think(said, events)
            if content:
                if isinstance(content, str):
                    index = self._in(Text, events)
                    events.append(TextDelta(index, content, self._number))
                else:
                    self._say_parts(content, events)
            self._read_rare(said, events)
        if option.logprobs is not None:
            self._read_logprobs(option.logprobs, events)
        if option.finish_reason:
            self.word = text_of(option.finish_reason) or self.word
            self._stop = option.stop_reason if isinstance(option.stop_reason, str) else self._stop

    def _read_rare(self, said: Said, events: list[StreamEvent]) -> None:
        if said.tool_calls:
            for call in said.tool_calls:
                self._call(call, events)
        if said.refusal and isinstance(said.refusal, str):
            self._has_refused = True
            events.append(TextDelta(self._in(Refusal, events), said.refusal, self._number))
        if said.annotations:
            for citation in citations_of(said.annotations):
                events.append(CitationAdded(self._in(Text, events), citation, self._number))
        if said.audio is not None:
            self._hear(said.audio, events)
        for image in images_of(said.images):
            self._begin(image, events)
        if said.function_call is not None:
            self._function("legacy", "", said.function_call, events, is_custom=False)

    def cite(self, found: tuple[Citation, ...], events: list[StreamEvent]) -> None:
        for citation in found:
            events.append(CitationAdded(self._in(Text, events), citation, self._number))

    def finished(self, number: int) -> Finished:
        word = self.word or ""
        finish = finish_of(word, has_calls=bool(self._calls), has_refused=self._has_refused)
        return Finished(finish if word or self._calls else Finish.UNKNOWN, word, self._stop, number)

    # -- one part after another -------------------------------------------------------------------------------

    def _in(self, kind: type[Text] | type[Refusal] | type[Reasoning], events: list[StreamEvent]) -> int:
        """The index of the open part of this kind; where another one is open it ends, and one begins."""
        if self._open is kind:
            return self._open_index
        return self._begin(Reasoning("", Family.CHAT) if kind is Reasoning else kind(""), events)

    def _begin(self, part: Part, events: list[StreamEvent]) -> int:
        self._end_open(events)
        index = self._open_index = self._next
        self._open = type(part)
        self._next += 1
        events.append(PartStarted(index, part, self._number))
        return index

    def _end_open(self, events: list[StreamEvent]) -> None:
        if self._open is not None:
            events.append(PartEnded(self._open_index, self._number, self._whole_audio()))
            self._open = None
        for call in self._calls.values():
            if not call.has_ended and call.is_whole():
                self._end_call(call, events)

    def _end_call(self, call: _OpenCall, events: list[StreamEvent]) -> None:
        call.has_ended = True
        if call.index is not None:
            events.append(PartEnded(call.index, self._number))

    def end_all(self, events: list[StreamEvent]) -> None:
        self._end_open(events)
        for call in self._calls.values():
            if not call.has_ended:
                if call.index is None:
                    self._begin_call(call, ToolCall(call.id, "", "", is_custom=call.is_custom), events)
                self._end_call(call, events)

    # -- texts and thoughts -----------------------------------------------------------------------------------

    def _think(self, said: Said, events: list[StreamEvent]) -> None:
        told = {
            "reasoning_content": said.reasoning_content,
            "reasoning": said.reasoning,
            "reasoning_details": said.reasoning_details,
        }
        for piece in read_reasoning(told):
            is_new = self._open is not Reasoning or bool(piece.encrypted)
            index = self._begin(Reasoning("", piece.family, id=piece.id), events) if is_new else self._open_index
            if piece.text:
                events.append(TextDelta(index, piece.text, self._number))
            if piece.encrypted:
                events.append(SignatureDelta(index, piece.encrypted, self._number, is_encrypted=True))
            if piece.signature:
                events.append(SignatureDelta(index, piece.signature, self._number))

    def _say_parts(self, content: object, events: list[StreamEvent]) -> None:
        for part in content_parts(content):
            if isinstance(part, Text | Reasoning):
                events.append(TextDelta(self._in(type(part), events), part.text, self._number))
            elif isinstance(part, Opaque):
                self._begin(part, events)

    def _read_logprobs(self, logprobs: Any, events: list[StreamEvent]) -> None:
        found = logprobs_of(logprobs.get("content")) if isinstance(logprobs, dict) else ()
        if found:
            events.append(LogprobsAdded(self._in(Text, events), found, self._number))

    # -- calls ------------------------------------------------------------------------------------------------

    def _call(self, call: Call, events: list[StreamEvent]) -> None:
        """Of one index the id may change: some servers count every call as 0. Without an index, a new id is a new call."""
        call_id = text_of(call.id)
        key = call.index if isinstance(call.index, int) else call_id or next(reversed(self._calls), None)
        known = self._calls.get(key)
        if known is not None and call_id and known.id and call_id != known.id:
            self._calls[key, known.id] = self._calls.pop(key)
        is_custom = call.type == "custom"
        what = (call.custom if is_custom else call.function) or Function()
        self._function(key, call_id, what, events, is_custom=is_custom, seal=signed(call))

    def _function(
        self,
        key: object,
        call_id: str,
        what: Function,
        events: list[StreamEvent],
        *,
        is_custom: bool,
        seal: dict[str, Any] | None = None,
    ) -> None:
        known = self._calls.get(key)
        if known is None:
            known = self._calls[key] = _OpenCall(call_id, is_custom=is_custom)
        more = text_of(what.input) if known.is_custom else arguments_of(what.arguments)
        if more and not known.has_ended:
            known.pieces.append(more)
        if known.index is None:
            known.id = known.id or call_id
            if name := text_of(what.name):
                self._begin_call(known, ToolCall(known.id, name, "", is_custom=known.is_custom, **(seal or {})), events)
        elif more and not known.has_ended:
            events.append(TextDelta(known.index, more, self._number))

    def _begin_call(self, call: _OpenCall, part: ToolCall, events: list[StreamEvent]) -> None:
        """With what came before its name."""
        call.index = self._begin(part, events)
        self._open = None
        if said := "".join(call.pieces):
            events.append(TextDelta(call.index, said, self._number))

    # -- sound ------------------------------------------------------------------------------------------------

    def _hear(self, sound: Sound, events: list[StreamEvent]) -> None:
        """When a sound expires is told behind its data, so it is kept until then and told again whole."""
        if self._open is not Audio:
            if not sound.id and not sound.data and not sound.transcript:
                return
            self._begin(Audio(Source(), id=text_of(sound.id)), events)
            self._audio = (self._open_index, Sound(text_of(sound.id), "", "", None))
        assert self._audio is not None, "an open sound is kept"
        whole = self._audio[1]
        data, transcript = text_of(sound.data), text_of(sound.transcript)
        whole.data += data
        whole.transcript += transcript
        whole.id = whole.id or text_of(sound.id)
        whole.expires_at = seconds_of(sound.expires_at) or whole.expires_at
        if data or transcript:
            events.append(AudioDelta(self._open_index, data, transcript, self._number))

    def _whole_audio(self) -> Part | None:
        if self._open is not Audio or self._audio is None:
            return None
        whole = self._audio[1]
        return Audio(Source(data=whole.data), transcript=whole.transcript, id=whole.id, expires_at=whole.expires_at)
