"""OpenAI's own client reading what was written: whole answers, and streams as its helper puts them together."""

from collections.abc import Callable
from typing import Any

import httpx
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def client(answer: Callable[[httpx.Request], httpx.Response]) -> OpenAI:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    return OpenAI(api_key="k", base_url="http://sdk.test/v1", http_client=http, max_retries=0)


def gathered(stream: bytes) -> tuple[list[Any], Response]:
    """(the events, what the helper makes of them). Raises where the SDK would."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    with client(answer) as sdk, sdk.responses.stream(model="m", input="x") as events:
        found = list(events)
        return found, events.get_final_response()
