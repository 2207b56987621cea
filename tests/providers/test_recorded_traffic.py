"""Recorded provider traffic, where it lies beside the project: relayed byte for byte, usage as the provider counted it."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.usage import Usage
from router.providers.dialect import Dialect, StreamMeter
from router.providers.openai_chat import CHAT, COMPLETIONS
from router.providers.openai_media import EMBEDDINGS, MODERATIONS
from router.providers.openai_responses import RESPONSES
from router.providers.sse import FrameSplitter

EXCHANGES = Path(__file__).parents[3] / "shared" / "exchanges"
OPENAI_SHAPED = re.compile(r"(?:openai|azure|groq|mistral|huggingface|ollama|compat-[^/]*)/(?!ollama\.)[^/]*\.([a-z]+)/")
DIALECTS: dict[str, tuple[Api, Dialect]] = {
    "chat": (Api.CHAT, CHAT),
    "completions": (Api.COMPLETIONS, COMPLETIONS),
    "responses": (Api.RESPONSES, RESPONSES),
    "embeddings": (Api.EMBEDDINGS, EMBEDDINGS),
    "moderations": (Api.MODERATIONS, MODERATIONS),
}
CUTS = (1, 2, 3, 7, 64, 1460, 1 << 30)
# The provider gave up in the middle: an error event, and no end.
GAVE_UP = {
    "groq/groq.chat/s-200-pydantic-ai-test_tool_use_failed_error_streaming-0.json",
    "groq/groq.chat/s-200-pydantic-ai-test_tool_use_failed_error_streaming_with_text-0.json",
}
# Refused here before any provider is asked: `max_tokens` is -1.
REFUSED = {"openai/openai.completions/u-400-ai-gateway-completion-bad-request-0.json"}


class Exchange:
    def __init__(self, name: str, api: str) -> None:
        told = json.loads((EXCHANGES / name).read_text())
        self.name = name
        self.api, self.dialect = DIALECTS[api]
        sent = told.get("request") or {}
        self.sent = json.dumps(sent["json"], ensure_ascii=False).encode() if sent.get("json") is not None else None
        answer = told["response"]
        self.is_answer = answer["status"] < 300
        self.is_stream = bool(told["stream"])
        self.body = base64.b64decode(answer["body_b64"]) if "body_b64" in answer else answer["body_text"].encode()

    @property
    def request(self) -> ModelRequest:
        return parse_request(self.api, self.sent or (b'{"stream":true}' if self.is_stream else b"{}"))

    def relay(self, cut: int, *, hides_usage: bool) -> tuple[bytes, StreamMeter]:
        meter = self.dialect.stream_meter(self.request, hides_usage=hides_usage)
        splitter = FrameSplitter()
        out = [
            meter.feed(whole) for at in range(0, len(self.body), cut) if (whole := splitter.feed(self.body[at : at + cut]))
        ]
        if rest := splitter.end():
            out.append(meter.feed(rest))
        return b"".join(out), meter


def exchanges(*, stream: bool | None = None, answers: bool = True) -> list[Exchange]:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    names = sorted(p.relative_to(EXCHANGES).as_posix() for p in EXCHANGES.rglob("*.json"))
    found = [Exchange(n, m[1]) for n in names if (m := OPENAI_SHAPED.match(n)) and m[1] in DIALECTS and n not in REFUSED]
    return [e for e in found if (e.is_answer or not answers) and stream in {None, e.is_stream}]


def events(body: bytes) -> Iterator[dict[str, Any]]:
    """A plain reading of the events, independent of the code under test."""
    for event in re.split(r"(?:\r\n|\n|\r){2}", body.decode()):
        data = "\n".join(line[5:] for line in re.split(r"\r\n|\n|\r", event) if line.startswith("data:"))
        if data.strip().startswith("{"):
            yield json.loads(data)


def reported(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The provider's last word on every count it gave."""
    said: dict[str, Any] = {}
    for found in objects:
        holders = [found, found.get("response") or {}, found.get("x_groq") or {}]
        for usage in [h["usage"] for h in holders if isinstance(h, dict) and isinstance(h.get("usage"), dict)][:1]:
            said |= {name: count for name, count in usage.items() if count is not None}
    return said


def agrees(usage: Usage | None, said: dict[str, Any]) -> bool:
    """Equal counts; or, where a provider's total shows a part outside its whole, equal totals."""
    if not said:
        return usage is None or usage.total_tokens == 0
    assert usage is not None
    count_in: int = said.get("prompt_tokens", said.get("input_tokens", 0))
    count_out: int = said.get("completion_tokens", said.get("output_tokens", 0))
    if (usage.input_tokens, usage.output_tokens) == (count_in, count_out):
        return not usage.suspect
    total: int = said["total_tokens"]
    return total > count_in + count_out and usage.total_tokens == total


def test_requests_change_in_nothing_but_model_and_usage() -> None:
    seen = 0
    for exchange in exchanges(answers=False):
        if exchange.sent is None:
            continue
        request = exchange.request
        injects = request.stream and not request.asked_for_usage and exchange.api in {Api.CHAT, Api.COMPLETIONS}
        expected = json.loads(exchange.sent) | {"model": "renamed"}
        if injects:
            expected["stream_options"] = {"include_usage": True}
        assert json.loads(exchange.dialect.build_body(request, "renamed", inject_usage=injects)) == expected, exchange.name
        if name := request.fields.model:
            assert exchange.dialect.build_body(request, name, inject_usage=False) is request.body
        seen += 1
    assert seen > 500


def test_json_answers_are_counted_as_their_providers_did() -> None:
    found = exchanges(stream=False)
    for exchange in found:
        assert agrees(exchange.dialect.usage_of(exchange.body), reported([json.loads(exchange.body)])), exchange.name
    assert len(found) > 300


def test_streams_pass_byte_for_byte_and_are_counted_whatever_the_cuts() -> None:
    found = exchanges(stream=True)
    for exchange in found:
        said = reported(list(events(exchange.body)))
        for cut in CUTS:
            out, meter = exchange.relay(cut, hides_usage=False)
            assert out == exchange.body, (exchange.name, cut)
            assert agrees(meter.usage, said), (exchange.name, cut)
            assert meter.finished is (exchange.name not in GAVE_UP), exchange.name
            assert meter.finished or meter.failed, exchange.name
    assert len(found) > 200


def test_exactly_the_usage_frames_are_hidden() -> None:
    hidden = 0
    for exchange in exchanges(stream=True):
        out, _ = exchange.relay(64, hides_usage=True)
        kept = [e for e in events(exchange.body) if e.get("choices") != [] or not e.get("usage")]
        assert list(events(out)) == kept, exchange.name
        hidden += len(out) < len(exchange.body)
    assert hidden > 50
