"""Both transports to the network, each as the contract's `transport`, and the loops its tests run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from router.domain.ports import Transport
from router.providers.http1.transport import Http1Transport
from router.providers.proxied import ProxiedTransport
from tests.providers.certificates import make_certificate
from tests.providers.forwarding import forwarder

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
PRODUCTION: dict[str, LoopFactory] = {"uvloop": uvloop.new_event_loop}
PLAIN: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The contract on the loop the daemon uses, our own protocol on both, everything else on the plain one."""
    name = item.path.name
    if name.startswith("test_http1"):
        return PRODUCTION | PLAIN
    return PRODUCTION if name.startswith("test_transport") else PLAIN


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "both.pem")


@pytest.fixture(params=["http1", "proxied"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Closed after the test, which must have ended every answer it got."""
    if request.param == "proxied":
        async with forwarder() as proxy:
            proxied = ProxiedTransport(proxy.url)
            yield proxied
            await proxied.close()
        return
    made = Http1Transport()
    yield made
    await assert_clean(made)


@pytest.fixture
async def direct() -> AsyncIterator[Transport]:
    """The one that opens connections to providers itself."""
    made = Http1Transport()
    yield made
    await assert_clean(made)


async def assert_clean(transport: Http1Transport) -> None:
    """No connection is busy, the count of slots is right, and nothing is left once the transport is closed."""
    pool = transport._pool
    for _ in range(5):
        await asyncio.sleep(0)  # an aborted connection is told so by the loop
    assert [c for c in pool.connections if c._answer is not None] == []
    assert pool.open == sum(line.open for line in pool._origins.values()) == len(pool.connections)
    assert [line.origin for line in pool._origins.values() if line.waiting] == []
    known = list(pool.connections)
    await transport.close()
    assert (len(pool.connections), pool.open) == (0, 0)
    assert [c for c in known if c._timer is not None or c._transport is not None] == []
