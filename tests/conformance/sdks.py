"""The SDKs' own helpers putting a stream together: what an application sees at its end. No socket is opened."""

from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai

from router.domain.requests import Api

_SSE = {"content-type": "text/event-stream"}
_SAID: Any = [{"role": "user", "content": "x"}]


class _Server:
    """Answers every question with `told`."""

    told = b""

    def one(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=_SSE, content=self.told)

    def two(self, _: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=_SSE, content=self.told)


_SERVER = _Server()
_HTTP = httpx.Client(transport=httpx.MockTransport(_SERVER.one))
_HTTP2 = httpx2.Client(transport=httpx2.MockTransport(_SERVER.two))
_OPENAI = openai.OpenAI(api_key="k", base_url="http://sdk.test/v1", http_client=_HTTP, max_retries=0)
_ANTHROPIC = anthropic.Anthropic(api_key="k", base_url="http://sdk.test", http_client=_HTTP2, max_retries=0)


def _chat() -> dict[str, Any]:
    with _OPENAI.chat.completions.stream(model="m", messages=_SAID) as stream:
        for _ in stream:
            pass
        return stream.current_completion_snapshot.to_dict()


def _messages() -> dict[str, Any]:
    with _ANTHROPIC.messages.stream(model="m", max_tokens=9, messages=_SAID) as stream:
        return stream.get_final_message().to_dict()


def _responses() -> dict[str, Any]:
    with _OPENAI.responses.stream(model="m", input="x") as stream:
        events = list(stream)
    return dict(events[-1].response.to_dict())  # type: ignore[union-attr]  # the last event of a whole stream has one


_HELPERS: dict[Api, Callable[[], dict[str, Any]]] = {
    Api.CHAT: _chat,
    Api.MESSAGES: _messages,
    Api.RESPONSES: _responses,
}


def put_together(api: Api, stream: bytes) -> dict[str, Any]:
    """The whole answer as JSON. Raises where the SDK would."""
    _SERVER.told = stream
    return _HELPERS[api]()
