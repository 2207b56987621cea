"""Events as the chunks of a Chat Completions stream. What nearly every chunk shares is written once a stream."""

from typing import Any

import msgspec

from router.domain.chat import Audio, ChatQuery, Document, Family, Image, Part, Reasoning, Refusal, Text, ToolCall
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
from router.providers.openai_chat_codec.reasoning import detail_of, google_signature, is_sealed
from router.providers.openai_chat_codec.result_out import (
    CallIds,
    citation_object,
    finish_word,
    image_object,
    logprobs_object,
    tier_word,
    usage_object,
)
from router.providers.shown import as_text

_DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class _Choice:
    """What is known of one choice while it is written. `texts`: the characters of content before each open text.
    `thoughts`: behind the thought told last, 0 before the first."""

    __slots__ = ("calls", "citations", "has_role", "ids", "length", "parts", "texts", "thoughts")

    def __init__(self, query: ChatQuery, number: int) -> None:
        self.has_role = False
        self.parts: dict[int, Part] = {}
        self.calls: dict[int, int] = {}
        self.ids = CallIds(query, number)
        self.length = 0
        self.texts: dict[int, int] = {}
        self.thoughts = 0
        self.citations: list[dict[str, Any]] = []


class ChatStreamEncoder:
    """Writes one stream; the usage stands in a chunk of its own at the end, where the caller asked for it."""

    def __init__(self, query: ChatQuery) -> None:
        self._query = query
        self._family = Family.CHAT
        self._head = b""
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._tail = b',"finish_reason":null}],"usage":null}\n\n' if query.wants_usage else b',"finish_reason":null}]}\n\n'
        self._plain: tuple[bytes, bytes] = b"", b""

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta():
                return self._more(event)
            case Started():
                self._start(event)
            case PartStarted():
                return self._begin(event)
            case Finished():
                return self._finish(event)
            case UsageReported():
                self._usage = event.usage
            case Broken():
                return b"data: " + _encode({"error": _error(event)}) + b"\n\n"
            case _:
                return self._add(event)
        return b""

    def close(self) -> bytes:
        if self._query.wants_usage and self._usage is not None:
            usage = _encode(usage_object(self._usage))
            return self._head + b'[],"usage":' + usage + b"}\n\n" + _DONE
        return _DONE

    # -- events -----------------------------------------------------------------------------------------------

    def _start(self, event: Started) -> None:
        self._family = event.family
        told: dict[str, Any] = {
            "id": event.id,
            "object": "chat.completion.chunk",
            "created": event.created,
            "model": event.model,
        }
        if tier := tier_word(event.service_tier):
            told["service_tier"] = tier
        if event.fingerprint:
            told["system_fingerprint"] = event.fingerprint
        self._head = b"data: " + _encode(told)[:-1] + b',"choices":'
        self._plain = self._head + b'[{"index":0,"delta":{"content":', b'},"logprobs":null' + self._tail

    def _begin(self, event: PartStarted) -> bytes:
        choice, part = self._choice(event.choice), event.part
        part = as_text(part) if isinstance(part, Document) else part
        choice.parts[event.index] = part
        if isinstance(part, ToolCall):
            return self._begin_call(choice, event.index, part, event.choice)
        if isinstance(part, Audio) and part.id:
            return self._chunk({"audio": {"id": part.id}}, event.choice)
        if isinstance(part, Image):
            place = sum(isinstance(known, Image) for known in choice.parts.values()) - 1
            return self._chunk({"images": [image_object(part, place)]}, event.choice)
        if isinstance(part, Text):
            choice.texts[event.index] = choice.length
        if isinstance(part, Text | Refusal | Reasoning) and part.text:
            return self._more(TextDelta(event.index, part.text, event.choice))
        return b""

    def _begin_call(self, choice: _Choice, index: int, call: ToolCall, number: int) -> bytes:
        if self._query.is_legacy:
            return self._chunk({"function_call": {"name": call.name, "arguments": call.arguments}}, number)
        place = choice.calls[index] = len(choice.calls)
        kind, text = ("custom", "input") if call.is_custom else ("function", "arguments")
        shape = {"index": place, "id": choice.ids.of(call), "type": kind, kind: {"name": call.name, text: call.arguments}}
        signed = google_signature(call.signature) if call.family is Family.GEMINI else {}
        return self._chunk({"tool_calls": [shape | signed]}, number)

    def _more(self, event: TextDelta) -> bytes:
        choice = self._choice(event.choice)
        part = choice.parts.get(event.index)
        if isinstance(part, Text):
            choice.length += len(event.text)
            if choice.has_role and not event.choice:
                before, after = self._plain
                return before + _encode(event.text) + after
            return self._chunk({"content": event.text}, event.choice)
        if isinstance(part, Reasoning):
            return self._think(choice, part, event)
        if isinstance(part, ToolCall):
            return self._more_arguments(choice, event, part)
        return self._chunk({"refusal": event.text}, event.choice) if isinstance(part, Refusal) else b""

    def _think(self, choice: _Choice, part: Reasoning, event: TextDelta) -> bytes:
        """What has an author who may want it back is told in `reasoning_details` too. As in a whole answer, a blank line
        stands between thoughts."""
        is_next = choice.thoughts not in {0, event.index + 1}
        choice.thoughts = event.index + 1
        delta: dict[str, Any] = {"reasoning_content": f"\n\n{event.text}" if is_next else event.text}
        if is_sealed(part):
            told = Reasoning(event.text, part.family, id=part.id, is_summary=part.is_summary)
            delta["reasoning_details"] = [detail_of(told, event.index)]
        return self._chunk(delta, event.choice)

    def _more_arguments(self, choice: _Choice, event: TextDelta, call: ToolCall) -> bytes:
        if self._query.is_legacy:
            return self._chunk({"function_call": {"arguments": event.text}}, event.choice)
        what = {"custom": {"input": event.text}} if call.is_custom else {"function": {"arguments": event.text}}
        return self._chunk({"tool_calls": [{"index": choice.calls[event.index]} | what]}, event.choice)

    def _add(self, event: SignatureDelta | CitationAdded | LogprobsAdded | AudioDelta | PartEnded) -> bytes:
        choice = self._choice(event.choice)
        match event:
            case SignatureDelta():
                return self._sign(choice, event)
            case CitationAdded():
                before = choice.texts.get(event.index, 0)
                choice.citations.append(citation_object(event.citation, before, choice.length - before))
                return b""
            case LogprobsAdded():
                return self._chunk({}, event.choice, logprobs=logprobs_object(event.logprobs))
            case AudioDelta():
                sound = {"data": event.data, "transcript": event.transcript}
                return self._chunk({"audio": {name: value for name, value in sound.items() if value}}, event.choice)
            case PartEnded():
                return self._end(choice, event)

    def _sign(self, choice: _Choice, event: SignatureDelta) -> bytes:
        """Of a thought, in the words of `reasoning_details`; of a text, in Google's."""
        part = choice.parts.get(event.index)
        if isinstance(part, Text):
            return self._chunk(google_signature(event.text), event.choice)
        if not isinstance(part, Reasoning):
            return b""
        sealed = Reasoning("", part.family, id=part.id, is_summary=part.is_summary)
        if event.is_encrypted:
            sealed = msgspec.structs.replace(sealed, encrypted=event.text)
        else:
            sealed = msgspec.structs.replace(sealed, signature=event.text)
        detail = detail_of(sealed, event.index)
        return self._chunk({"reasoning_details": [detail]}, event.choice)

    def _end(self, choice: _Choice, event: PartEnded) -> bytes:
        """A part told again whole has nothing new in it, but for when a sound expires."""
        if isinstance(event.part, Audio) and event.part.expires_at:
            return self._chunk({"audio": {"expires_at": event.part.expires_at}}, event.choice)
        return b""

    def _finish(self, event: Finished) -> bytes:
        word = finish_word(event.finish, event.said, self._family, is_legacy=self._query.is_legacy)
        # All at once, as OpenAI tells them: its SDK cannot put several deltas of them together.
        cited = self._choice(event.choice).citations
        told = self._chunk({"annotations": cited}, event.choice) if cited else b""
        return told + self._chunk({}, event.choice, finish=word)

    # -- chunks -----------------------------------------------------------------------------------------------

    def _choice(self, number: int) -> _Choice:
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Choice(self._query, number)
        return choice

    def _chunk(
        self, delta: dict[str, Any], number: int, *, logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> bytes:
        choice = self._choice(number)
        if not choice.has_role:
            choice.has_role = True
            delta = {"role": "assistant"} | ({} if "content" in delta else {"content": None}) | delta
        told = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        rest = b',"usage":null}\n\n' if self._query.wants_usage else b"}\n\n"
        return self._head + b"[" + _encode(told) + b"]" + rest


def _error(event: Broken) -> dict[str, Any]:
    return {"message": event.message, "type": event.kind, "param": None, "code": event.status}
