"""Each fault spoils what it is meant to spoil, where, when and for whom it is ordered."""

import json
from typing import Any

import pytest

from router.providers.simulated.exchange import Ending, Exchange
from router.providers.simulated.options import FaultKind, parse_options, parse_order
from router.providers.simulated.provider import Received, Simulator
from tests.providers.simulation import AT_ONCE, CHAT, RESPONSES, bytes_of, chat, events_of, exchange_of, said, simulator

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def faulty(order: str, **fields: Any) -> Exchange:
    return exchange_of(simulator(), CHAT, chat(metadata={"simulate": order}, **fields))


def streamed(order: str) -> Exchange:
    return faulty(order, **STREAMED)


@pytest.mark.parametrize(
    ("order", "status", "retry_after"),
    [
        ("429", 429, "1"),
        ("rate_limited;retry_after=Wed, 21 Oct 2026 07:28:00 GMT", 429, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("503;retry_after=0", 503, "0"),
        ("529", 529, None),
        ("error", 500, None),
        ("html_error", 502, None),
    ],
)
def test_status_faults_answer_with_their_status_and_wait(order: str, status: int, retry_after: str | None) -> None:
    exchange = faulty(order)
    assert (exchange.status, dict(exchange.headers).get("retry-after")) == (status, retry_after)
    assert exchange.ending is Ending.COMPLETE


def test_html_error_is_html_and_empty_is_empty() -> None:
    assert faulty("html_error").content_type == "text/html"
    assert bytes_of(faulty("html_error")).startswith(b"<!DOCTYPE html>")
    empty = faulty("empty")
    assert (empty.status, bytes_of(empty), empty.length) == (200, b"", 0)


def test_right_body_under_the_wrong_content_type() -> None:
    wrong = faulty("wrong_content_type", stream=True)
    assert wrong.content_type.startswith("text/plain")
    assert said(events_of(wrong)) == said(events_of(faulty("none", stream=True)))


def test_timeout_and_early_reset_have_no_head() -> None:
    assert (faulty("timeout").status, faulty("timeout").ending) == (0, Ending.SILENCE)
    assert (faulty("reset").status, faulty("reset").ending) == (0, Ending.RESET)


def test_slow_headers_delay_the_head_only() -> None:
    assert faulty("slow_headers;delay=2500ms").head_after == 2.5


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("silence", Ending.SILENCE), ("reset", Ending.RESET), ("end_early", Ending.COMPLETE), ("cut_stream", Ending.CUT)],
)
@pytest.mark.parametrize("after", [0, 1, 4])
def test_broken_streams_send_exactly_so_many_events(kind: str, ending: Ending, after: int) -> None:
    exchange = streamed(f"{kind};after_events={after}")
    assert exchange.ending is ending
    assert bytes_of(exchange).count(b"\n\n") == after
    assert bytes_of(exchange).endswith(b"\n\n") == (kind != "cut_stream" and after > 0)


@pytest.mark.parametrize("kind", ["silence", "reset", "end_early", "cut_stream", "error_event"])
def test_broken_stream_never_looks_finished_however_late(kind: str) -> None:
    body = bytes_of(streamed(f"{kind};after_events=100000"))
    assert b'"finish_reason":"' not in body
    assert b"[DONE]" not in body


