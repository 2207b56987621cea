"""A lane over TLS: the driver shakes hands, and what is said afterwards is still sealed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from router.limits.redis_lanes import Lanes, RedisUnavailable
from tests.providers.certificates import make_certificate, server_tls

# As long as several records of TLS.
LONG = "x" * 100_000
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@asynccontextmanager
async def sealed(redis_url: str, certificate: Path) -> AsyncIterator[str]:
    """The address of a server that unseals what it hears, and passes it on to Redis."""
    behind, ways, served = urlsplit(redis_url), list[asyncio.StreamWriter](), list[asyncio.Task[object]]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.extend(filter(None, [asyncio.current_task()]))
        from_redis, to_redis = await asyncio.open_connection(behind.hostname, behind.port)
        ways.extend((writer, to_redis))
        await asyncio.gather(pump(reader, to_redis), pump(from_redis, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls(certificate))
    try:
        yield f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}{behind.path}"
    finally:
        server.close()
        for way in ways:
            way.transport.abort()
        await asyncio.gather(*served)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_commands_and_long_answers_pass(redis_url: str, tmp_path: Path, new_loop: LoopFactory) -> None:
    certificate = make_certificate(tmp_path / "redis.pem")

    async def speak() -> list[object]:
        async with sealed(redis_url, certificate) as url:
            lanes = Lanes(f"{url}?ssl_ca_certs={certificate}", 1, timeout_s=5.0)
            lane = await lanes.open()
            answers = [await lane.command("PING"), await lane.command("ECHO", LONG), await lane.command("PING")]
            lanes.discard(lane)
            return answers

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(speak()) == [b"PONG", LONG.encode(), b"PONG"]


def test_a_certificate_of_somebody_unknown_is_refused(redis_url: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "redis.pem")

    async def speak() -> None:
        async with sealed(redis_url, certificate) as url:
            with pytest.raises(RedisUnavailable):
                await Lanes(url, 1, timeout_s=5.0).open()

    with asyncio.Runner() as runner:
        runner.run(speak())
