"""What comes out is understood by the OpenAI SDK: a sample of each provider's APIs, asked and parsed by its own client."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from router.domain.requests import Api
from router.server.streaming import error_frame
from tests.conformance import expected
from tests.conformance.expected import Json, asks_usage
from tests.conformance.recordings import ABSENT, Exchange, exchange, replayed
from tests.conformance.replay import Replay, cut_in

SAMPLE = 2
ALIAS = "an-alias-of-the-tests"
NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
# Recordings of the realtime, the skills and a prompt API under this API's name: nothing in them is what the SDK looks for.
MARKS = {Api.CHAT: b'"choices"', Api.COMPLETIONS: b'"text":', Api.RESPONSES: b'"response"'}


def sample(*, stream: bool) -> list[Any]:
    """The first exchanges of each provider's API that brought an answer."""
    taken: dict[str, list[str]] = {}
    for of in map(exchange, replayed()):
        if of.family == "anthropic" or of.api is Api.RERANK:  # the SDK has no rerank
            continue
        is_good = of.status == 200 and not (stream and expected.has_failed(of.body))
        if is_good and of.is_sse == stream == of.streams and MARKS.get(of.api, b"") in of.body:
            taken.setdefault(of.name.rpartition("/")[0], []).append(of.name)
    return [name for found in taken.values() for name in found[:SAMPLE]] or [NONE]


def refusals() -> list[Any]:
    every = map(exchange, replayed())
    return [
        of.name
        for of in every
        if of.status in {400, 404} and b'"message"' in of.body and of.api is not Api.MODERATIONS and of.family != "anthropic"
    ] or [NONE]


class Gateway(httpx.AsyncBaseTransport):
    """The gateway in the place of a server: what the SDK writes passes through it, and the recorded answer comes back."""

    def __init__(self, of: Exchange, *, stops_early: bool) -> None:
        self._of = of
        self._stops_early = stops_early
        self._replay = Replay(of, alias=ALIAS, model=of.model)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        written = await request.aread()
        of = self._of
        body = expected.before_the_end(of) if self._stops_early else expected.answer_of(of, asks_usage(of))
        got = await self._replay.ask({}, lambda _: written, cut_in(64, body))
        assert got.answer is not None
        end = error_frame(of.api, got.error, got.body) if got.error is not None else b""
        return httpx.Response(got.answer.status, headers={"content-type": got.answer.content_type}, content=got.body + end)


@asynccontextmanager
async def client_of(of: Exchange, *, stops_early: bool = False) -> AsyncIterator[openai.AsyncOpenAI]:
    http = httpx.AsyncClient(transport=Gateway(of, stops_early=stops_early))
    async with openai.AsyncOpenAI(
        api_key="sk-any", base_url="http://gateway.test/v1", max_retries=0, http_client=http
    ) as client:
        yield client


async def ask(client: openai.AsyncOpenAI, of: Exchange) -> Any:
    """The SDK's call for this API, with the recorded members that decide the answer's shape."""
    stream: Json = {"stream": True} if of.streams else {}
    if of.streams and of.asked_for_usage:
        stream["stream_options"] = {"include_usage": True}
    match of.api:
        case Api.CHAT:
            return await client.chat.completions.create(model=ALIAS, messages=[{"role": "user", "content": "x"}], **stream)
        case Api.COMPLETIONS:
            return await client.completions.create(model=ALIAS, prompt="x", **stream)
        case Api.RESPONSES:
            return await client.responses.create(model=ALIAS, input="x", **stream)
        case Api.EMBEDDINGS:
            is_base64 = of.fields.get("encoding_format") == "base64"
            return await client.embeddings.create(model=ALIAS, input="x", encoding_format="base64" if is_base64 else "float")
        case Api.MODERATIONS:
            return await client.moderations.create(model=ALIAS, input="x")


@pytest.mark.parametrize("name", sample(stream=False), ids=str)
async def test_a_json_answer_is_what_the_sdk_says_it_is(name: str) -> None:
    of = exchange(name)
    async with client_of(of) as client:
        got = await ask(client, of)
    raw = json.loads(of.body)
    match got:
        case ChatCompletion():
            assert [c.message.content for c in got.choices] == [c["message"].get("content") for c in raw["choices"]]
            assert [calls_of(c.message) for c in got.choices] == [raw_calls(c["message"]) for c in raw["choices"]]
            assert got.usage is None or got.usage.total_tokens == raw["usage"].get("total_tokens")
        case Completion():
            assert [c.text for c in got.choices] == [c["text"] for c in raw["choices"]]
        case Response():
            assert [item.type for item in got.output] == [item["type"] for item in raw["output"]]
            assert got.usage is None or got.usage.output_tokens == raw["usage"]["output_tokens"]
        case CreateEmbeddingResponse():
            assert len(got.data) == len(raw["data"])
            assert got.data[0].embedding == raw["data"][0]["embedding"]
        case ModerationCreateResponse():
            assert [result.flagged for result in got.results] == [result["flagged"] for result in raw["results"]]
        case _:
            pytest.fail(f"the SDK made {type(got)} of it")


def calls_of(message: Any) -> list[str]:
    return [call.function.arguments for call in message.tool_calls or ()]


def raw_calls(message: Json) -> list[str]:
    return [call["function"]["arguments"] for call in message.get("tool_calls") or ()]


@pytest.mark.parametrize("name", sample(stream=True), ids=str)
async def test_a_stream_gives_the_sdk_the_text_and_the_usage_of_the_recording(name: str) -> None:
    of = exchange(name)
    raw = list(expected.events(of.body))
    async with client_of(of) as client:
        got = [event async for event in await ask(client, of)]
    if of.api is Api.RESPONSES:
        responses: list[ResponseStreamEvent] = got
        assert [event.type for event in responses] == [event["type"] for event in raw]
        return
    assert all(isinstance(chunk, ChatCompletionChunk | Completion) for chunk in got)
    assert text_of(chunk.model_dump(warnings=False) for chunk in got) == text_of(raw)
    assert [c.usage.total_tokens for c in got if c.usage] == [e["usage"].get("total_tokens") for e in raw if e.get("usage")]


def text_of(chunks: Iterable[Json]) -> str:
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or ()]
    return "".join(str(choice.get("text") or (choice.get("delta") or {}).get("content") or "") for choice in choices)


def broken() -> list[Any]:
    """Streams in which the provider itself sent an error."""
    return [name for name in replayed() if exchange(name).is_sse and expected.has_failed(exchange(name).body)] or [NONE]


@pytest.mark.parametrize("name", broken(), ids=str)
async def test_a_providers_error_in_the_middle_of_a_stream_is_raised_by_the_sdk(name: str) -> None:
    of = exchange(name)
    async with client_of(of) as client:
        with pytest.raises(openai.APIError):
            _ = [event async for event in await ask(client, of)]


@pytest.mark.parametrize("name", sample(stream=True), ids=str)
async def test_a_stream_that_was_cut_makes_the_sdk_raise_our_error(name: str) -> None:
    of = exchange(name)
    async with client_of(of, stops_early=True) as client:
        with pytest.raises(openai.APIError) as raised:
            _ = [event async for event in await ask(client, of)]
    assert raised.value.code == "upstream_truncated"


@pytest.mark.parametrize("name", refusals(), ids=str)
async def test_a_providers_refusal_reaches_the_sdk_as_its_own_error(name: str) -> None:
    of = exchange(name)
    told = json.loads(of.body)["error"]
    async with client_of(of) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await ask(client, of)
    assert raised.value.status_code == of.status
    assert raised.value.body == told
