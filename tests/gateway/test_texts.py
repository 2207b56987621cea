"""What of a request is counted, and that nothing escapes both the count and the bytes."""

import json
from typing import Any

import msgspec
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.requests import Api, parse_request
from router.gateway.texts import MOST_BYTES, Texts, texts_of
from router.providers.tokens import read_ranks

_PATTERN, _RANKS = read_ranks("o200k_base")
O200K = tiktoken.Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=_RANKS, special_tokens={})


def tokens(text: str) -> int:
    return len(O200K.encode_ordinary(text))


def found(api: Api, body: Any) -> Texts | None:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return texts_of(parse_request(api, raw))


def bound(api: Api, body: Any) -> int:
    texts = found(api, body)
    assert texts is not None
    return texts.rest + sum(tokens(part) for part in texts.parts)


def recipe(messages: list[dict[str, Any]]) -> int:
    """OpenAI's "How to count tokens with tiktoken": 3 a message, 1 more for a name, 3 for the answer's beginning."""
    total = 3
    for message in messages:
        total += 3
        for name, value in message.items():
            for text in [value] if isinstance(value, str) else [part["text"] for part in value]:
                total += tokens(text)
            total += name == "name"
    return total


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": list(messages), **more}


TEXT = st.text(max_size=80)
CONTENT = TEXT | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}), max_size=3)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "developer"]), "content": CONTENT},
    optional={"name": st.text(max_size=20)},
)


