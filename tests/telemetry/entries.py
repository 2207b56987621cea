"""A finished request to vary, and streams that remember, stall or break."""

import threading
from typing import Any

from msgspec.structs import replace

from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import NanoUSD, Usage

ATTEMPT = AttemptEntry(
    attempt=1,
    alias="gpt",
    provider="openai",
    target="openai/gpt-5-mini",
    upstream_model="gpt-5-mini",
    credential="key-1",
    outcome=Outcome.OK,
    started_at=1_750_000_000_000_000,
    duration_us=1_234_567,
    status=200,
    first_byte_us=45_678,
    usage=Usage(100, 200, cached_input_tokens=40, reasoning_tokens=60),
    cost=NanoUSD(1_500_000),
)
ENTRY = LedgerEntry(
    id="0" * 31 + "1",
    request_id="req-1",
    tenant_id="t1",
    tenant="demo",
    key_id="k1",
    key="demo-key",
    api="chat",
    alias="gpt",
    requested_model="gpt",
    stream=False,
    outcome=Outcome.OK,
    status=200,
    code="",
    started_at=1_750_000_000_000_000,
    duration_us=1_240_000,
    first_byte_us=45_678,
    usage=ATTEMPT.usage,
    cost=ATTEMPT.cost,
    price_known=True,
    attempts=(ATTEMPT,),
)


def entry(**changes: Any) -> LedgerEntry:
    return replace(ENTRY, **changes)


def attempt(**changes: Any) -> AttemptEntry:
    return replace(ATTEMPT, **changes)


class Memory:
    """A stream that keeps what it is given; `wrote` is set by every flush."""

    def __init__(self) -> None:
        self.taken = b""
        self.batches = 0
        self.wrote = threading.Event()

    def write(self, chunk: bytes, /) -> int:
        self.taken += chunk
        self.batches += 1
        return len(chunk)

    def flush(self) -> None:
        self.wrote.set()

    @property
    def lines(self) -> list[str]:
        return self.taken.decode().splitlines()


class Stalled(Memory):
    """A stream whose reader does not read until `reading` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.reading = threading.Event()

    def write(self, chunk: bytes, /) -> int:
        self.called.set()
        self.reading.wait(10)
        return super().write(chunk)


class HungUp(Memory):
    """A pipe whose reader has gone."""

    def write(self, chunk: bytes, /) -> int:
        self.wrote.set()
        raise BrokenPipeError


class Timer:
    """Stands for `call_later`: runs what was asked for when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Any]] = []

    def __call__(self, delay: float, callback: Any) -> None:
        self.asked.append((delay, callback))

    def fire(self) -> None:
        asked, self.asked = self.asked, []
        for _, callback in asked:
            callback()
