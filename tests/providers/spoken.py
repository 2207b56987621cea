"""What any dialect that is spoken to providers alone must do with recorded traffic, whatever its words."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from router.domain.errors import UnsupportedFeature
from router.domain.events import StreamEvent
from router.domain.requests import Api, parse_request
from router.providers.anthropic import query_in as messages_in
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.codec import TargetSide
from router.providers.openai_chat_codec import query_in as chat_in
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec import query_in as responses_in
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.translated import SSE, Framing, Translated, Translation
from tests.providers.openai_chat_codec.recordings import EXCHANGES

HELLO = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
PROMPT: dict[str, Any] = {"model": "a", "input": "x"}
_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
CUTS = (1, 2, 3, 7, 64, 1460)


class Recorded:
    """One exchange of a folder of the recorded traffic."""

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text())
        answer = told["response"]
        self.name = path.name
        self.sent: dict[str, Any] | None = (told.get("request") or {}).get("json")
        self.status: int = answer["status"]
        self.is_stream = bool(told["stream"])
        self.body = base64.b64decode(answer["body_b64"]) if "body_b64" in answer else answer["body_text"].encode()


def recorded(folder: str) -> list[Recorded]:
    if not (EXCHANGES / folder).is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    return [Recorded(path) for path in sorted((EXCHANGES / folder).glob("*.json"))]


class Spoken:
    """A target's dialect, with the lanes that lead to it."""

    def __init__(self, target: TargetSide, framing: Framing = SSE) -> None:
        self.target = target
        self.framing = framing
        self.of_chat = Translated(OPENAI_CHAT, target, hints=chat_in.HINTS, framing=framing)
        self.of_messages = Translated(ANTHROPIC, target, hints=messages_in.HINTS, framing=framing)
        self.of_responses = Translated(OPENAI_RESPONSES, target, hints=responses_in.HINTS, framing=framing)

    def asked(self, api: Api, body: dict[str, Any]) -> Translation:
        lane = {Api.CHAT: self.of_chat, Api.MESSAGES: self.of_messages, Api.RESPONSES: self.of_responses}[api]
        return lane.translation(parse_request(api, msgspec.json.encode(body)), "m", "p/m")

    def sent(self, body: dict[str, Any], api: Api = Api.CHAT) -> Any:
        """The target's body for a request, which has a message of the user's where it gives none."""
        return json.loads(self.asked(api, HELLO | body).body)

    def dropped(self, body: dict[str, Any], api: Api = Api.CHAT) -> set[str]:
        return set(self.asked(api, HELLO | body).dropped)

    def refused(self, body: dict[str, Any], api: Api = Api.CHAT) -> str | None:
        """The field that is refused; the message names it and the target."""
        with pytest.raises(UnsupportedFeature) as refusal:
            self.asked(api, HELLO | body)
        assert refusal.value.param is not None and refusal.value.param in refusal.value.message
        assert "p/m" in refusal.value.message
        return refusal.value.param

    def events(self, body: bytes, cut: int) -> list[StreamEvent]:
        splitter, decoder = self.framing.splitter(), self.target.stream_decoder()
        found: list[StreamEvent] = []
        for at in range(0, len(body), cut):
            for one in self.framing.cut(splitter.feed(body[at : at + cut])):
                found += decoder.feed(one)
        for one in self.framing.cut(splitter.end()):
            found += decoder.feed(one)
        found += decoder.close()
        return found
