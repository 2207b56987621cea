"""Chat, tiers and defaults, as the first users type them."""

import json

import pytest

from tests.acceptance.conftest import EXAMPLE, FREE_PORT, Printed, curl
from tests.daemon import Daemon, Simulator, Workplace, settings

pytestmark = pytest.mark.process

AUTH = ("-H", "Authorization: Bearer KEY", "-H", "Content-Type: application/json")
CHAT = "/v1/chat/completions"
HELLO = '{"messages":[{"role":"user","content":"hello from fast"}],"stream":false}'


def is_answered(answer: Printed, model: str) -> bool:
    text = answer.json["choices"][0]["message"]["content"]
    return answer.status == 200 and answer.headers["x-router-model"] == model and bool(text)


def test_1_without_a_model_the_tenant_s_default_answers(routerd: Daemon) -> None:
    answer = curl(routerd, CHAT, *AUTH, "-d", HELLO)
    assert is_answered(answer, "gpt-5-mini")


@pytest.mark.parametrize("header", ["x-optyx-tier: smart", "x-router-tier: smart"])
def test_2_a_tier_header_chooses_the_alias(routerd: Daemon, header: str) -> None:
    assert is_answered(curl(routerd, CHAT, *AUTH, "-H", header, "-d", HELLO), "gpt-5")


def test_3_a_stream_comes_in_frames_and_ends_with_done(routerd: Daemon) -> None:
    body = '{"messages":[{"role":"user","content":"streaming please"}],"stream":true,"max_tokens":64}'
    answer = curl(routerd, CHAT, "-N", *AUTH, "-d", body)
    frames = [frame.removeprefix("data: ") for frame in answer.body.split("\n\n") if frame.startswith("data: ")]
    assert (answer.status, frames[-1]) == (200, "[DONE]")
    assert len(frames) > 20
    assert answer.headers["content-type"].startswith("text/event-stream")
    text = "".join(json.loads(frame)["choices"][0]["delta"].get("content") or "" for frame in frames[:-1])
    assert text


async def test_4_a_forced_failover_is_answered_by_the_fallback(folder: Workplace) -> None:
    with Daemon(folder, EXAMPLE, FREE_PORT | {"ROUTER_FORCE_FAILOVER": "demo"}) as routerd:
        answer = curl(routerd, CHAT, *AUTH, "-H", "X-Request-Id: forced", "-d", HELLO)
        assert is_answered(answer, "gpt-5-mini")
        assert (answer.headers["x-router-attempts"], answer.headers["x-router-provider"]) == ("2", "standby")
        first, second = (await routerd.entry("forced"))["tries"]
        assert [(t["provider"], t["outcome"]) for t in (first, second)] == [("demo", "forced"), ("standby", "ok")]


def test_5_a_named_model_with_a_system_message(routerd: Daemon) -> None:
    body = (
        '{"model":"gpt-5-mini","messages":[{"role":"system","content":"You are a friendly assistant."},'
        '{"role":"user","content":"Give me a short status update on the gateway service."}]}'
    )
    assert is_answered(curl(routerd, CHAT, *AUTH, "-d", body), "gpt-5-mini")


def test_6_an_alias_leads_to_a_local_server_by_base_url(folder: Workplace) -> None:
    with Simulator(folder) as local:
        provider = {"type": "openai-compatible", "base_url": f"{local.origin}/v1"}
        config = settings({"local": provider}, {"gpt-3.5-turbo": [{"provider": "local", "model": "llama3.2"}]})
        with Daemon(folder, json.dumps(config).replace("a-secret-of-the-tests-only", "my-secret")) as routerd:
            answer = curl(
                routerd, CHAT, *AUTH, "-d", '{"model":"gpt-3.5-turbo","messages":[{"role":"user","content":"Hi"}]}'
            )
            assert is_answered(answer, "gpt-3.5-turbo")
        assert [line["model"] for line in local.log(event="received")] == ["llama3.2"]


def test_10_responses_with_an_image_and_a_schema_match_it_and_stream(routerd: Daemon) -> None:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "objects": {"type": "array", "items": {"type": "string"}}},
        "required": ["title", "objects"],
        "additionalProperties": False,
    }
    picture = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
        "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    body = {
        "model": "gpt-5-mini",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "What is here?"}, {"type": "input_image", "image_url": picture}],
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "seen", "schema": schema, "strict": True}},
    }
    answer = curl(routerd, "/v1/responses", *AUTH, "-d", json.dumps(body))
    text = next(part["text"] for item in answer.json["output"] if item["type"] == "message" for part in item["content"])
    assert (answer.status, set(json.loads(text))) == (200, {"title", "objects"})
    streamed = curl(routerd, "/v1/responses", "-N", *AUTH, "-d", json.dumps(body | {"stream": True}))
    events = [line.removeprefix("event: ") for line in streamed.body.splitlines() if line.startswith("event: ")]
    assert (events[0], events[-1]) == ("response.created", "response.completed")


def test_17_every_answer_carries_a_request_id_and_its_cost(routerd: Daemon) -> None:
    ours = curl(routerd, CHAT, *AUTH, "-d", HELLO)
    assert len(ours.headers["x-request-id"]) == 32
    assert float(ours.headers["x-cost-usd"]) > 0
    theirs = curl(routerd, CHAT, *AUTH, "-H", "X-Request-Id: mine-1", "-d", HELLO)
    assert theirs.headers["x-request-id"] == "mine-1"
