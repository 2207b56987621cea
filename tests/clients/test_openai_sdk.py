"""The OpenAI Python SDK, synchronous, through the real daemon: what its users write works, and fails as they expect."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.daemon import KEY, Daemon

pytestmark = pytest.mark.process

HELLO: Any = [{"role": "user", "content": "Tell me something about lighthouses."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Lighthouse(BaseModel):
    name: str
    height_m: float
    is_lit: bool
    keepers: list[str]


@pytest.fixture
def client(routerd: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_tokens=30)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 30)
    assert answer._request_id


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-5-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_chat_stream_without_usage_has_no_frame_of_ours(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="gpt-5-mini", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_may_be_left(client: openai.OpenAI, routerd: Daemon) -> None:
    with client.chat.completions.create(model="gpt-5-mini", messages=HELLO, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(model="gpt-5-mini", messages=HELLO).choices


def test_a_tool_is_called_and_its_result_answered(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, tools=[WEATHER], tool_choice="required")
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 21}'}
    turns: Any = [*HELLO, first.choices[0].message.model_dump(exclude_none=True), result]
    second = client.chat.completions.create(model="gpt-5-mini", messages=turns, tools=[WEATHER])
    assert second.choices[0].message.content


def test_a_tool_call_is_streamed_in_pieces(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="gpt-5-mini", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ) as stream:
        pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert len(pieces) > 2
    assert json.loads("".join(pieces)) == json.loads(call.function.arguments)


def test_a_schema_is_kept(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="gpt-5-mini", messages=HELLO, response_format=Lighthouse)
    assert isinstance(answer.choices[0].message.parsed, Lighthouse)
    older = client.beta.chat.completions.parse(model="gpt-5-mini", messages=HELLO, response_format=Lighthouse)
    assert isinstance(older.choices[0].message.parsed, Lighthouse)


def test_pictures_are_accepted(client: openai.OpenAI) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    messages: Any = [{"role": "user", "content": content}]
    assert client.chat.completions.create(model="gpt-5-mini", messages=messages).choices[0].message.content


def test_legacy_completions(client: openai.OpenAI) -> None:
    assert client.completions.create(model="gpt-5-mini", prompt="Once upon a time", max_tokens=12).choices[0].text


def test_embeddings_in_base64_and_as_numbers(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="text-embedding-3-small", input=["first", "second"])
    plain = client.embeddings.create(model="text-embedding-3-small", input=["first", "second"], encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1]
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert packed.usage.total_tokens > 0


def test_moderations(client: openai.OpenAI) -> None:
    answer = client.moderations.create(model="omni-moderation-latest", input="I will kill you")
    assert isinstance(answer.results[0].flagged, bool)


def test_models(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"gpt-5-mini", "text-embedding-3-small", "omni-moderation-latest"}
    assert client.models.retrieve("gpt-5-mini").id == "gpt-5-mini"


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-5-mini", input="Tell me something.", max_output_tokens=40)
    assert answer.output_text
    assert answer.usage is not None
    assert 0 < answer.usage.output_tokens <= 40


def test_responses_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-5-mini", input="Tell me something.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text
    assert final.status == "completed"


def test_responses_keep_a_schema(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model="gpt-5-mini", input="A lighthouse.", text_format=Lighthouse)
    assert isinstance(answer.output_parsed, Lighthouse)


def test_raw_answers_show_our_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=HELLO)
    assert raw.headers["x-router-provider"] == "demo"
    assert raw.parse().choices


def test_a_wrong_key_is_an_authentication_error(routerd: Daemon) -> None:
    wrong = openai.OpenAI(base_url=f"{routerd.url}/v1", api_key="sk-demo.wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError) as caught:
        wrong.models.list()
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_bad_request_is_a_bad_request_error_with_the_provider_s_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-5-mini", messages=[])
    assert caught.value.body
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_tokens=-7)


def test_a_limit_is_a_rate_limit_error(routerd: Daemon) -> None:
    key = "sk-once.a-secret-of-the-tests-only"
    with openai.OpenAI(base_url=f"{routerd.url}/v1", api_key=key, max_retries=0) as limited:
        limited.chat.completions.create(model="gpt-5-mini", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as caught:
            limited.chat.completions.create(model="gpt-5-mini", messages=HELLO)
    assert caught.value.response.headers["retry-after"]


def test_a_failing_provider_is_an_internal_server_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="gpt-5-mini", messages=HELLO, metadata={"simulate": "500"})
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")


def test_a_cut_stream_raises_and_never_ends_quietly(client: openai.OpenAI) -> None:
    with (
        client.chat.completions.create(
            model="gpt-5-mini", messages=HELLO, stream=True, metadata={"simulate": "cut_stream;after_events=3"}
        ) as stream,
        pytest.raises(openai.APIError) as caught,
    ):
        list(stream)
    assert caught.value.code == "upstream_truncated"


def test_a_cut_responses_stream_ends_in_an_error_and_never_quietly(client: openai.OpenAI) -> None:
    order: Any = {"simulate": "cut_stream;after_events=5"}
    with client.responses.create(model="gpt-5-mini", input="x", stream=True, metadata=order) as stream:
        kinds: list[str] = []
        with pytest.raises(openai.APIError) as caught:
            kinds.extend(event.type for event in stream)
    assert "upstream_truncated" in str(caught.value.code)
    assert "response.completed" not in kinds


def test_the_caller_s_own_timeout_holds(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model="gpt-5-mini", messages=HELLO, metadata={"simulate": "latency=5"}
        )
