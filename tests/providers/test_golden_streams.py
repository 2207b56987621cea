"""Recorded shapes of streams, re-made small: every cut gives the same bytes and the same usage."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.domain.requests import Api, parse_request
from router.domain.usage import NOTHING
from router.providers.anthropic.messages import MESSAGES
from router.providers.dialect import Dialect, StreamMeter
from router.providers.openai_chat import CHAT, COMPLETIONS
from router.providers.openai_responses import RESPONSES
from router.providers.sse import FrameSplitter

GOLDEN = Path(__file__).parent / "golden"
DIALECTS: dict[str, tuple[Api, Dialect]] = {
    "chat": (Api.CHAT, CHAT),
    "completions": (Api.COMPLETIONS, COMPLETIONS),
    "responses": (Api.RESPONSES, RESPONSES),
    "messages": (Api.MESSAGES, MESSAGES),
}
CASES = sorted(p.parent for p in GOLDEN.glob("*/*/case.json"))


class Case:
    """One folder: a stream as a provider sends it, the request it answers, what must be seen of it."""

    def __init__(self, folder: Path) -> None:
        self.stream = (folder / "stream.txt").read_bytes()
        told = json.loads((folder / "case.json").read_text())
        self.expected = {name: told[name] for name in ("finished", "failed", "usage", "frames")}
        self.relayed = self.stream.replace(told.get("hidden", "").encode() or b"\0", b"").removesuffix(
            told.get("dropped", "").encode()
        )
        self._hides_usage = told["hides_usage"]
        api, self._dialect = DIALECTS[folder.parent.name]
        self._request = parse_request(api, json.dumps(told["request"]).encode())

    def relay(self, cuts: list[int]) -> tuple[bytes, StreamMeter]:
        meter = self._dialect.stream_meter(self._request, hides_usage=self._hides_usage)
        splitter, out = FrameSplitter(), []
        edges = [0, *cuts, len(self.stream)]
        for start, end in pairwise(edges):
            if whole := splitter.feed(self.stream[start:end]):
                out.append(meter.feed(whole))
        if rest := splitter.end():
            out.append(meter.feed(rest))
        return b"".join(out), meter


def seen(meter: StreamMeter) -> dict[str, Any]:
    usage = meter.usage
    told = {k: v for k, v in msgspec.structs.asdict(usage).items() if v != getattr(NOTHING, k)} if usage else None
    return {"finished": meter.finished, "failed": meter.failed, "usage": told, "frames": meter.frames}


@pytest.mark.parametrize("folder", CASES, ids=lambda c: f"{c.parent.name}-{c.name}")
def test_every_cut_relays_and_counts_the_same(folder: Path) -> None:
    case = Case(folder)
    size = len(case.stream)
    ways: list[list[int]] = [[], *([cut] for cut in range(1, size)), *(list(range(n, size, n)) for n in (1, 2, 3, 7, 64))]
    for cuts in ways:
        out, meter = case.relay(cuts)
        assert out == case.relayed, cuts
        assert seen(meter) == case.expected, cuts
    _, whole = case.relay([])
    assert (whole.estimated_output_tokens() > 0) == (whole.frames > 0)


def test_there_are_cases_for_every_dialect() -> None:
    assert {case.parent.name for case in CASES} == set(DIALECTS)
