"""Log lines: their schema, their safety, and what never stands in them."""

import re
from typing import Any

import msgspec
import pytest

from router.domain.ledger import Outcome
from router.domain.observations import (
    ConfigRejected,
    ConfigReloaded,
    CredentialRested,
    Failure,
    LedgerFlushed,
    LedgerStalled,
    LimiterDegraded,
    LimiterRestored,
    Notice,
    Observation,
    ProbeFinished,
    RequestRefused,
    RequestReplayed,
    RequestsFinished,
    TargetEjected,
    TargetRecovered,
)
from router.domain.usage import Usage
from router.telemetry.lines import LineWriter
from router.telemetry.logs import LogSink
from router.telemetry.redaction import Redactor
from tests.gateway.fakes import FakeClock
from tests.telemetry.entries import Memory, Timer, attempt, entry


class Log:
    """A sink and what came out of it."""

    def __init__(self, *secrets: str, log_format: str = "json", level: str = "info") -> None:
        self.stream = Memory()
        self.writer = LineWriter(self.stream, Timer())
        self.sink = LogSink(FakeClock(), self.writer, Redactor(secrets), log_format=log_format, level=level)

    def text(self, *observations: Observation) -> str:
        for observation in observations:
            self.sink.emit(observation)
        assert self.writer.close()
        return self.stream.taken.decode()

    def lines(self, *observations: Observation) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.text(*observations).splitlines()]


def refusal(**changes: Any) -> RequestRefused:
    fields = {"tenant": "demo", "key": "demo-key", "alias": "gpt", "hint": ""} | changes
    return RequestRefused("req-1", "POST", "/v1/chat/completions", status=401, code="invalid_api_key", **fields)


def test_a_finished_request_is_one_line_with_the_promised_names() -> None:
    (line,) = Log().lines(RequestsFinished([entry()]))
    assert line == {
        "time": "2025-06-15T15:23:20.000Z",
        "level": "info",
        "event": "request_finished",
        "request_id": "req-1",
        "decision": "0" * 31 + "1",
        "tenant": "demo",
        "key": "demo-key",
        "api": "chat",
        "alias": "gpt",
        "provider": "openai",
        "target": "openai/gpt-5-mini",
        "model": "gpt-5-mini",
        "status": 200,
        "outcome": "ok",
        "duration_ms": 1240.0,
        "input_tokens": 100,
        "output_tokens": 200,
        "cost_usd": "0.0015",
        "attempts": 1,
        "first_byte_ms": 45.678,
        "cached_input_tokens": 40,
        "reasoning_tokens": 60,
    }


def test_the_searches_of_rerank_are_in_the_line_of_a_request_that_has_some() -> None:
    (line,) = Log().lines(RequestsFinished([entry(api="rerank", usage=Usage(searches=3))]))
    assert (line["searches"], line["input_tokens"]) == (3, 0)


def test_a_request_that_took_two_attempts_tells_of_both() -> None:
    reason = "first_byte_timeout"
    first = attempt(target="azure/gpt", outcome=Outcome.TIMEOUT, status=None, duration_us=5_000_000, reason=reason)
    (line,) = Log().lines(RequestsFinished([entry(attempts=(first, attempt(attempt=2)))]))
    assert (line["attempts"], line["target"]) == (2, "openai/gpt-5-mini")
    assert line["tries"][0] == {
        "target": "azure/gpt",
        "outcome": "timeout",
        "status": None,
        "duration_ms": 5000.0,
        "reason": "first_byte_timeout",
    }


LEVELS = [(200, "info"), (404, "info"), (499, "info"), (502, "warning"), (500, "error")]


@pytest.mark.parametrize(("status", "level"), LEVELS)
def test_the_level_of_a_request_follows_its_status(status: int, level: str) -> None:
    (line,) = Log().lines(RequestsFinished([entry(status=status, code="x", attempts=())]))
    assert (line["level"], line["status"], line["provider"], line["attempts"]) == (level, status, "", 0)


