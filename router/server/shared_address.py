"""One address for several processes: bound here, listened on by each of them."""

import socket
import sys
from collections.abc import Sequence
from typing import Any

from router.config.snapshot import ServerSettings
from router.server.listener import BACKLOG

# Linux deals new connections out evenly to sockets that share a port this way; elsewhere only the last one gets any.
IS_DEALT_OUT = sys.platform == "linux"


class SharedAddress:
    """Every address of `settings.host`, held until `close`. Raises OSError where it is in use.

    Where the kernel deals connections out, every process gets sockets of its own: what it has not accepted ends with it, and
    it gets nothing before it listens and after it has died. Elsewhere all share the same, and who is first accepts.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._held: list[socket.socket] = []
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._held.append(_held(family, address))
        except OSError:
            self.close()
            raise

    @property
    def name(self) -> Sequence[object]:
        """What `getsockname` says of the first one."""
        name: Sequence[object] = self._held[0].getsockname()
        return name

    def sockets(self) -> list[socket.socket]:
        """For one more process to inherit; the caller closes them when it has. Raises OSError."""
        if not IS_DEALT_OUT:
            return [each.dup() for each in self._held]
        return [_bound(each.family, each.getsockname(), is_shared=True) for each in self._held]

    def close(self) -> None:
        for each in self._held:
            each.close()


def _held(family: int, address: Any) -> socket.socket:
    # A socket that shares its port would be let in beside the listener of somebody else: this one is not.
    alone = _bound(family, address, is_shared=False)
    alone.listen(BACKLOG)
    if not IS_DEALT_OUT:
        return alone
    name = alone.getsockname()
    alone.close()
    return _bound(family, name, is_shared=True)


def _bound(family: int, address: Any, *, is_shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
