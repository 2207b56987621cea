"""One address for several processes: each listens for itself, and nobody else's address is taken by sharing."""

import socket
from collections.abc import Iterator

import pytest

from router.config.snapshot import ServerSettings
from router.server.listener import base_url
from router.server.shared_address import IS_DEALT_OUT, SharedAddress

LOOPBACK = ServerSettings(host="127.0.0.1", port=0)


@pytest.fixture
def shared() -> Iterator[SharedAddress]:
    made = SharedAddress(LOOPBACK)
    yield made
    made.close()


def port_of(shared: SharedAddress) -> int:
    return int(str(shared.name[1]))


@pytest.mark.skipif(not IS_DEALT_OUT, reason="only Linux deals connections out")
def test_connections_are_dealt_out_to_those_that_listen(shared: SharedAddress) -> None:
    silent, *listening = [shared.sockets()[0] for _ in range(3)]
    for each in listening:
        each.listen(128)
        each.setblocking(False)
    callers = [socket.create_connection(("127.0.0.1", port_of(shared)), timeout=5) for _ in range(100)]
    counts = [sum(1 for _ in accepted(each)) for each in listening]
    assert sum(counts) == 100
    assert min(counts) > 20
    for each in (silent, *listening, *callers):
        each.close()


def accepted(listening: socket.socket) -> Iterator[None]:
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return
        yield


def test_an_address_that_somebody_listens_on_is_refused(shared: SharedAddress) -> None:
    [first] = shared.sockets()
    first.listen()
    with pytest.raises(OSError, match="in use"):
        SharedAddress(ServerSettings(host="127.0.0.1", port=port_of(shared)))
    first.close()


def test_a_closed_address_is_free_again() -> None:
    first = SharedAddress(LOOPBACK)
    again = ServerSettings(host="127.0.0.1", port=port_of(first))
    first.close()
    SharedAddress(again).close()


def test_its_name_is_a_url(shared: SharedAddress) -> None:
    assert base_url(shared.name, is_tls=False) == f"http://127.0.0.1:{port_of(shared)}"
    assert base_url(("::1", 8443, 0, 0), is_tls=True) == "https://[::1]:8443"
