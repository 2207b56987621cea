"""Real SDKs over the daemon to a provider of Bedrock's shape, with signed requests; and AWS's own client against the same
provider, so that it is known to have that shape."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.clients.bedrock_provider import KEY_ID, REGION, SECRET, SIGNATURE, TOKEN, BedrockProvider
from tests.daemon import Daemon, Workplace, settings

pytestmark = pytest.mark.process

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/ab12cd34"
HELLO: Any = [{"role": "user", "content": "Is the light on?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
OWN_TOOL: Any = {"name": "get_weather", "input_schema": PARAMETERS}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
TEXT = "The light is on. Ünder way."


@pytest.fixture(scope="module")
def provider() -> Iterator[BedrockProvider]:
    with BedrockProvider() as running:
        yield running


@pytest.fixture(scope="module")
def routerd(provider: BedrockProvider) -> Iterator[Daemon]:
    folder = Workplace()
    aws = {
        "type": "bedrock",
        "region": REGION,
        "base_url": provider.origin,
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
        "session_token": TOKEN,
    }
    catalog = {
        "claude": [{"provider": "aws", "model": CLAUDE}],
        "profile": [{"provider": "aws", "model": "anthropic.claude-sonnet-4-5", "deployment": PROFILE}],
        **{name: [{"provider": "aws", "model": f"anthropic.claude-{name}"}] for name in ("breaks", "cut", "busy")},
        "forged": [{"provider": "forger", "model": CLAUDE}],
    }
    forger = aws | {"secret_access_key": "another-secret"}
    with Daemon(folder, settings({"aws": aws, "forger": forger}, catalog)) as running:
        yield running
    folder.remove()


def test_a_chat_answer_with_usage_that_counts_the_cache_once(chat: Any, provider: BedrockProvider) -> None:
    answer = chat.chat.completions.create(model="claude", messages=HELLO, max_tokens=30)
    assert answer.choices[0].message.content == TEXT
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 5)
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    assert (answer.model, answer.id) == (CLAUDE, "req-1")
    sent = provider.received[-1]
    assert sent.path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert sent.body == {
        "messages": [{"role": "user", "content": [{"text": "Is the light on?"}]}],
        "inferenceConfig": {"maxTokens": 30},
    }


def test_an_inference_profile_is_asked_by_its_arn(chat: Any, provider: BedrockProvider) -> None:
    chat.chat.completions.create(model="profile", messages=HELLO, reasoning_effort="low")
    sent = provider.received[-1]
    assert sent.path.endswith("application-inference-profile%2Fab12cd34/converse")
    assert sent.body["additionalModelRequestFields"]["thinking"]["type"] == "enabled"


def test_a_chat_stream(chat: Any, provider: BedrockProvider) -> None:
    with chat.chat.completions.create(
        model="claude", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == TEXT
    assert chunks[-1].usage.prompt_tokens == 12
    assert provider.received[-1].path.endswith("/converse-stream")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_and_the_turn_with_its_result(chat: Any, provider: BedrockProvider, *, streamed: bool) -> None:
    if streamed:
        with chat.chat.completions.stream(model="claude", messages=HELLO, tools=[TOOL], tool_choice="required") as stream:
            for _ in stream:
                pass
            choice = stream.get_final_completion().choices[0]
    else:
        choice = chat.chat.completions.create(model="claude", messages=HELLO, tools=[TOOL], tool_choice="required").choices[
            0
        ]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.id, json.loads(call.function.arguments)) == ("tooluse_0", {"city": "Genoa"})
    assert provider.received[-1].body["toolConfig"]["toolChoice"] == {"any": {}}
    turns = [*HELLO, choice.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}]
    again = chat.chat.completions.create(model="claude", messages=turns, tools=[TOOL])
    assert again.choices[0].message.content == TEXT
    assert provider.received[-1].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "tooluse_0", "name": "get_weather", "input": {"city": "Genoa"}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "tooluse_0", "content": [{"text": "Sunny"}]}}]},
    ]


def test_an_image_is_seen(chat: Any, claude: Any) -> None:
    data = base64.b64encode(PNG).decode()
    shown = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
    answer = chat.chat.completions.create(model="claude", messages=[{"role": "user", "content": shown}])
    assert answer.choices[0].message.content == f"I see {len(PNG)} bytes."
    source = {"type": "base64", "media_type": "image/png", "data": data}
    turns = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    message = claude.messages.create(model="claude", messages=turns, max_tokens=30)
    assert message.content[0].text == f"I see {len(PNG)} bytes."


class Lighthouse(BaseModel):
    name: str
    height_m: int


def test_structured_output(chat: Any, provider: BedrockProvider) -> None:
    answer = chat.chat.completions.parse(model="claude", messages=HELLO, response_format=Lighthouse)
    assert answer.choices[0].message.parsed == Lighthouse(name="Pharos", height_m=103)
    told = provider.received[-1].body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert told["name"] == "Lighthouse" and json.loads(told["schema"])["required"] == ["name", "height_m"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_messages_caller_gets_thoughts_and_gives_them_back(
    claude: Any, provider: BedrockProvider, *, streamed: bool
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = {"model": "claude", "messages": HELLO, "max_tokens": 2000, "thinking": thinking, "tools": [OWN_TOOL]}
    if streamed:
        with claude.messages.stream(**asked) as stream:
            for _ in stream:
                pass
            message = stream.get_final_message()
    else:
        message = claude.messages.create(**asked)
    thought, call = message.content
    assert (thought.thinking, call.input, message.stop_reason) == ("Let me see.", {"city": "Genoa"}, "tool_use")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (7, 2)
    assert message.usage.cache_creation_input_tokens == 3
    turns = [
        *HELLO,
        {"role": "assistant", "content": [block.to_dict() for block in message.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "no", "is_error": True}]},
    ]
    again = claude.messages.create(**asked | {"messages": turns})
    assert again.content[-1].text == TEXT
    _, said, result = provider.received[-1].body["messages"]
    signed = {"text": "Let me see.", "signature": SIGNATURE}
    assert said["content"][0] == {"reasoningContent": {"reasoningText": signed}}
    assert result["content"][0]["toolResult"]["status"] == "error"


def test_tokens_are_counted_by_the_model_behind_a_profile(claude: Any, provider: BedrockProvider) -> None:
    told = claude.messages.count_tokens(model="claude", messages=HELLO, system="Be brief.", tools=[OWN_TOOL])
    assert told.input_tokens > 50
    sent = provider.received[-1]
    assert sent.path == "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens"
    assert sent.body["input"]["converse"].keys() == {"messages", "system", "toolConfig"}


def test_an_exception_within_a_stream_ends_it_with_an_error(chat: Any, claude: Any) -> None:
    said: list[str] = []
    with chat.chat.completions.create(model="breaks", messages=HELLO, stream=True) as stream:
        texts = (choice.delta.content or "" for chunk in stream for choice in chunk.choices)
        with pytest.raises(openai.APIError, match="fell over"):
            said.extend(texts)
    assert "".join(said) == TEXT
    made = claude.messages.stream(model="breaks", messages=HELLO, max_tokens=30)
    with made as events, pytest.raises(anthropic.APIStatusError, match="fell over"):
        events.until_done()


def test_a_stream_that_stops_on_its_way_never_looks_finished(chat: Any) -> None:
    with chat.chat.completions.create(model="cut", messages=HELLO, stream=True) as stream, pytest.raises(openai.APIError):
        list(stream)


def test_what_bedrock_refuses_is_told_in_the_callers_words(chat: Any, claude: Any) -> None:
    turns: Any = [{"role": "assistant", "content": "I begin."}, *HELLO]
    with pytest.raises(openai.BadRequestError, match="must start with a user message"):
        chat.chat.completions.create(model="claude", messages=turns)
    with pytest.raises(anthropic.BadRequestError, match="must start with a user message"):
        claude.messages.create(model="claude", messages=turns, max_tokens=30)
    with pytest.raises(openai.RateLimitError):
        chat.chat.completions.create(model="busy", messages=HELLO)


def test_a_field_that_bedrock_has_no_word_for_is_refused_by_name(chat: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        chat.chat.completions.create(model="claude", messages=HELLO, logit_bias={"5": -100})
    assert (refused.value.code, refused.value.param) == ("unsupported_feature", "logit_bias")


def test_a_wrong_secret_opens_nothing_and_is_not_shown(chat: Any) -> None:
    pytest.importorskip("botocore", reason="botocore checks the signature, and is not installed")
    with pytest.raises(openai.APIStatusError) as refused:
        chat.chat.completions.create(model="forged", messages=HELLO)
    assert refused.value.status_code >= 500 and "secret" not in refused.value.message


def test_the_provider_is_one_that_the_client_of_aws_can_speak_to(provider: BedrockProvider) -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is the reference, and is not installed")
    client = boto3.client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=provider.origin,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
    )
    messages = [{"role": "user", "content": [{"text": "Is the light on?"}]}]
    answer = client.converse(modelId=CLAUDE, messages=messages)
    assert answer["output"]["message"]["content"] == [{"text": TEXT}]
    told = list(client.converse_stream(modelId=CLAUDE, messages=messages)["stream"])
    text = "".join(one["contentBlockDelta"]["delta"]["text"] for one in told if "contentBlockDelta" in one)
    assert text == TEXT and told[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 2
    broken = client.converse_stream(modelId="x.breaks", messages=messages)["stream"]
    with pytest.raises(Exception, match="fell over"):
        list(broken)
    broken.close()
    client.close()