def test_a_refused_request_is_one_line_without_empty_fields() -> None:
    (line,) = Log().lines(refusal(tenant="", hint="no key with this prefix"))
    assert line == {
        "time": "2025-06-15T15:23:20.000Z",
        "level": "info",
        "event": "request_refused",
        "request_id": "req-1",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 401,
        "code": "invalid_api_key",
        "key": "demo-key",
        "alias": "gpt",
        "hint": "no key with this prefix",
    }


OTHERS: list[tuple[Observation, str, str]] = [
    (RequestReplayed("req-2", "/v1/chat/completions", 200, "acme", "first", "req-1"), "info", "request_replayed"),
    (TargetEjected("openai/gpt", "5 failures", 30.0), "warning", "target_ejected"),
    (TargetRecovered("openai/gpt"), "info", "target_recovered"),
    (CredentialRested("openai", "key-1", 401, 60.0), "warning", "credential_rested"),
    (ProbeFinished("openai/gpt", ok=False, reason="connect", duration_us=100), "warning", "probe_finished"),
    (ProbeFinished("openai/gpt", ok=True, reason="", duration_us=100), "debug", "probe_finished"),
    (ConfigReloaded("abc", changed=True), "info", "config_reloaded"),
    (ConfigRejected(("router.yaml:3:1: server.listen: expected host:port",)), "error", "config_rejected"),
    (LedgerFlushed(3, 0, 100), "debug", "ledger_flushed"),
    (LedgerStalled(3, "disk full"), "warning", "ledger_stalled"),
    (LimiterDegraded("no answer in time"), "warning", "limiter_degraded"),
    (LimiterRestored(), "info", "limiter_restored"),
    (Failure("req-1", "settle", "Traceback ..."), "error", "failure"),
    (Notice("info", "started", "listening", (("address", "127.0.0.1:8080"),)), "info", "started"),
]


@pytest.mark.parametrize(("observation", "level", "event"), OTHERS)
def test_every_other_observation_has_a_line_of_its_own(observation: Observation, level: str, event: str) -> None:
    (line,) = Log(level="debug").lines(observation)
    assert (line["level"], line["event"]) == (level, event)
    assert list(line)[:3] == ["time", "level", "event"]


def test_every_kind_of_observation_is_tried_here() -> None:
    tried = {type(observation) for observation, _, _ in OTHERS} | {RequestsFinished, RequestRefused}
    assert tried == set(Observation.__args__)


def test_lines_below_the_level_are_not_written() -> None:
    lines = Log(level="warning").lines(RequestsFinished([entry()]), *(observation for observation, _, _ in OTHERS))
    assert {line["level"] for line in lines} == {"warning", "error"}


NASTY = "a\nb\r\x1b[31mred\x07\x7f\x9b2J\u202edesrever\u2028next\u200b\ufeff"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_a_caller_sends_can_start_a_line_or_move_the_cursor(log_format: str) -> None:
    observations = (
        RequestsFinished([entry(request_id=NASTY, requested_model=NASTY, attempts=(attempt(upstream_model=NASTY),))]),
        refusal(alias=NASTY, hint=NASTY),
        Failure("req-1", "settle", f"Traceback\n  File x\nValueError: {NASTY}"),
    )
    text = Log(log_format=log_format).text(*observations)
    starts = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(starts) == 3
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]", text)
    if log_format == "json":
        lines = [msgspec.json.decode(line) for line in starts]
        assert lines[0]["model"] == lines[1]["alias"] == lines[1]["hint"] == NASTY


def test_long_fields_end_after_a_kibibyte_and_tracebacks_keep_their_end() -> None:
    finished, refused, failed = Log().lines(
        RequestsFinished([entry(request_id="r" * 5000, attempts=(attempt(upstream_model="ä" * 5000),))]),
        refusal(alias="m" * 5000, hint="h" * 5000),
        Failure("req-1", "settle", "old " * 10_000 + "ValueError: the end"),
    )
    assert finished["request_id"] == "r" * 1024 + "…"
    assert finished["model"] == "ä" * 512 + "…"
    assert (len(refused["alias"]), len(refused["hint"])) == (1025, 1025)
    assert len(failed["traceback"]) <= 16 * 1024
    assert failed["traceback"].endswith("ValueError: the end")


