"""What breaks before its first byte is answered by the next target; what breaks later is told, charged, never hidden."""

import json
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, sse

pytestmark = pytest.mark.process

# Kinds of failure of the first target, as its simulator is told, and what the ledger calls each.
BEFORE_THE_FIRST_BYTE = {
    "reset": ("reset", "reset", None),
    "error-500": ("500", "server_error", 500),
    "error-529": ("529", "server_error", 529),
    "html": ("html_error", "server_error", 502),
    "redirect": ("error;status=307", "server_error", 307),
    "credential": ("401", "credential", 401),
    "conflict": ("409", "server_error", 409),
}
# Answers with status 200 that are none.
INVALID = {"empty": "empty", "half": "bad_frames", "array": "not_an_object"}
CUT = {"cut": "cut_stream;after_events=4", "end-early": "end_early;after_events=4", "mid-reset": "reset;after_events=4"}


@pytest.fixture(scope="module")
def bad(module_folder: Workplace) -> Iterator[Simulator]:
    faults = [
        f"{order.partition(';')[0]}=1;{order.partition(';')[2]};models={name}"
        for name, (order, *_) in BEFORE_THE_FIRST_BYTE.items()
    ]
    flags = [word for fault in faults for word in ("--fault", fault)]
    with Simulator(module_folder, "bad", "--tokens-per-second", "0", *flags) as running:
        yield running


@pytest.fixture(scope="module")
def good(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "good", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, bad: Simulator, good: Simulator) -> Iterator[Daemon]:
    catalog = {name: ["bad", "good"] for name in (*BEFORE_THE_FIRST_BYTE, *INVALID)}
    alone = {
        name: {"targets": ["bad"], "max_attempts": 1} for name in (*CUT, "refused", "all-html", "error-event", "bad-frame")
    }
    with Daemon(module_folder, settings({"bad": bad.provider, "good": good.provider}, catalog | alone)) as running:
        yield running


@pytest.mark.parametrize("name", BEFORE_THE_FIRST_BYTE)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_failure_before_the_first_byte_is_answered_by_the_next_target(
    routerd: Daemon, name: str, stream: bool
) -> None:
    _, outcome, status = BEFORE_THE_FIRST_BYTE[name]
    request_id = f"{name}-{stream}"
    async with routerd.client() as http:
        answer = await http.post(
            "/v1/chat/completions", json=chat(name, stream=stream), headers={"X-Request-Id": request_id}
        )
        text = await answer.text()
        assert (answer.status, answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == (
            200,
            "good",
            "2",
        )
    assert text.endswith("data: [DONE]\n\n") is stream
    first, second = (await routerd.entry(request_id))["tries"]
    assert (first["provider"], first["outcome"], first["status"]) == ("bad", outcome, status)
    # Only a connection that broke after the request was sent may have cost something.
    assert (first["cost_nano"] > 0) == (status is None)
    assert (second["provider"], second["outcome"]) == ("good", "ok")


async def test_when_no_target_is_left_html_becomes_our_own_502(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("all-html", "html_error"))
        error = (await answer.json())["error"]
    assert (answer.status, answer.content_type, error["type"], error["code"]) == (
        502,
        "application/json",
        "upstream_error",
        "upstream_error",
    )
    assert [(a["provider"], a["status"]) for a in error["attempts"]] == [("bad", 502)]
    assert "nginx" not in json.dumps(error)


async def test_a_provider_s_own_400_is_passed_on_and_not_repeated(routerd: Daemon, bad: Simulator) -> None:
    async with routerd.client() as http:
        body = chat("refused", "400;code=context_length_exceeded")
        answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "refused"})
        error = (await answer.json())["error"]
    assert (answer.status, error["type"], error["code"]) == (400, "invalid_request_error", "context_length_exceeded")
    assert len(bad.log(event="received", case="refused")) == 1
    entry = await routerd.entry("refused")
    assert (entry["outcome"], entry["status"], entry["cost_nano"]) == ("refused_upstream", 400, 0)


@pytest.mark.parametrize("name", INVALID)
async def test_a_200_that_is_no_answer_is_a_502_charged_by_estimate(routerd: Daemon, name: str) -> None:
    async with routerd.client() as http:
        body = chat(name, INVALID[name])
        answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": name})
        assert (answer.status, (await answer.json())["error"]["code"]) == (502, "invalid_upstream_response")
    entry = await routerd.entry(name)
    assert (entry["outcome"], entry["status"], entry["estimated"]) == ("invalid_response", 502, 1)
    assert entry["cost_nano"] > 0


@pytest.mark.parametrize("name", CUT)
async def test_a_cut_chat_stream_ends_in_an_error_event_without_done(routerd: Daemon, bad: Simulator, name: str) -> None:
    async with routerd.client() as http:
        body = chat(name, CUT[name], stream=True)
        async with http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": name}) as answer:
            *sent, last = await sse(answer)
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_truncated")
    assert len(sent) == 4
    assert all(json.loads(event.removeprefix("data: "))["choices"][0]["finish_reason"] is None for event in sent)
    assert len(bad.log(event="received", case=name)) == 1, "nothing is retried after the first byte"
    entry = await routerd.entry(name)
    assert (entry["outcome"], entry["status"], entry["code"], entry["estimated"]) == (
        "truncated",
        502,
        "upstream_truncated",
        1,
    )
    assert 1 <= entry["output_tokens"] <= 8


async def test_a_cut_responses_stream_ends_in_its_own_error_event(routerd: Daemon) -> None:
    body = {"model": "cut", "input": "hello", "stream": True, "metadata": {"simulate": "cut_stream;after_events=6"}}
    async with routerd.client() as http, http.post("/v1/responses", json=body) as answer:
        *sent, last = await sse(answer)
    name, _, data = last.partition("\n")
    error = json.loads(data.removeprefix("data: "))
    assert (name, error["type"], error["code"]) == ("event: error", "error", "upstream_truncated")
    assert len(sent) == 6
    assert not any("response.completed" in event for event in sent)


async def test_the_provider_s_own_error_event_reaches_the_caller_and_ends_the_stream(routerd: Daemon) -> None:
    async with routerd.client() as http:
        body = chat("error-event", "error_event;after_events=3", stream=True)
        async with http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "error-event"}) as answer:
            events = await sse(answer)
    assert json.loads(events[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert sum('"error"' in event for event in events) == 1
    entry = await routerd.entry("error-event")
    assert (entry["outcome"], entry["estimated"]) == ("server_error", 1)


async def test_a_frame_that_is_not_json_passes_as_it_came_and_the_usage_is_still_read(routerd: Daemon) -> None:
    async with routerd.client() as http:
        body = chat("bad-frame", "bad_frames;after_events=3", stream=True)
        async with http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "bad-frame"}) as answer:
            events = await sse(answer)
    assert any(event.endswith('{"cont') for event in events)
    assert events[-1] == "data: [DONE]"
    entry = await routerd.entry("bad-frame")
    assert (entry["outcome"], entry["output_tokens"], entry["estimated"]) == ("ok", 24, 0)
