"""The harness counts right: a figure is worth what its counting is worth."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.load import Call, Load, Tally
from bench.measure import Footprint, Sample
from bench.processes import Cores, Process, StartFailure, free_port
from bench.report import Results, rows_of, table
from bench.upstream import DONE, EVENTS, JSON_ANSWER, STREAM, Provider, content_length

KEY = "sk-a.secret"


class Refuser(asyncio.Protocol):
    """Answers everything with 503."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


@asynccontextmanager
async def listening(protocol: type[asyncio.Protocol]) -> AsyncIterator[int]:
    listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def until_finished(load: Load, count: int) -> Tally:
    async with asyncio.timeout(10):
        while load.tally.finished < count and not load.tally.failed:
            await asyncio.sleep(0.005)
    return load.tally


def test_a_call_has_exactly_the_size_asked_for() -> None:
    head, _, body = Call.chat("gpt-4o-mini", KEY, stream=True).wire.partition(b"\r\n\r\n")
    assert len(body) == content_length(head) == 1024


def test_the_provider_answers_about_600_bytes_and_a_stream_of_20_events() -> None:
    head, _, body = JSON_ANSWER.partition(b"\r\n\r\n")
    assert 550 <= len(body) == content_length(head) <= 800
    assert len(STREAM) == EVENTS == 20
    assert b'"finish_reason":"stop"' in STREAM[-1]
    assert b"[DONE]" in DONE


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-paced"])
@pytest.mark.parametrize("stream", [False, True])
async def test_good_answers_are_counted(model: str, stream: bool) -> None:
    async with listening(Provider) as port, Load(port, Call.chat(model, KEY, stream=stream), 4) as load:
        tally = await until_finished(load, 8)
    assert (tally.failed, tally.first_failure) == (0, b"")
    assert all(latency > 0 for latency in tally.latencies_ms)


async def test_a_refusal_is_a_failure_and_ends_the_connection() -> None:
    async with listening(Refuser) as port, Load(port, Call.chat("gpt-4o-mini", KEY), 3) as load:
        await load.all_started()
        await asyncio.sleep(0.02)
        tally = load.tally
    assert (tally.failed, tally.finished) == (3, 0)
    assert b"503" in tally.first_failure


@pytest.mark.skipif(sys.platform != "linux", reason="the harness pins processes to cores, which needs Linux")
async def test_a_program_that_ends_is_a_start_failure_that_shows_its_log(tmp_path: Path) -> None:
    process = Process.start(
        [sys.executable, "-c", "print('no config')"], core=Cores.of_this_machine().load, folder=tmp_path, name="gateway"
    )
    with pytest.raises(StartFailure, match="no config"):
        await process.ready(free_port(), "/readyz", 1e12)
    await process.stop()


def test_the_ratio_is_of_medians_and_compares_like_with_like() -> None:
    samples = [sample("bare", "json", cpu) for cpu in (100, 110, 900)] + [
        sample("routerd", "json", cpu) for cpu in (130, 132, 90)
    ]
    footprints = [Footprint("bare", 0.2, 40.0), Footprint("routerd", 1.0, 60.0)]
    results = Results("bare", "routerd", samples, footprints, {"bare": 25.0, "routerd": 50.0})
    ratios = {row.quantity: round(row.ratio, 3) for row in rows_of(results)}
    assert ratios["json: CPU us per request"] == round(130 / 110, 3)
    assert ratios["start-up to ready, s"] == 5.0
    assert ratios["memory per open stream, KB"] == 2.0
    assert len(table(results).splitlines()) == len(ratios) + 1


def sample(gateway: str, scenario: str, cpu_us: float) -> Sample:
    return Sample(gateway, scenario, requests_per_s=1.0, cpu_us=cpu_us, core_busy=1.0, p50_ms=1.0, p99_ms=1.0)
