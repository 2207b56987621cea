"""What the simulated provider answers: deterministic, counted exactly, within caps, shaped as asked."""

import base64
import json
import struct
from math import isclose

import jsonschema
import pytest

from router.providers.simulated.provider import Received
from router.providers.simulated.text import tokenize
from tests.providers.simulation import (
    CHAT,
    PERSON,
    RESPONSES,
    STOCKS,
    WEATHER,
    ask,
    bytes_of,
    chat,
    exchange_of,
    said,
    simulator,
    stream,
)


def test_same_seed_and_request_give_the_same_bytes() -> None:
    first, second = (bytes_of(exchange_of(simulator(seed=7), CHAT, chat(stream=True))) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_text() -> None:
    one, other = (ask(CHAT, chat(), simulator(seed=seed)) for seed in (1, 2))
    assert one["choices"][0]["message"]["content"] != other["choices"][0]["message"]["content"]


def test_text_is_about_the_question() -> None:
    text = ask(CHAT, chat("Compare lighthouses and submarines"))["choices"][0]["message"]["content"]
    assert "lighthouses" in text or "submarines" in text


def test_stream_says_what_the_json_answer_says() -> None:
    whole = ask(CHAT, chat(n=2))
    events = stream(CHAT, chat(n=2))
    for index in (0, 1):
        assert said(events, index) == whole["choices"][index]["message"]["content"]


def test_stream_shows_one_token_in_a_frame_and_usage_counts_them() -> None:
    events = stream(CHAT, chat(stream_options={"include_usage": True}))
    shown = [event for event in events if event["choices"] and event["choices"][0]["delta"].get("content")]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == len(shown) == len(tokenize(said(events)))
    assert all(event["usage"] is None for event in events[:-1])


def test_stream_has_no_usage_unless_asked_for() -> None:
    assert all("usage" not in event for event in stream(CHAT, chat()))


def test_prompt_tokens_are_bytes_over_four_with_overheads() -> None:
    # 3 for the message, 12 bytes of text, 85 for the picture, 3 for the answer.
    parts = [{"type": "text", "text": "twelve bytes"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    assert ask(CHAT, body)["usage"]["prompt_tokens"] == 3 + 3 + 85 + 3


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
def test_cap_cuts_the_same_text_and_says_length(cap: str) -> None:
    full, capped = ask(CHAT, chat()), ask(CHAT, chat() | {cap: 5})
    assert capped["usage"]["completion_tokens"] == 5
    assert capped["choices"][0]["finish_reason"] == "length"
    assert full["choices"][0]["message"]["content"].startswith(capped["choices"][0]["message"]["content"])


def test_ordered_length_is_exact() -> None:
    answer = ask(CHAT, chat(), simulator(output_tokens=333))
    assert answer["usage"]["completion_tokens"] == 333
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_stop_sequence_ends_the_text_before_it() -> None:
    text = ask(CHAT, chat())["choices"][0]["message"]["content"]
    stop = text[10:14]
    stopped = ask(CHAT, chat(stop=[stop]))["choices"][0]
    assert stopped["message"]["content"] == text[: text.find(stop)]
    assert stopped["finish_reason"] == "stop"


def test_logprobs_name_every_token() -> None:
    choice = ask(CHAT, chat(logprobs=True, top_logprobs=3))["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 3 for entry in entries)


def test_tool_is_called_with_arguments_of_its_schema() -> None:
    answer = ask(CHAT, chat("What is the weather in Paris?", tools=[STOCKS, WEATHER]))
    choice = answer["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["function"]["name"] == "get_weather"
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER["function"]["parameters"])


def test_tools_named_together_are_called_in_parallel_unless_refused() -> None:
    both = {"tools": [WEATHER, STOCKS]}
    calls = ask(CHAT, chat("weather and stock news", **both))["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_stock_price"]
    one = ask(CHAT, chat("weather and stock news", parallel_tool_calls=False, **both))
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1


def test_named_tool_choice_is_followed_and_none_is_text() -> None:
    named = {"type": "function", "function": {"name": "get_stock_price"}}
    forced = ask(CHAT, chat("weather?", tools=[WEATHER, STOCKS], tool_choice=named))
    assert forced["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_stock_price"
    text = ask(CHAT, chat("weather?", tools=[WEATHER], tool_choice="none"))
    assert "tool_calls" not in text["choices"][0]["message"]


def test_streamed_arguments_join_to_those_of_the_json_answer_and_are_counted() -> None:
    body = chat("weather and stock news", tools=[WEATHER, STOCKS])
    whole = ask(CHAT, body)
    joined = ["", ""]
    frames = 0
    for event in stream(CHAT, body):
        for part in event["choices"][0]["delta"].get("tool_calls", ()):
            joined[part["index"]] += part["function"].get("arguments", "")
            frames += 1
    calls = whole["choices"][0]["message"]["tool_calls"]
    assert joined == [call["function"]["arguments"] for call in calls]
    assert frames == whole["usage"]["completion_tokens"]


def test_answer_after_a_tool_result_is_text_about_it() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
    ]
    choice = ask(CHAT, {"model": "m", "messages": messages, "tools": [WEATHER]})["choices"][0]
    assert "18 degrees" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_schema_and_object_formats_give_such_json() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    jsonschema.validate(json.loads(ask(CHAT, chat(response_format=form))["choices"][0]["message"]["content"]), PERSON)
    plain = ask(CHAT, chat(response_format={"type": "json_object"}))
    assert isinstance(json.loads(plain["choices"][0]["message"]["content"]), dict)


def test_reasoning_counts_as_output_within_the_cap() -> None:
    body = chat(reasoning_effort="low", max_completion_tokens=40) | {"model": "gpt-5-mini"}
    usage = ask(CHAT, body)["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 32
    assert usage["completion_tokens"] == 40
    assert ask(CHAT, chat(reasoning_effort="low"))["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_completions_answer_each_prompt_n_times() -> None:
    body = {"model": "m", "prompt": ["one tree", "two birds"], "n": 2, "max_tokens": 4}
    answer = ask("/v1/completions", body)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 16
    streamed = stream("/v1/completions", body)
    joined = ["".join(e["choices"][0]["text"] for e in streamed if e["choices"][0]["index"] == i) for i in range(4)]
    assert joined == [choice["text"] for choice in answer["choices"]]


def test_responses_stream_ends_with_the_json_answer() -> None:
    body = {"model": "o3", "input": "weather in Oslo", "reasoning": {"effort": "low", "summary": "auto"}}
    whole = ask(RESPONSES, body)
    events = stream(RESPONSES, body)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"] == whole
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(event["delta"] for event in deltas) == whole["output"][1]["content"][0]["text"]
    assert whole["usage"]["output_tokens"] == len(deltas) + 32


def test_responses_cap_leaves_an_incomplete_response() -> None:
    body = {
        "model": "m",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "max_output_tokens": 6,
    }
    whole = ask(RESPONSES, body)
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert whole["usage"]["output_tokens"] == 6
    assert stream(RESPONSES, body)[-1]["type"] == "response.incomplete"


def test_responses_call_functions_and_answer_their_outputs() -> None:
    tool = {"type": "function", **WEATHER["function"]}
    body = {"model": "m", "input": "weather in Oslo?", "tools": [tool]}
    (item,) = ask(RESPONSES, body)["output"]
    assert item["type"] == "function_call"
    jsonschema.validate(json.loads(item["arguments"]), tool["parameters"])
    items = [{"role": "user", "content": "weather?"}, item]
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "18 degrees"}
    (message,) = ask(RESPONSES, body | {"input": [*items, output]})["output"]
    assert "18 degrees" in message["content"][0]["text"]


def test_responses_text_format_is_followed() -> None:
    form = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
    answer = ask(RESPONSES, {"model": "m", "input": "someone", "text": {"format": form}})
    jsonschema.validate(json.loads(answer["output"][0]["content"][0]["text"]), PERSON)


def test_embeddings_are_unit_vectors_and_alike_for_like_texts() -> None:
    texts = ["the quick brown fox", "the quick brown dog", "interest rates in March"]
    answer = ask("/v1/embeddings", {"model": "e", "input": texts})
    fox, dog, rates = (item["embedding"] for item in answer["data"])
    assert len(fox) == 1536
    assert isclose(sum(x * x for x in fox), 1, rel_tol=1e-5)
    assert sum(map(float.__mul__, fox, dog)) > 0.5 > sum(map(float.__mul__, fox, rates))
    assert answer["usage"] == {"prompt_tokens": 5 + 5 + 6, "total_tokens": 16}


def test_base64_embeddings_are_the_same_floats() -> None:
    body = {"model": "e", "input": [1, 2, 3], "dimensions": 64}
    floats = ask("/v1/embeddings", body)["data"][0]["embedding"]
    packed = base64.b64decode(ask("/v1/embeddings", body | {"encoding_format": "base64"})["data"][0]["embedding"])
    assert struct.unpack("<64f", packed) == pytest.approx(floats, rel=1e-5)


def test_moderation_flags_what_threatens_and_passes_the_rest() -> None:
    answer = ask("/v1/moderations", {"input": ["I will kill you", "a walk in the park"]})
    bad, good = answer["results"]
    assert bad["flagged"]
    assert bad["categories"]["violence"]
    assert not good["flagged"]
    assert len(good["category_scores"]) == 13


def test_models_are_listed_and_any_name_is_known() -> None:
    on = simulator(models=["a", "b"])
    listed = json.loads(bytes_of(on.answer(Received("GET", "/v1/models", {}, b"", 0))))
    assert [model["id"] for model in listed["data"]] == ["a", "b"]
    one = json.loads(bytes_of(on.answer(Received("GET", "/v1/models/org/any", {}, b"", 0))))
    assert one["id"] == "org/any"


def test_azure_path_names_the_model() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert ask("/openai/deployments/mine/chat/completions", body)["model"] == "mine"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/nothing", {}, 404, None),
        (CHAT, b"{", 400, None),
        (CHAT, b"[" * 5000, 400, None),
        (CHAT, [], 400, None),
        (CHAT, {"model": "m"}, 400, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}, 400, "model"),
        (CHAT, chat(max_tokens="many"), 400, "max_tokens"),
        (CHAT, chat(n=0), 400, "n"),
        (CHAT, chat(tools=[{"type": "function"}]), 400, "tools[0].function.name"),
        (CHAT, chat(tool_choice="required"), 400, "tool_choice"),
        (CHAT, chat(metadata={"simulate": "nonsense"}), 400, "simulate"),
        (RESPONSES, {"model": "m"}, 400, "input"),
        ("/v1/embeddings", {"model": "m"}, 400, "input"),
        ("/v1/moderations", {}, 400, "input"),
    ],
)
def test_wrong_requests_get_the_error_envelope(path: str, body: object, status: int, param: str | None) -> None:
    exchange = exchange_of(simulator(), path, body)
    error = json.loads(bytes_of(exchange))["error"]
    assert exchange.status == status
    assert error["param"] == param
    assert error["message"]
