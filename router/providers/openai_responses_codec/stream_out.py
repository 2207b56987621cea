"""Events as a Responses stream: items may be under way side by side, each event numbered, each text told again whole."""

from typing import Any

import msgspec
from msgspec.structs import replace

from router.domain.chat import (
    Audio,
    ChatQuery,
    Citation,
    Family,
    Finish,
    Image,
    Opaque,
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
from router.providers.openai_responses_codec.annotations import annotation, logprob_object
from router.providers.openai_responses_codec.open_items import OpenMessage, OpenPart, OpenThought
from router.providers.openai_responses_codec.result_out import (
    ItemShapes,
    ended,
    goes_on,
    opening,
    response_id_of,
    seal_of_call,
    tellable,
)

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class ResponsesStreamEncoder:
    """Writes one stream. Only the first choice is told: callers of this dialect ask for one."""

    def __init__(self, query: ChatQuery) -> None:
        self._query = query
        self._family = Family.RESPONSES
        self._opening: Json = {}
        self._shapes = ItemShapes(query, "")
        self._sequence = 0
        self._parts: dict[int, OpenPart] = {}
        self._message: OpenMessage | None = None
        self._thought: OpenThought | None = None
        self._items: dict[int, Any] = {}
        self._next = 0
        self._usage: Usage | None = None
        self._end = Finished(Finish.UNKNOWN)
        self._has_refusal = False

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta():
                part = self._parts.get(event.index) if event.choice == 0 else None
                if part is None:
                    return b""
                return self._more(part, event.text) if part.is_begun else self._think(part, event.text)
            case Started():
                return self._start(event)
            case UsageReported():
                self._usage = event.usage
            case Broken():
                return self._break(event)
            case Finished():
                self._end = event if event.choice == 0 else self._end
            case _:
                return self._in_turn(event) if event.choice == 0 else b""
        return b""

    def close(self) -> bytes:
        late = b"".join(self._finish(index, None) for index in list(self._parts))
        late += self._seal()
        items = [self._items[number] for number in sorted(self._items)]
        end = ended(self._end.finish, self._usage, items, has_refusal=self._has_refusal)
        return late + self._event(f"response.{end['status']}", {"response": self._opening | end})

    # -- the response -----------------------------------------------------------------------------------------

    def _start(self, event: Started) -> bytes:
        self._family = event.family
        response_id = response_id_of(event.id, self._query)
        self._shapes = ItemShapes(self._query, response_id)
        self._opening = opening(self._query, response_id, event.model, event.created, event.service_tier)
        told = {"response": msgspec.Raw(_encode(self._opening))}
        return self._event("response.created", told) + self._event("response.in_progress", told)

    def _break(self, event: Broken) -> bytes:
        """As OpenAI ends a stream: what went wrong, flat as its reference has it and nested as its SDKs read it, and a
        response that has failed."""
        error = {"type": event.kind, "code": event.kind, "message": event.message, "param": None}
        flat = {name: error[name] for name in ("code", "message", "param")} | {"error": error}
        frame = self._event("error", flat)
        if not self._opening:
            return frame
        code = "rate_limit_exceeded" if event.status == 429 else "server_error"
        failed = {"status": "failed", "error": {"code": code, "message": event.message}}
        return frame + self._event("response.failed", {"response": self._opening | failed})

    def _event(self, kind: str, members: Json) -> bytes:
        number = self._sequence
        self._sequence += 1
        told = _encode({"type": kind, "sequence_number": number} | members)
        return b"event: " + kind.encode() + b"\ndata: " + told + b"\n\n"

    # -- parts ------------------------------------------------------------------------------------------------

    def _in_turn(
        self, event: PartStarted | SignatureDelta | CitationAdded | LogprobsAdded | AudioDelta | PartEnded
    ) -> bytes:
        if isinstance(event, PartStarted):
            return self._begin(event.index, tellable(event.part))
        part = self._parts.get(event.index)
        if part is None:
            return b""
        match event:
            case PartEnded():
                return self._finish(event.index, event.part)
            case SignatureDelta():
                if event.is_encrypted:
                    part.encrypted.append(event.text)
                else:
                    part.signature = event.text
            case CitationAdded():
                return self._cite(part, event.citation)
            case LogprobsAdded():
                part.logprobs += event.logprobs
                weights = [logprob_object(one) for one in event.logprobs]
                return self._event(f"{part.kind}.delta", part.place | {"delta": "", "logprobs": weights})
            case AudioDelta():
                return self._more(part, event.transcript)
        return b""

    def _more(self, part: OpenPart, text: str) -> bytes:
        if not text or not part.kind:
            return b""
        part.pieces.append(text)
        number = self._sequence
        self._sequence += 1
        return part.head + _encode(text) + b',"sequence_number":%d}\n\n' % number

    def _cite(self, part: OpenPart, citation: Citation) -> bytes:
        told = annotation(citation, sum(map(len, part.pieces)))
        part.citations.append(citation)
        place = part.place | {"annotation_index": len(part.citations) - 1, "annotation": told}
        return self._event("response.output_text.annotation.added", place)

    def _begin(self, index: int, part: Part) -> bytes:
        match part:
            case Text() | Refusal() | Audio():
                return self._begin_content(index, part)
            case Reasoning():
                return self._begin_thought(index, part)
            case ToolCall():
                return self._seal() + self._begin_call(index, part)
            case Image() if part.source.data:
                number = self._number()
                return self._seal() + self._aside(number, self._shapes.picture(part, self._shapes.item_id("ig", number)))
            case Opaque() if part.family is Family.RESPONSES:
                return self._seal() + self._aside(self._number(), part.raw)
        return b""

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _added(self, number: int, item: Any) -> bytes:
        return self._event("response.output_item.added", {"output_index": number, "item": item})

    def _done(self, number: int, item: Any) -> bytes:
        self._items[number] = item
        return self._event("response.output_item.done", {"output_index": number, "item": item})

    def _aside(self, number: int, item: Any) -> bytes:
        """A whole item that has no deltas."""
        return self._added(number, item) + self._done(number, item)

    # -- messages ---------------------------------------------------------------------------------------------

    def _begin_content(self, index: int, part: Text | Refusal | Audio) -> bytes:
        frames = b""
        message = self._message
        if message is None:
            frames = self._seal()
            number = self._number()
            message = self._message = OpenMessage(self._shapes.item_id("msg", number), number)
            frames += self._added(number, self._shapes.message(message.id, [], "in_progress"))
        place = {"item_id": message.id, "output_index": message.number, "content_index": len(message.content)}
        message.content.append(None)
        message.open += 1
        is_refusal = isinstance(part, Refusal)
        self._has_refusal = self._has_refusal or is_refusal
        empty: Json = {"type": "refusal", "refusal": ""} if is_refusal else self._shapes.content(Text(""))
        kind = "response.refusal" if is_refusal else "response.output_text"
        under_way = self._parts[index] = OpenPart(part, place, kind, message)
        frames += self._event("response.content_part.added", place | {"part": empty})
        return frames + self._more(under_way, part.transcript if isinstance(part, Audio) else part.text)

    def _end_content(self, part: OpenPart, message: OpenMessage) -> bytes:
        text = "".join(part.pieces)
        if isinstance(part.part, Refusal):
            whole = self._shapes.content(Refusal(text))
            told: Json = {"refusal": text}
        else:
            given = part.part.citations if isinstance(part.part, Text) else ()
            whole = self._shapes.content(Text(text, citations=(*given, *part.citations), logprobs=tuple(part.logprobs)))
            told = {"text": text, "logprobs": whole["logprobs"]}
        message.content[part.place["content_index"]] = whole
        message.open -= 1
        frames = self._event(f"{part.kind}.done", part.place | told)
        frames += self._event("response.content_part.done", part.place | {"part": whole})
        return frames + (self._end_message(message) if message.is_sealed else b"")

    def _seal(self) -> bytes:
        """Something else is said: what comes after it is another message, another thought."""
        message, thought = self._message, self._thought
        self._message = self._thought = None
        frames = b""
        if message is not None:
            message.is_sealed = True
            frames += self._end_message(message)
        if thought is not None:
            thought.is_sealed = True
            frames += self._end_item(thought)
        return frames

    def _end_message(self, message: OpenMessage) -> bytes:
        if message.open:
            return b""
        return self._done(message.number, self._shapes.message(message.id, message.content, "completed"))

    # -- thoughts ---------------------------------------------------------------------------------------------

    def _begin_thought(self, index: int, part: Reasoning) -> bytes:
        """A piece of the thought under way, or of another."""
        frames = b""
        thought = self._thought
        if thought is None or not goes_on(thought.last, part):
            frames = self._seal()
            number = self._number()
            item_id = self._shapes.item_id("rs", number, part.id)
            thought = self._thought = OpenThought(item_id, number, part)
            frames += self._added(number, {"id": item_id, "type": "reasoning", "summary": []})
        thought.last = part
        thought.open += 1
        is_summary = self._shapes.is_summary(part)
        kind = "response.reasoning_summary_text" if is_summary else "response.reasoning_text"
        under_way = self._parts[index] = OpenPart(part, thought.place(is_summary=is_summary), kind)
        under_way.thought = thought
        return frames + self._think(under_way, part.text)

    def _think(self, part: OpenPart, text: str) -> bytes:
        """Where nothing of a thought is told in words, it has no part either."""
        if not text:
            return b""
        part.is_begun = True
        return self._piece_event(part, "added", "") + self._more(part, text)

    def _piece_event(self, part: OpenPart, what: str, text: str) -> bytes:
        if "summary_index" in part.place:
            told = {"part": {"type": "summary_text", "text": text}}
            return self._event(f"response.reasoning_summary_part.{what}", part.place | told)
        return self._event(f"response.content_part.{what}", part.place | {"part": {"type": "reasoning_text", "text": text}})

    def _end_thought(self, part: OpenPart, thought: OpenThought, begun: Reasoning, whole: Part | None) -> bytes:
        text = "".join(part.pieces)
        frames = b""
        if text:
            frames = self._event(f"{part.kind}.done", part.place | {"text": text}) + self._piece_event(part, "done", text)
        told = whole if isinstance(whole, Reasoning) else begun
        told = replace(
            told,
            text=text,
            signature=part.signature or told.signature,
            encrypted="".join(part.encrypted) or told.encrypted,
        )
        if thought.last is begun:
            thought.last = told
        thought.told.append(told)
        thought.open -= 1
        may_go_on = told.family is Family.RESPONSES and told.id and not told.encrypted
        if self._thought is thought and not may_go_on and not thought.open:
            self._thought = None
            thought.is_sealed = True
        return frames + (self._end_item(thought) if thought.is_sealed else b"")

    def _end_item(self, thought: OpenThought) -> bytes:
        return b"" if thought.open else self._done(thought.number, self._shapes.thought(thought.told, thought.id))

    # -- calls ------------------------------------------------------------------------------------------------

    def _begin_call(self, index: int, given: ToolCall) -> bytes:
        call = self._shapes.with_call_id(given)
        frames = self._sealed_call(call)
        number = self._number()
        item_id = self._shapes.item_id("ctc" if call.is_custom else "fc", number, call.item_id)
        kind = "response.custom_tool_call_input" if call.is_custom else "response.function_call_arguments"
        under_way = self._parts[index] = OpenPart(call, {"item_id": item_id, "output_index": number}, kind)
        frames += self._added(number, self._shapes.call(replace(call, arguments=""), item_id, "in_progress"))
        return frames + self._more(under_way, call.arguments)

    def _sealed_call(self, call: ToolCall) -> bytes:
        seal = seal_of_call(call, self._family)
        if seal is None:
            return b""
        number = self._number()
        return self._aside(number, self._shapes.thought([seal], self._shapes.item_id("rs", number)))

    def _end_call(self, part: OpenPart, call: ToolCall) -> bytes:
        whole = replace(call, arguments="".join(part.pieces))
        item = self._shapes.call(whole, part.place["item_id"], "completed")
        told = {"input": whole.arguments} if call.is_custom else {"arguments": whole.arguments, "name": item["name"]}
        frames = self._event(f"{part.kind}.done", part.place | told) + self._done(part.number, item)
        return frames + (self._sealed_call(replace(whole, signature=part.signature)) if part.signature else b"")

    def _finish(self, index: int, whole: Part | None) -> bytes:
        """`whole`: the part told again, which may know its seal only now."""
        part = self._parts.pop(index)
        if part.message is not None:
            return self._end_content(part, part.message)
        if part.thought is not None and isinstance(part.part, Reasoning):
            return self._end_thought(part, part.thought, part.part, whole)
        return self._end_call(part, part.part) if isinstance(part.part, ToolCall) else b""