@given(st.lists(MESSAGE, min_size=1, max_size=8), st.booleans(), st.sampled_from([None, 2]))
@settings(max_examples=300, deadline=None)
def test_the_count_lies_between_the_published_recipe_and_the_bytes(
    messages: list[dict[str, Any]], is_ascii: bool, indent: int | None
) -> None:
    body = json.dumps(chat(*messages), ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")
    try:
        request = parse_request(Api.CHAT, body)
    except Exception:  # noqa: BLE001  half a surrogate pair is refused before anything is counted
        return
    texts = texts_of(request)
    if texts is None:
        return
    counted = texts.rest + sum(tokens(part) for part in texts.parts)
    assert recipe(messages) <= counted + 64
    assert counted <= len(body)
    assert texts.rest >= 0 and texts.least <= counted


def test_a_conversation_counts_a_fraction_of_its_bytes() -> None:
    turn = [{"role": "user", "content": "How large is the Moon?"}, {"role": "assistant", "content": "3,475 kilometres."}]
    body = msgspec.json.encode(chat(*turn * 50))
    assert bound(Api.CHAT, body) < len(body) / 2.5


def test_a_long_text_counts_its_tokens_and_a_little_more() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 1000
    assert tokens(text) < bound(Api.CHAT, chat({"role": "user", "content": text})) < tokens(text) + 80


@pytest.mark.parametrize(
    "extra", [b'"tools":[{"type":"function","function":{"name":"f"}}]', b'"unheard_of":"x x x x x x x"']
)
def test_what_is_no_message_counts_by_its_bytes(extra: bytes) -> None:
    plain = b'{"model":"m","messages":[{"role":"user","content":"hello there"}]}'
    with_it = plain[:-1] + b"," + extra + b"}"
    assert bound(Api.CHAT, with_it) == bound(Api.CHAT, plain) + len(extra) + 1


def test_members_of_a_message_that_are_no_text_count_by_their_bytes() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    plain = chat({"role": "assistant", "content": "hello there"})
    calling = chat({"role": "assistant", "content": "hello there", "tool_calls": [call]})
    more = len(msgspec.json.encode({"tool_calls": [call]})) - 1  # a comma instead of the braces
    assert bound(Api.CHAT, calling) == bound(Api.CHAT, plain) + more


@pytest.mark.parametrize(
    "twice",
    [
        b'{"messages":[{"role":"user","content":"LONG"}],"messages":[{"role":"user","content":"x"}]}',
        b'{"messages":[{"role":"user","content":"LONG","content":"x"}]}',
        b'{"messages":[{"role":"user","content":"x","\\u0063ontent":"LONG","content":"x"}]}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"LONG","text":"x"}]}]}',
    ],
)
def test_a_member_that_stands_there_twice_counts_twice(twice: bytes) -> None:
    """A provider may read another one than we do."""
    text = "many words that are tokens " * 100
    body = twice.replace(b"LONG", text.encode())
    assert bound(Api.CHAT, body) > tokens(text)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        [{"type": "text", "text": "x"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
        [{"type": "text", "text": "x", "image_url": {"url": "data:"}}],
        [{"type": "file", "file": {"file_data": "AAAA"}}],
        [{"type": "refusal", "refusal": "no"}],
        7,
        {"type": "text", "text": "x"},
    ],
)
def test_anything_but_text_is_not_counted(content: Any) -> None:
    assert found(Api.CHAT, chat({"role": "user", "content": content})) is None


@pytest.mark.parametrize(
    "body", [{}, {"messages": None}, {"messages": "x"}, {"messages": ["x"]}, {"messages": [{"role": 1, "content": "x"}]}]
)
def test_what_is_no_chat_is_not_counted(body: Any) -> None:
    assert found(Api.CHAT, body) is None


def test_an_earlier_answer_in_sound_is_not_counted() -> None:
    assert found(Api.CHAT, chat({"role": "assistant", "content": "x", "audio": {"id": "a1"}})) is None


def test_a_message_without_content_counts_by_its_bytes() -> None:
    texted = {"role": "user", "content": "hello"}
    empty = {"content": None, "refusal": None}
    more = len(msgspec.json.encode(empty)) + 1
    assert bound(Api.CHAT, chat(texted, empty)) == bound(Api.CHAT, chat(texted)) + more
    assert found(Api.CHAT, chat(empty)) is None


INPUT = [{"role": "user", "content": [{"type": "input_text", "text": "hello there, world"}]}]


@pytest.mark.parametrize(
    ("api", "body", "parts"),
    [
        (Api.RESPONSES, {"input": "hello", "instructions": "be brief"}, ("hello", "be brief")),
        (Api.RESPONSES, {"input": INPUT}, ("user", "hello there, world")),
        (Api.RESPONSES, {"input": [*INPUT, {"type": "function_call_output", "call_id": "c", "output": "o"}]}, None),
        (Api.EMBEDDINGS, {"input": "one"}, ("one",)),
        (Api.EMBEDDINGS, {"input": ["one", "two"]}, ("one", "two")),
        (Api.COMPLETIONS, {"prompt": "once upon"}, ("once upon",)),
        (Api.COMPLETIONS, {"prompt": ["a b c", "d e f"], "suffix": "the end"}, ("a b c", "d e f")),
    ],
)
def test_every_api_s_texts_are_found(api: Api, body: Any, parts: tuple[str, ...] | None) -> None:
    texts = found(api, body | {"model": "m"})
    assert texts is not None
    if parts is not None:
        assert texts.parts == parts
    assert (
        texts.rest + sum(len(part.encode()) for part in texts.parts) <= len(msgspec.json.encode(body | {"model": "m"})) + 16
    )


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (Api.EMBEDDINGS, {"input": [1, 2, 3]}),
        (Api.EMBEDDINGS, {"input": [[1, 2], [3]]}),
        (Api.COMPLETIONS, {"prompt": [1, 2, 3]}),
        (Api.RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}),
        (Api.RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}),
        (Api.RESPONSES, {}),
        (Api.MODERATIONS, {"input": "x"}),
    ],
)
def test_what_is_not_text_is_left_to_the_bytes(api: Api, body: Any) -> None:
    assert found(api, body | {"model": "m"}) is None


def test_a_very_large_body_is_left_to_the_bytes() -> None:
    assert found(Api.CHAT, chat({"role": "user", "content": "x" * MOST_BYTES})) is None
