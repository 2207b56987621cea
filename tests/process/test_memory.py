"""What idle connections and slow streams cost: bounded memory for each, given back when they end."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, until
from tests.wire import Wire, head

pytestmark = pytest.mark.process


@pytest.mark.parametrize(("idle", "streams"), [(300, 100), pytest.param(2000, 500, marks=pytest.mark.torture)])
async def test_idle_connections_and_slow_streams_stay_small(folder: Workplace, idle: int, streams: int) -> None:
    pace = ("--tokens-per-second", "1")
    with Simulator(folder, "sim", *pace) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with AsyncExitStack() as warm:
            for _ in range(20):
                wire = await warm.enter_async_context(Wire(routerd))
                wire.post("/v1/chat/completions", chat("m", "tokens_per_second=0", stream=True))
                await wire.until(b"data: [DONE]\n\n")
        empty = routerd.rss_bytes
        async with AsyncExitStack() as stack:
            for number in range(idle):
                wire = await stack.enter_async_context(Wire(routerd))
                if number % 2:
                    wire.send(head("GET", "/healthz", {}))
                    await wire.reply()
            with_idle = routerd.rss_bytes
            running = [await stack.enter_async_context(Wire(routerd)) for _ in range(streams)]
            for wire in running:
                wire.post("/v1/chat/completions", chat("m", stream=True, max_tokens=600))
            await asyncio.gather(*(wire.until(b"\n\n", 30) for wire in running))
            await until(lambda: len(sim.log(event="received")) >= streams, 10)
            full = routerd.rss_bytes
            assert await routerd.metric("routerd_open_streams") == streams
        per_idle, per_stream = (with_idle - empty) / idle, (full - with_idle) / streams
        assert per_idle < 30_000
        assert per_stream < 100_000
        await until(lambda: len(sim.log(event="cancelled")) == streams, 10)
        await until(lambda: len(routerd.ledger()) == streams + 20, 10)
        assert all(entry["output_tokens"] > 0 for entry in routerd.ledger())
