"""The simulated provider on the wire: what a real SDK makes of it, what its faults do to a connection, what its log says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from pydantic import BaseModel

from router.providers.simulated.options import parse_options
from router.server.simulate import EventLog, SimulateServer
from router.system import SystemClock
from tests.providers.simulation import AT_ONCE, CHAT, STOCKS, WEATHER, chat

LOG_WAIT_S = 5.0


class Served:
    """A running server, its log's lines, and a session to it."""

    def __init__(self, url: str, log: Path, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http
        self._log = log

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in found if line["event"] == event]

    async def line(self, event: str) -> dict[str, Any]:
        """The first line of that event, waited for."""
        async with asyncio.timeout(LOG_WAIT_S):
            while not (found := self.lines(event)):
                await asyncio.sleep(0.005)
        return found[0]

    async def post(self, order: str = "none", **fields: Any) -> tuple[int, bytes]:
        async with self.http.post(self.url + CHAT, json=chat(metadata={"simulate": order}, **fields)) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    log = EventLog(str(tmp_path / "log"))
    server = SimulateServer(parse_options(AT_ONCE), SystemClock(), log)
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        yield Served(f"http://127.0.0.1:{port}", tmp_path / "log", http)
    await server.stop()
    log.close()


@pytest.fixture
async def sdk(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-made-up", max_retries=0) as client:
        yield client


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


async def test_sdk_chats_and_streams_the_same_text(sdk: openai.AsyncOpenAI) -> None:
    body: Any = {"model": "m", "messages": [{"role": "user", "content": "trains"}]}
    whole = await sdk.chat.completions.create(**body)
    chunks = [
        c async for c in await sdk.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


async def test_sdk_runs_a_tool_loop(sdk: openai.AsyncOpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "weather and stock in Oslo"}]
    first = await sdk.chat.completions.create(model="m", messages=messages, tools=[WEATHER, STOCKS])  # type: ignore[list-item]  # plain dicts
    calls = first.choices[0].message.tool_calls or []
    assert len(calls) == 2
    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "18"} for call in calls]
    last = await sdk.chat.completions.create(model="m", messages=messages, tools=[WEATHER, STOCKS])  # type: ignore[list-item]  # plain dicts
    assert last.choices[0].message.content


async def test_sdk_collects_streamed_tool_calls(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model="m",
        messages=[{"role": "user", "content": "weather"}],
        tools=[WEATHER],  # type: ignore[list-item]  # plain dicts
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments)["unit"] in {"c", "f"}


async def test_sdk_parses_structured_answers(sdk: openai.AsyncOpenAI) -> None:
    chatted = await sdk.chat.completions.parse(
        model="m", messages=[{"role": "user", "content": "who"}], response_format=Person
    )
    assert isinstance(chatted.choices[0].message.parsed, Person)
    responded = await sdk.responses.parse(model="m", input="who", text_format=Person)
    assert isinstance(responded.output_parsed, Person)


async def test_sdk_responds_and_streams_responses(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.responses.create(model="m", input="trains")
    async with sdk.responses.stream(model="m", input="trains") as stream:
        final = await stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.usage == whole.usage


async def test_sdk_embeds_moderates_and_lists(sdk: openai.AsyncOpenAI) -> None:
    embedded = await sdk.embeddings.create(model="e", input=["a", "b"], dimensions=16)
    assert [len(item.embedding) for item in embedded.data] == [16, 16]
    assert (await sdk.moderations.create(input="I will kill you")).results[0].flagged
    assert [model.id async for model in sdk.models.list()]


async def test_sdk_sees_a_rate_limit_with_its_wait(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], user="simulate:429;retry_after=9"
        )
    assert caught.value.response.headers["retry-after"] == "9"


async def test_reset_before_the_head_resets_the_connection(served: Served) -> None:
    with pytest.raises(aiohttp.ClientOSError) as caught:
        await served.post("reset")
    assert isinstance(caught.value, ConnectionResetError | aiohttp.ClientOSError)
    assert caught.value.errno == 104
    assert (await served.line("cut"))["status"] == 0


