"""The harness counts right: a figure is worth what its counting is worth."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.load import Call, Load, Tally
from bench.processes import Cores, Process, StartFailure, free_port
from bench.upstream import DONE, EVENTS, JSON_ANSWER, LONG_BURST, LONG_EVENTS, PACE_S, STREAM, Provider, content_length

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


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("body_bytes", [1024, 2**20])
def test_a_call_has_exactly_the_size_asked_for(image: bool, body_bytes: int) -> None:
    call = Call.chat(["gpt-4o-mini", "alias-1"], [KEY], stream=True, body_bytes=body_bytes, image=image)
    assert [len(body) for body in call.bodies] == [body_bytes] * 2 == [content_length(call.heads[0])] * 2
    assert [json.loads(body)["model"] for body in call.bodies] == ["gpt-4o-mini", "alias-1"]


def test_a_call_carries_each_key_and_the_extra_headers() -> None:
    call = Call.chat(["gpt-4o-mini"], ["sk-a.x", "sk-b.y"], headers=["x-one: 1"])
    assert [b"Bearer sk-%b" % part in head for part, head in zip((b"a.x", b"b.y"), call.heads, strict=True)] == [True] * 2
    assert all(b"\r\nx-one: 1\r\n" in head for head in call.heads)


def test_the_provider_answers_about_600_bytes_and_a_stream_of_20_events() -> None:
    head, _, body = JSON_ANSWER.partition(b"\r\n\r\n")
    assert 550 <= len(body) == content_length(head) <= 800
    assert len(STREAM) == EVENTS == 20
    assert b'"finish_reason":"stop"' in STREAM[-1]
    assert b"[DONE]" in DONE
    assert LONG_BURST.count(b"\ndata: ") == LONG_EVENTS == 500


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-paced", "gpt-4o-mini-long", "gpt-4o-mini-first"])
@pytest.mark.parametrize("stream", [False, True])
async def test_good_answers_are_counted(model: str, stream: bool) -> None:
    async with listening(Provider) as port, Load(port, [(Call.chat([model], [KEY], stream=stream), 4)]) as load:
        tally = await until_finished(load, 8)
    assert (tally.failed, tally.first_failure) == (0, b"")
    assert all(latency > 0 for latency in tally.latencies_ms)
    assert len(tally.first_bytes_ms) == (tally.finished if stream else 0)


async def test_the_first_byte_of_a_stream_comes_before_its_last() -> None:
    call = Call.chat(["gpt-4o-mini-first"], [KEY], stream=True)
    async with listening(Provider) as port, Load(port, [(call, 1)]) as load:
        tally = await until_finished(load, 4)
    pairs = list(zip(tally.first_bytes_ms, tally.latencies_ms, strict=True))
    assert all(0 < first < last - PACE_S * 500 for first, last in pairs)


async def test_megabytes_and_small_requests_are_answered_side_by_side() -> None:
    small, large = Call.chat(["gpt-4o-mini"], [KEY]), Call.chat(["gpt-4o-mini"], [KEY], body_bytes=2**20, image=True)
    async with listening(Provider) as port, Load(port, [(small, 2), (large, 2)]) as load:
        async with asyncio.timeout(10):
            await load.all_finished_once()
        assert (load.tally.failed, load.tally.first_failure) == (0, b"")


async def test_keys_and_models_are_taken_in_turn_by_all_connections_together() -> None:
    seen: list[bytes] = []

    class Listener(Provider):
        def data_received(self, data: bytes) -> None:
            seen.append(data)
            super().data_received(data)

    keys = [f"sk-{number}.secret" for number in range(6)]
    async with listening(Listener) as port, Load(port, [(Call.chat(["gpt-4o-mini"], keys), 3)]) as load:
        await until_finished(load, 6)
    assert all(sum(key.encode() in data for data in seen) >= 1 for key in keys)


async def test_a_refusal_is_a_failure_and_ends_the_connection() -> None:
    async with listening(Refuser) as port, Load(port, [(Call.chat(["gpt-4o-mini"], [KEY]), 3)]) as load:
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


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-paced"])
async def test_at_rest_every_request_has_its_answer_and_none_follows(model: str) -> None:
    """Else the CPU of some would be divided by the number of others."""
    answered = 0

    class Counting(Provider):
        def _write(self, data: bytes) -> None:
            nonlocal answered
            answered += data.endswith(b"\r\n0\r\n\r\n")
            super()._write(data)

    async with listening(Counting) as port, Load(port, [(Call.chat([model], [KEY], stream=True), 4)]) as load:
        await until_finished(load, 8)
        await load.come_to_rest()
        tally = load.tally
        assert tally.finished == answered
        await asyncio.sleep(3 * PACE_S)
        assert (load.tally.finished, answered) == (tally.finished, tally.finished)