def test_json_answers_are_broken_at_half() -> None:
    whole = bytes_of(faulty("none"))
    cut = faulty("cut_stream")
    assert (bytes_of(cut), cut.length, cut.ending) == (whole[: len(whole) // 2], len(whole), Ending.CUT)
    bad = faulty("bad_frames")
    assert (bad.length, bad.ending) == (len(whole) // 2, Ending.COMPLETE)
    with pytest.raises(json.JSONDecodeError):
        json.loads(bytes_of(bad))
    assert isinstance(json.loads(bytes_of(faulty("not_an_object"))), list)


def test_bad_frame_stands_between_good_ones() -> None:
    good = bytes_of(streamed("none"))
    bad = bytes_of(streamed("bad_frames;after_events=2"))
    broken = bad.split(b"\n\n")[2]
    assert bad.replace(broken + b"\n\n", b"") == good
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.removeprefix(b"data: "))


def test_error_event_ends_the_stream_in_its_own_dialect() -> None:
    assert "error" in events_of(streamed("error_event"))[-1]
    body = {"model": "m", "input": "x", "stream": True, "metadata": {"simulate": "error_event;after_events=4"}}
    last = events_of(exchange_of(simulator(), RESPONSES, body))[-1]
    assert (last["type"], last["sequence_number"]) == ("error", 4)


def test_huge_event_has_its_size_and_is_not_held_in_memory() -> None:
    exchange = streamed("huge_event;bytes=1073741824")
    assert sum(len(piece.data) * piece.times for piece in exchange.pieces) > 2**30
    assert sum(len(piece.data) for piece in exchange.pieces) < 2**20


def test_framings_change_the_line_ends_and_not_the_events() -> None:
    good = bytes_of(streamed("none"))
    assert bytes_of(streamed("crlf")) == good.replace(b"\n", b"\r\n")
    assert bytes_of(streamed("cr")) == good.replace(b"\n", b"\r")
    assert bytes_of(streamed("bom")) == b"\xef\xbb\xbf" + good
    assert bytes_of(streamed("no_space")) == good.replace(b"data: ", b"data:")
    assert bytes_of(streamed("comments")).replace(b": keep-alive\n\n", b"") == good


def test_no_done_leaves_out_only_done() -> None:
    assert bytes_of(streamed("no_done")) + b"data: [DONE]\n\n" == bytes_of(streamed("none"))


@pytest.mark.parametrize(
    ("order", "output"), [("usage_zero", 0), ("usage_absurd", 10**18), ("usage_null", None), ("usage_absent", "absent")]
)
def test_usage_faults_lie_about_usage_and_the_exchange_knows_the_truth(order: str, output: object) -> None:
    true = json.loads(bytes_of(faulty("none")))["usage"]["completion_tokens"]
    exchange = faulty(order)
    usage = json.loads(bytes_of(exchange)).get("usage", {"completion_tokens": "absent"})
    assert (usage and usage["completion_tokens"]) == output
    assert exchange.usage
    assert exchange.usage["output_tokens"] == true
    last = events_of(streamed(order))[-1]
    assert (last.get("usage") and last["usage"]["completion_tokens"]) == (None if output == "absent" else output)


def test_usage_twice_and_cumulative_repeat_the_numbers() -> None:
    twice = [event for event in events_of(streamed("usage_twice")) if not event["choices"]]
    assert len(twice) == 2
    assert twice[0] == twice[1]
    counts = [event["usage"]["completion_tokens"] for event in events_of(streamed("usage_cumulative")) if event["usage"]]
    assert counts == [*range(1, counts[-1] + 1), counts[-1]]


@pytest.mark.parametrize(("order", "tokens"), [("ignore_cap", 42), ("ignore_cap;output_tokens=7", 7)])
def test_ignored_cap_gives_more_and_counts_it(order: str, tokens: int) -> None:
    answer = json.loads(bytes_of(faulty(order, max_tokens=5)))
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_stream_options_are_refused_only_where_they_are_sent() -> None:
    assert streamed("refuse_stream_options").status == 400
    assert faulty("refuse_stream_options", stream=True).status == 200


def statuses(on: Simulator, count: int, model: str = "m") -> list[int]:
    return [exchange_of(on, CHAT, chat() | {"model": model}).status for _ in range(count)]


def test_listed_requests_fail_and_the_others_do_not() -> None:
    on = simulator(faults=[{"kind": "error", "requests": [1, "3-4"]}])
    assert statuses(on, 5) == [500, 200, 500, 500, 200]


def test_rate_hits_its_share_the_same_way_each_time() -> None:
    first = statuses(simulator(seed=3, faults=[{"kind": "503", "rate": 0.3}]), 1000)
    assert first == statuses(simulator(seed=3, faults=[{"kind": "503", "rate": 0.3}]), 1000)
    assert 250 < first.count(503) < 350


def test_fault_of_a_model_spares_the_others_and_the_list_of_models() -> None:
    on = simulator(faults=[{"kind": "error", "models": ["bad"]}])
    assert (statuses(on, 1, "bad"), statuses(on, 1, "good")) == ([500], [200])
    assert on.answer(Received("GET", "/v1/models", {}, b"", 0)).status == 200
    probed = simulator(faults=[{"kind": "error", "probes": True}])
    assert probed.answer(Received("GET", "/v1/models", {}, b"", 0)).status == 500


def test_order_of_a_request_wins_over_the_configured_fault() -> None:
    on = simulator(faults=[{"kind": "error"}])
    assert exchange_of(on, CHAT, chat(), **{"x-simulate": "none"}).status == 200
    assert exchange_of(on, CHAT, chat(user="simulate:429")).status == 429
    assert exchange_of(on, CHAT, chat(user="somebody")).status == 500


def test_order_may_set_the_pace_alone() -> None:
    exchange = faulty("output_tokens=10;tokens_per_second=20;first_token=1s;latency=100ms", stream=True)
    tokens = [piece for piece in exchange.pieces if piece.tokens]
    assert exchange.head_after == 0.1
    assert [round(piece.at, 3) for piece in tokens] == [round(1 + n / 20, 3) for n in range(10)]


def test_json_answer_takes_as_long_as_its_tokens() -> None:
    assert faulty("output_tokens=10;tokens_per_second=20;first_token=1").head_after == 1.5


def test_kept_answers_do_not_hide_orders_or_other_seconds() -> None:
    on = simulator()
    first, again = exchange_of(on, CHAT, chat()), exchange_of(on, CHAT, chat())
    assert first.pieces is again.pieces
    assert exchange_of(on, CHAT, chat(), **{"x-simulate": "429"}).status == 429
    later = on.answer(Received("POST", CHAT, {}, json.dumps(chat()).encode(), 5))
    assert json.loads(bytes_of(later))["created"] == 5


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"latency": -1}, "latency"),
        ({"latency": "soon"}, "latency"),
        ({"speed": 1}, "speed"),
        ({"faults": [{"kind": "explode"}]}, "explode"),
        ({"faults": [{"kind": "error", "rate": 2}]}, "rate"),
        ({"faults": [{"rate": 1}]}, "kind"),
        ({"faults": [{"kind": "error", "requests": ["x"]}]}, "requests"),
    ],
)
def test_wrong_options_are_named(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_options(AT_ONCE | settings)


@pytest.mark.parametrize(
    "text", ["explode", "after_events=3", "reset;after_events=x", "output_tokens=50001", "error;rate=7"]
)
def test_wrong_orders_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_order(text)


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_kind_makes_an_exchange_for_every_api(kind: FaultKind, is_stream: bool) -> None:
    bodies = {
        CHAT: chat(stream=is_stream),
        "/v1/completions": {"model": "m", "prompt": "x", "stream": is_stream},
        RESPONSES: {"model": "m", "input": "x", "stream": is_stream},
        "/v1/embeddings": {"model": "m", "input": "x"},
        "/v1/moderations": {"input": "x"},
    }
    for path, body in bodies.items():
        exchange = exchange_of(simulator(), path, body, **{"x-simulate": f"{kind};bytes=10"})
        assert exchange.status in {0, 200, 429, 500, 502}