async def test_reset_in_the_body_leaves_what_was_sent(served: Served) -> None:
    async with served.http.post(
        served.url + CHAT, json=chat(stream=True), headers={"x-simulate": "reset;after_events=2"}
    ) as answer:
        got = await answer.content.readuntil(b"\n\n") + await answer.content.readuntil(b"\n\n")
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert got.count(b"\n\n") == 2
    assert (await served.line("cut"))["frames_sent"] == 2


async def test_cut_stream_ends_without_the_promised_end(served: Served) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await served.post("cut_stream", stream=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        await served.post("cut_stream")


async def test_early_end_is_a_clean_end(served: Served) -> None:
    status, body = await served.post("end_early;after_events=3", stream=True)
    assert (status, body.count(b"\n\n")) == (200, 3)


@pytest.mark.parametrize("order", ["silence;after_events=3", "tokens_per_second=5;output_tokens=1000"])
async def test_leaving_caller_ends_the_stream_at_once_and_the_log_says_what_went(served: Served, order: str) -> None:
    async with served.http.post(served.url + CHAT, json=chat(stream=True), headers={"x-simulate": order}) as answer:
        for _ in range(3):
            await answer.content.readuntil(b"\n\n")
        left_us = SystemClock.now_us()
        answer.close()
    line = await served.line("cancelled")
    assert line["frames_sent"] == line["tokens_sent"] + 1
    assert 2 <= line["tokens_sent"] < 10
    assert 0 <= line["at"] - left_us < 1_000_000


async def test_caller_that_gives_up_waiting_is_noted(served: Served) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await served.post("timeout")
    line = await served.line("cancelled")
    assert (line["status"], line["tokens_sent"]) == (0, 0)


async def test_log_tells_what_came_without_the_secret(served: Served) -> None:
    headers = {"Authorization": "Bearer sk-very-secret-1234", "x-request-id": "abc", "traceparent": "00-1"}
    body = chat(user="ada", metadata={"team": "a"}, stream=True)
    async with served.http.post(served.url + CHAT, json=body, headers=headers) as answer:
        await answer.read()
    line = await served.line("received")
    assert (line["n"], line["path"], line["model"], line["stream"]) == (1, CHAT, "simulated-chat", True)
    assert (line["x-request-id"], line["traceparent"], line["user"], line["metadata"]) == (
        "abc",
        "00-1",
        "ada",
        {"team": "a"},
    )
    assert line["request_headers"]["authorization"] == "Bearer ***1234"
    assert line["bytes"] == len(json.dumps(body).encode())
    assert "very-secret" not in json.dumps(line)
    end = await served.line("finished")
    assert end["tokens_sent"] == end["usage"]["output_tokens"]
    assert end["n"] == 1


async def test_every_request_has_a_beginning_and_one_end_in_the_log(served: Served) -> None:
    orders = ["none", "429", "html_error", "empty", "huge_event;bytes=200000", "end_early", "no_done"]
    for order in orders:
        for stream in (False, True):
            await served.post(order, stream=stream)
    async with asyncio.timeout(LOG_WAIT_S):
        while len(served.lines("finished")) < 2 * len(orders):
            await asyncio.sleep(0.005)
    assert [line["n"] for line in served.lines("received")] == [line["n"] for line in served.lines("finished")]


async def test_answers_name_their_number(served: Served) -> None:
    async with served.http.get(served.url + "/v1/models") as first, served.http.get(served.url + "/v1/models") as second:
        names = [answer.headers["x-request-id"] for answer in (first, second)]
    assert [name.rpartition("_")[2] for name in names] == ["000001", "000002"]


async def test_body_that_is_not_json_is_an_answer_and_a_line(served: Served) -> None:
    async with served.http.post(served.url + CHAT, data=b"\xff{") as answer:
        assert answer.status == 400
    assert (await served.line("received"))["model"] is None
