"""A slow reader slows its provider and nobody else; a silent provider is bridged by comments."""

import asyncio
from itertools import pairwise

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, until
from tests.wire import Wire

pytestmark = pytest.mark.process

LONG = ("--tokens-per-second", "0", "--output-tokens", "100000")


async def test_a_reader_that_stops_stops_its_provider_and_delays_nobody(folder: Workplace) -> None:
    with Simulator(folder, "sim", *LONG) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        before = routerd.rss_bytes
        async with Wire(routerd, receive_buffer=4096) as stuck, routerd.client() as http:
            stuck.post(
                "/v1/chat/completions", chat("m", case="stuck", stream=True, max_tokens=100_000), X_Request_Id="stuck"
            )
            await sim.logged("received", case="stuck")
            await asyncio.sleep(0.5)
            assert sim.log(event="finished", case="stuck") == [], "20 MB cannot have gone into a reader that reads nothing"
            assert routerd.rss_bytes - before < 8 * 2**20
            async with asyncio.timeout(2):
                answer = await http.post("/v1/chat/completions", json=chat("m"))
                assert answer.status == 200
        await sim.logged("cancelled", 1.0, case="stuck")
        assert (await routerd.entry("stuck"))["outcome"] == "cancelled"


async def test_a_write_that_does_not_move_ends_the_connection_and_is_charged(folder: Workplace) -> None:
    config = settings({}, {"m": "sim"}, server={"timeouts": {"write_stall": "1s"}})
    with Simulator(folder, "sim", *LONG) as sim, Daemon(folder, config | {"providers": {"sim": sim.provider}}) as routerd:
        async with Wire(routerd, receive_buffer=4096) as stuck:
            stuck.post("/v1/chat/completions", chat("m", stream=True, max_tokens=100_000), X_Request_Id="stuck")
            await sim.logged("cancelled", 6.0)
        entry = await routerd.entry("stuck")
        assert (entry["outcome"], entry["estimated"]) == ("cancelled", 1)
        assert 0 < entry["output_tokens"] < 100_000
        assert entry["duration_us"] < 5_000_000


async def test_a_write_that_stalls_late_is_noticed_as_soon(folder: Workplace) -> None:
    config = settings({}, {"m": "sim"}, server={"timeouts": {"write_stall": "1s"}})
    with Simulator(folder, "sim", *LONG) as sim, Daemon(folder, config | {"providers": {"sim": sim.provider}}) as routerd:
        async with Wire(routerd, receive_buffer=4096) as stuck:
            body = chat("m", "tokens_per_second=10000", stream=True, max_tokens=100_000)
            stuck.post("/v1/chat/completions", body)
            loop = asyncio.get_running_loop()
            stops_at = loop.time() + 2.2
            while loop.time() < stops_at:
                await stuck.reader.read(2**16)
            await sim.logged("cancelled", 5.0)


async def test_a_finished_stream_to_a_reader_that_catches_up_is_whole(folder: Workplace) -> None:
    with Simulator(folder, "sim", *LONG) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with Wire(routerd, receive_buffer=4096) as wire:
            body = chat("m", stream=True, max_tokens=20_000)
            wire.post("/v1/chat/completions", body, X_Request_Id="late")
            await asyncio.sleep(0.3)
            raw = b""
            while b"data: [DONE]\n\n" not in raw[-64:]:
                raw += await asyncio.wait_for(wire.reader.read(2**16), 5)
        assert raw.count(b'"finish_reason":null') > 20_000
        assert (await routerd.entry("late"))["output_tokens"] == 20_000


@pytest.mark.torture
async def test_a_comment_bridges_every_15_seconds_of_silence(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with Wire(routerd) as wire:
            wire.post("/v1/chat/completions", chat("m", "silence;after_events=2;tokens_per_second=0", stream=True))
            loop, heard = asyncio.get_running_loop(), []
            await wire.until(b"\n\n")
            heard.append(loop.time())
            for _ in range(2):
                await wire.until(b": keep-alive\n\n", 20)
                heard.append(loop.time())
        assert all(14 < later - earlier < 17 for earlier, later in pairwise(heard))
        await until(lambda: routerd.ledger() or None)
