"""What is held for an attempt is at least what it can cost, whatever is reported of it and however its body is written."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.routes import Candidate
from router.domain.usage import NanoUSD, Price, Usage
from router.gateway.bounds import Bound, bound_of
from tests.gateway.table import PRICE, alias
from tests.gateway.test_budgets import bound

ALIAS = alias("a", "p", max_output_tokens=100)
HIDING = [
    '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]',
    '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"HTTP://example.com/a.png"}}]}]',
    '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url" : "gs://bucket/a.png"}}]}]',
    '"messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AA=="}}]}]',
    '"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/a.png"}]}]',
    '"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:application/pdf;base64,AA=="}]}]',
    '"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]',
    '"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://example.com/a.pdf"}]}]',
    '"input":"go on","previous_response_id":"resp_1"',
    '"input":"go on","conversation":{"id":"conv_1"}',
    '"messages":[],"prediction":{"type":"content","content":"much"}',
    '"messages":[],"web_search_options":{}',
    '"input":"hi","tools":[{"type":"web_search"}]',
    '"input":"hi","tools":[{"type":"mcp","server_url":"https://example.com"}]',
]
"""Bodies of which a provider bills what is not in them."""

prices = st.integers(0, 10**9)
own = st.one_of(st.none(), prices)
price_lists = st.builds(
    Price, prices, prices, cached_input=own, cache_write=own, reasoning=own, audio_input=own, audio_output=own
)


def held(request: ModelRequest, price: Price = PRICE, **changes: Any) -> Bound:
    named = alias("a", "p", **({"max_output_tokens": 100} | changes))
    target = replace(named.targets[0], price=price)
    return bound_of(request, Candidate(target, named, "m", ""))


def chat_of(text: str, more: str = "") -> ModelRequest:
    return parse_request(Api.CHAT, f'{{"model":"a",{text}{more}}}'.encode())


def messages_of(text: str, price: Price = PRICE, **changes: Any) -> Bound:
    return held(parse_request(Api.MESSAGES, f'{{"model":"a","max_tokens":7,{text}}}'.encode()), price, **changes)


def asking(block: str) -> str:
    return f'"messages":[{{"role":"user","content":[{block}]}}]'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (asking('{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}'), "image_url"),
        (asking('{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}'), "image_url"),
        (
            asking('{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA=="}}'),
            "media_type",
        ),
        (asking('{"type":"image","source":{"type":"file","file_id":"file_1"}}'), "file_id"),
        ('"messages":[],"container":"container_1"', "container"),
        ('"messages":[],"container":{"skills":[]}', "container"),
        ('"messages":[],"mcp_servers":[{"type":"url"}]', "mcp_servers"),
        ('"messages":[],"tools":[{"type":"web_search_20250305","name":"web_search"}]', "tools"),
        ('"messages":[],"tools":[{"type":"code_execution_20250825","name":"code_execution"}]', "tools"),
        ('"messages":[],"tools":[{"type":"browser_toolset_20260801"}]', "tools"),
        ('"messages":[],"speed":"fast"', "speed"),
        ('"messages":[],"context_management":{"edits":[{"type":"compact_20260112"}]}', "context_management"),
    ],
)
def test_what_anthropic_fetches_runs_or_remembers_needs_an_amount_by_hand(text: str, named: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        messages_of(text)
    assert caught.value.param == named
    assert messages_of(text, max_request=5).amount == 5


def test_media_and_tools_in_a_message_are_held_at_the_most_they_are_billed() -> None:
    image = '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}'
    tools = ',"tools":[{"type":"bash_20250124","name":"bash"},{"name":"f","input_schema":{}}]'
    plain, full = asking(""), asking(f"{image},{image}") + tools
    more = len(full) - len(plain) + 2 * 50_000 + 1024 + 1024
    assert messages_of(full).amount - messages_of(plain).amount == more


def test_a_message_is_held_at_its_own_cap_and_one_without_gets_that_of_its_alias() -> None:
    assert (messages_of('"messages":[]').output_tokens, messages_of('"messages":[]').cap) == (7, None)
    without = parse_request(Api.MESSAGES, b'{"model":"a","messages":[]}')
    assert (held(without).output_tokens, held(without).cap) == (100, 100)


def test_what_is_kept_for_an_hour_is_held_at_the_price_of_an_hour() -> None:
    price = Price(1_000_000, 3_000_000, cache_write=1_250_000, cache_write_1h=2_000_000)
    mark = '"messages":[],"cache_control":{"type":"ephemeral","ttl":"%s"}'
    short, long = messages_of(mark % "5m", price).amount - 21, messages_of(mark % "1h", price).amount - 21
    assert short == -(-long // 2 * 5 // 4)
    usage = Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=600)
    assert price.of(usage) == 400 * 5 // 4 + 600 * 2


def test_counting_tokens_costs_nothing_whatever_is_counted() -> None:
    pdf = asking('{"type":"document","source":{"type":"file","file_id":"file_1"}}')
    assert held(parse_request(Api.COUNT_TOKENS, f'{{"model":"a",{pdf}}}'.encode())) == Bound(NanoUSD(0), 0, None)


def parts(whole: int, count: int) -> st.SearchStrategy[list[int]]:
    """`count` counts, each at most `whole`: providers are not held to anything more."""
    return st.lists(st.integers(0, whole), min_size=count, max_size=count)


@st.composite
def answered(draw: st.DrawFn) -> tuple[ModelRequest, Usage]:
    """A request, and what a provider may report that makes at most a token of a byte and keeps to its cap."""
    api = draw(st.sampled_from([Api.CHAT, Api.COMPLETIONS, Api.RESPONSES, Api.EMBEDDINGS]))
    text, cap = draw(st.text(max_size=200)), draw(st.integers(0, 2**31))
    body: dict[str, Any] = {"model": "a"}
    answers = 1
    if api is Api.CHAT:
        answers = draw(st.integers(1, 128))
        body |= {"messages": [{"role": "user", "content": text}], "n": answers}
        body[draw(st.sampled_from(["max_tokens", "max_completion_tokens"]))] = cap
    elif api is Api.COMPLETIONS:
        prompts, best = draw(st.integers(1, 5)), draw(st.integers(1, 20))
        answers = prompts * best
        body |= {"prompt": [text] * prompts, "best_of": best, "max_tokens": cap}
    elif api is Api.RESPONSES:
        body |= {"input": text, "max_output_tokens": cap}
    else:
        answers, cap = 0, 0
        body |= {"input": text}
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode()
    input_tokens, output_tokens = draw(st.integers(0, len(raw) + 64)), draw(st.integers(0, cap * answers))
    cached, written, heard = draw(parts(input_tokens, 3))
    thought, spoken = draw(parts(output_tokens, 2))
    return parse_request(api, raw), Usage(input_tokens, output_tokens, cached, written, thought, heard, spoken)


@given(answered(), price_lists)
def test_what_is_held_is_at_least_what_it_costs(exchange: tuple[ModelRequest, Usage], price: Price) -> None:
    request, usage = exchange
    assert price.of(usage) <= held(request, price).amount


@given(answered(), price_lists, st.integers(1, 10**6))
def test_a_larger_cap_or_a_dearer_price_never_holds_less(
    exchange: tuple[ModelRequest, Usage], price: Price, more: int
) -> None:
    request, _ = exchange
    dearer = Price(price.input + more, price.output + more)
    assert held(request, Price(price.input, price.output)).amount <= held(request, dearer).amount
    if request.api is Api.EMBEDDINGS:
        return
    uncapped = parse_request(request.api, b'{"model":"a","input":"","messages":[],"prompt":""}')
    caps = [held(uncapped, price, max_output_tokens=cap).amount for cap in (more, more + 1)]
    assert caps == sorted(caps)


@pytest.mark.parametrize("hiding", HIDING)
def test_what_the_body_does_not_show_is_refused(hiding: str) -> None:
    with pytest.raises(UnsupportedFeature, match="max_request_usd"):
        held(chat_of(hiding))


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('"prompt":{"id":"pmpt_1"}', "prompt"),
        ('"input":[{"type":"item_reference","id":"msg_1"}]', "input"),
        ('"input":[{"\\u0074ype" : "item_\\u0072eference","id":"msg_1"}]', "input"),
    ],
)
def test_what_the_provider_keeps_is_refused_in_responses_alone(text: str, param: str) -> None:
    body = f'{{"model":"a","max_output_tokens":9,{text}}}'.encode()
    with pytest.raises(UnsupportedFeature, match="max_request_usd") as caught:
        held(parse_request(Api.RESPONSES, body))
    assert caught.value.param == param
    held(parse_request(Api.CHAT, body))


@given(st.sampled_from(HIDING), st.randoms(use_true_random=False))
def test_escapes_and_spaces_hide_nothing(hiding: str, chance: Any) -> None:
    """Any letter of a name or value may be written as its number, and space may stand between them."""
    written = "".join(
        f"\\u{ord(c):04{chance.choice('xX')}}" if c.isalpha() and chance.random() < 0.5 else c + " " * (c in ":{[,")
        for c in hiding
    )
    assert json.loads(f"{{{written}}}").keys() == json.loads(f"{{{hiding}}}").keys()
    with pytest.raises(UnsupportedFeature):
        held(chat_of(written))


@pytest.mark.parametrize(
    "text",
    [
        '"messages":[{"role":"user","content":"see https://example.com, \\"file_id\\":\\"x\\" and \\"tools\\": [1]"}]',
        '"messages":[{"role":"user","content":[{"type":"text","text":"https://example.com"}]}]',
        '"messages":[{"role":"user","content":"hi"}],"previous_response_id":null',
        '"messages":[{"role":"user","content":"hi"}],"metadata":{"n":"1","prompt":"2"},"n":1',
    ],
)
def test_words_about_such_content_are_only_words(text: str) -> None:
    request = chat_of(text)
    assert held(request).amount == bound(len(request.body), 100 * request.answers)


def test_each_image_in_the_body_is_held_at_the_most_one_is_billed() -> None:
    image = '{"type":"image_url","image_url":{"url":"%s:image/png;base64,AA=="}}'
    request = chat_of(f'"messages":[{{"role":"user","content":[{image % "data"},{image % "Data"}]}}]')
    assert held(request).amount == bound(len(request.body) + 2 * 50_000, 100)


@pytest.mark.parametrize("more", [',"tools":[]', ',"tools" : [{"type":"function"}]', ',"response_format":{"type":"text"}'])
def test_what_providers_write_around_tools_and_schemas_is_held(more: str) -> None:
    request = chat_of('"messages":[]', more)
    assert held(request).amount == bound(len(request.body) + 1024, 100)


@pytest.mark.parametrize("name", ["n", "best_of", "prompt"])
@pytest.mark.parametrize("second", ["", "\\u0061"])
def test_of_two_equal_names_none_is_believed(name: str, second: str) -> None:
    again = f"\\u{ord(name[0]):04x}{name[1:]}" if second else name
    with pytest.raises(InvalidRequest, match="occurs twice") as caught:
        held(chat_of(f'"{name}":1,"metadata":{{"{name}":1}},"{again}":1'))
    assert caught.value.param == name


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"])
@pytest.mark.parametrize(
    "value", ["true", "false", '"5"', "5.0", "1e2", "NaN", "Infinity", "-Infinity", "1e400", "[5]", "{}", "-2", f"{2**63}"]
)
def test_a_count_is_an_integer_in_its_range_or_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        chat_of(f'"{name}":{value}')


@pytest.mark.parametrize("more", ["", ',"max_tokens":5'])
def test_no_cap_in_words_is_not_left_beside_the_cap_that_is_held(more: str) -> None:
    with pytest.raises(InvalidRequest, match="is no cap") as caught:
        held(chat_of('"max_completion_tokens":-1', more))
    assert caught.value.param == "max_completion_tokens"
    assert held(chat_of('"max_tokens":-1')).cap == 100


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(0, 2**31), price_lists)
def test_no_counts_make_an_amount_wrap_round(cap: int, n: int, best_of: int, price: Price) -> None:
    """What one gateway credited to an account: a product that overflowed into a negative charge."""
    request = parse_request(Api.COMPLETIONS, f'{{"model":"a","max_tokens":{cap},"n":{n},"best_of":{best_of}}}'.encode())
    least = cap * max(n, 1) * price.output // 10**6
    assert held(request, price).amount >= least >= 0
