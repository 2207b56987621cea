"""Providers of the model: each answers an attempt as chance wants it, and remembers what it was sent and what it said."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from random import Random

import msgspec

from router.domain.upstream import FailureKind, TransportFailure, UpstreamCall
from router.domain.usage import Usage
from tests.gateway.fakes import DONE, Scripted, frame
from tests.money.loop import VirtualLoop

WHOLE = ("ok", "ok", "ok", "ok", "overrun", "silent", "broken", "garbage")
STREAMED = ("ok", "ok", "ok", "ok", "overrun", "silent", "cut")
REFUSING = ("status 500", "status 429", "status 400", "connect", "reset", "slow")
UNSENT = frozenset({"connect"})
FREE = frozenset({"status 500", "status 429", "status 400", "connect"})
WORD, STOP = frame("w"), frame(finish="stop")
OUTSIDE = Context()
"""What is on its way arrives, whether its sender lives or not."""


@dataclass(slots=True)
class Sent:
    """One attempt as the provider has it. `usage` is what it reports, None where it reports nothing that came through;
    `frames` are the events with content that it has sent so far."""

    case: str
    number: int
    host: str
    kind: str
    stream: bool
    has_arrived: bool = False
    usage: Usage | None = None
    frames: int = 0


@dataclass(slots=True)
class Providers:
    """All that was sent, by case, in the order of the attempts. Honest ones keep to the caps they are sent."""

    loop: VirtualLoop
    is_honest: bool
    sent: dict[str, list[Sent]] = field(default_factory=dict)

    def take(self, case: str, host: str, *, is_stream: bool) -> Sent:
        mine = self.sent.setdefault(case, [])
        chance = Random(f"{case} {len(mine)}")
        kind = chance.choice(REFUSING) if chance.random() < 0.3 else chance.choice(STREAMED if is_stream else WHOLE)
        if self.is_honest and kind == "overrun":
            kind = "ok"
        mine.append(Sent(case, len(mine) + 1, host, kind, is_stream))
        return mine[-1]


class ModelTransport:
    """Implements domain.ports.Transport for one process."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._loop = providers.loop

    async def send(self, call: UpstreamCall) -> "Scripted":
        raw = call.body
        assert isinstance(raw, bytes)
        body = msgspec.json.decode(raw)
        host = call.to.url.split("/")[2].split(".")[0]
        sent = self._providers.take(body["metadata"]["case"], host, is_stream=call.stream)
        chance = Random(f"{sent.case} {sent.number} usage")
        if sent.kind in UNSENT:
            await self._think()
            raise TransportFailure(FailureKind.CONNECT)
        self._loop.call_later(self._loop.latency(), _arrive, sent, context=OUTSIDE)
        await self._think()
        if sent.kind == "slow":
            raise TransportFailure(FailureKind.FIRST_BYTE_TIMEOUT)
        if sent.kind == "reset":
            raise TransportFailure(FailureKind.RESET)
        if sent.kind.startswith("status"):
            return Scripted(int(sent.kind.split()[1]), b'{"error":{"message":"no","type":"x","code":null}}')
        cap = body["max_tokens"] * body.get("n", 1)
        used = usage_within(chance, len(raw), cap)
        if sent.kind == "overrun":
            used = Usage(used.input_tokens, cap * 5 if call.stream else cap + chance.randint(1, 2000))
        return ModelStream(self._loop, sent, used) if call.stream else ModelAnswer(self._loop, sent, used)

    async def close(self) -> None:
        pass

    async def _think(self) -> None:
        await asyncio.sleep(self._loop.latency() * self._loop.chance.choice((1, 1, 20)))


def _arrive(sent: Sent) -> None:
    sent.has_arrived = True


def usage_within(chance: Random, body_bytes: int, cap: int) -> Usage:
    """What a provider that keeps to its cap may report."""
    input_tokens = chance.randint(1, max(1, body_bytes // 8))
    output_tokens = chance.randint(0, cap)
    cached = chance.randint(0, input_tokens)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=chance.randint(0, input_tokens - cached),
        reasoning_tokens=chance.randint(0, output_tokens),
    )


def reported(usage: Usage) -> Mapping[str, object]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class ModelAnswer(Scripted):
    """A JSON answer that takes its time, breaks off, or is no JSON."""

    def __init__(self, loop: VirtualLoop, sent: Sent, usage: Usage) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        body: dict[str, object] = {"id": "c1", "object": "chat.completion", "choices": [choice]}
        if sent.kind != "silent":
            body["usage"] = reported(usage)
        super().__init__(body=b"<html>" if sent.kind == "garbage" else msgspec.json.encode(body))
        self._loop = loop
        self._sent = sent
        self._usage = usage if "usage" in body else None

    async def read(self, limit: int) -> bytes:
        await self._loop.pause()
        if self._sent.kind == "broken":
            raise TransportFailure(FailureKind.RESET)
        if self._sent.kind != "garbage":
            self._sent.usage = self._usage
        return self.body


class ModelStream(Scripted):
    """Event by event; `cut` in the middle, `silent` about its usage, `overrun` past the cap."""

    def __init__(self, loop: VirtualLoop, sent: Sent, usage: Usage) -> None:
        super().__init__(pieces=[])
        self._loop = loop
        self._sent = sent
        self._usage = usage

    async def chunks(self) -> AsyncIterator[bytes]:
        sent, count = self._sent, self._usage.output_tokens
        is_cut = sent.kind == "cut"
        for number in range(count // 2 if is_cut else count):
            if number % 7 == 0:
                await self._loop.pause()
            sent.frames += 1
            yield WORD
        if is_cut:
            raise TransportFailure(FailureKind.RESET)
        yield STOP
        if sent.kind != "silent":
            await self._loop.pause()
            sent.usage = self._usage
            yield b"data: " + msgspec.json.encode({"choices": [], "usage": reported(self._usage)}) + b"\n\n"
        yield DONE
