"""The three callers of chats: what each is told of an answer, and what its own SDK makes of that."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from router.domain.chat import ChatResult
from router.domain.events import StreamEvent
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as MESSAGES_HINTS
from router.providers.codec import CallerSide
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_chat_codec.query_in import HINTS as CHAT_HINTS
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS as RESPONSES_HINTS
from router.providers.sse import frames
from router.providers.translated import Translated, Translation
from tests.conformance.every import Recording, Tongue
from tests.conformance.recordings import BEYOND_SDKS

_MESSAGES_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RESPONSES_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_SAID = [{"role": "user", "content": "x"}]
MODEL, TARGET = "m", "p/m"
AT = 1_700_000_000


@dataclass(frozen=True)
class Caller:
    """`whole` and `event`: the SDK's readers of an answer and of one event's data; they raise where the SDK would."""

    api: Api
    side: CallerSide
    hints: dict[str, str]
    asks: dict[str, Any]
    whole: Callable[[bytes], object]
    event: Callable[[bytes], object]

    def way_back(self, tongue: Tongue) -> Translation:
        """For the answer of any target that speaks this tongue."""
        lane = Translated(self.side, tongue.target, hints=self.hints, framing=tongue.framing)
        return lane.translation(parse_request(self.api, msgspec.json.encode(self.asks)), MODEL, TARGET)

    def told(self, result: ChatResult) -> bytes:
        return self.side.encode_result(result, self.side.decode_query(msgspec.json.encode(self.asks)))

    def streamed(self, events: Iterable[StreamEvent]) -> bytes:
        encoder = self.side.stream_encoder(self.side.decode_query(msgspec.json.encode(self.asks)))
        return b"".join(encoder.feed(event) for event in events) + encoder.close()

    def check(self, of: Recording, told: bytes, *, is_stream: bool) -> None:
        """Raises where this caller's SDK would; those that it is known not to take are checked in the others' words."""
        if of.name in BEYOND_SDKS and of.tongue.api is self.api:
            return
        if not is_stream:
            self.whole(told)
            return
        for _, data in frames(told):
            if data != b"[DONE]":
                self.event(data)


CALLERS = (
    Caller(
        Api.CHAT,
        OPENAI_CHAT,
        dict(CHAT_HINTS),
        {"model": "a", "messages": _SAID, "stream": True, "stream_options": {"include_usage": True}},
        lambda body: ChatCompletion.model_validate_json(body, strict=True),
        lambda data: ChatCompletionChunk.model_validate_json(data, strict=True),
    ),
    Caller(
        Api.MESSAGES,
        ANTHROPIC,
        dict(MESSAGES_HINTS),
        {"model": "a", "max_tokens": 9, "messages": _SAID, "stream": True},
        Message.model_validate_json,
        _MESSAGES_EVENT.validate_json,
    ),
    Caller(
        Api.RESPONSES,
        OPENAI_RESPONSES,
        dict(RESPONSES_HINTS),
        {"model": "a", "input": "x", "stream": True},
        lambda body: Response.model_validate_json(body, strict=True),
        lambda data: _RESPONSES_EVENT.validate_json(data, strict=True),
    ),
)