def test_a_lone_surrogate_loses_itself_and_not_the_line() -> None:
    broken = entry(request_id="a\udc80b", tenant="t\udc80")
    finished, refused = Log().lines(RequestsFinished([broken]), refusal(alias="x\udfffy"))
    assert (finished["request_id"], finished["tenant"], refused["alias"]) == ("a?b", "t?", "x?y")


CANARIES = {
    "our key": "sk-demo.canary-secret-0001",
    "provider key": "sk-proj-CANARY0002abcdefghijkl",
    "anthropic key": "sk-ant-api03-CANARY0003abcdef",
    "google key": "AIzaCANARY0004abcdefghijklmnopqrst",
    "bearer": "Authorization: Bearer CANARY0005.opaque",
    "basic": "Authorization: Basic Q0FOQVJZMDAwNg==",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.CANARY0007abcdef.c2ln",
    "dsn": "postgresql://router:CANARY0008@db/router",
    "query": "https://example.org/x?api_key=CANARY0009&a=b",
    "json": '{"password": "CANARY0010"}',
    "cookie": "Cookie: router_session=CANARY0011",
    "tasteless cookie": "cookie: CANARY0015",
    "header": "x-api-key: CANARY0012",
    "known": "plain-CANARY0013-words",
    "known with quotes": 'with"quote\\CANARY0014',
}
LEAK = re.compile(r"CANARY\d{4}|canary-secret|Q0FOQVJZ")


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("name", CANARIES)
def test_no_secret_reaches_a_line_whichever_field_it_comes_by(name: str, log_format: str) -> None:
    canary = CANARIES[name]
    log = Log(CANARIES["known"], CANARIES["known with quotes"], log_format=log_format, level="debug")
    failed = attempt(outcome=Outcome.SERVER_ERROR, reason=f"answered {canary}")
    text = log.text(
        RequestsFinished([entry(attempts=(failed, attempt(attempt=2)))]),
        RequestsFinished([entry(attempts=(failed,))]),
        RequestsFinished([entry(requested_model=canary, attempts=(attempt(upstream_model=canary),))]),
        refusal(alias=canary),
        refusal(hint=f"found {canary}, which is wrong"),
        TargetEjected("openai/gpt", canary, 30.0),
        ProbeFinished("openai/gpt", ok=False, reason=canary, duration_us=1),
        ConfigRejected((f"router.yaml:3:1: found {canary}",)),
        LedgerStalled(1, canary),
        Failure("req-1", "settle", f"Traceback\nValueError: {canary}"),
        Notice("warning", "odd", canary, (("where", canary),)),
    )
    assert len([line for line in text.splitlines() if not line.startswith("    ")]) == 11
    assert not LEAK.search(text), text


def test_what_only_looks_dangerous_is_kept() -> None:
    hint = "server.secret: expected at least 32 bytes, found 5; see docs/keys.md and input_tokens"
    (line,) = Log().lines(refusal(hint=hint))
    assert line["hint"] == hint


def test_the_prefix_of_our_own_keys_is_kept_for_the_operator() -> None:
    (line,) = Log().lines(refusal(hint="sk-demo.my-secret is unknown"))
    assert line["hint"] == "sk-demo.*** is unknown"


def test_text_lines_are_for_eyes() -> None:
    notice = Notice("warning", "drain", "two words", (("left", "3"),))
    text = Log(log_format="text").text(notice, Failure("", "probe", "A\nB"))
    assert text.splitlines() == [
        '2025-06-15T15:23:20.000Z WARNING drain message="two words" details={"left":"3"}',
        "2025-06-15T15:23:20.000Z ERROR   failure where=probe",
        "    A",
        "    B",
    ]
