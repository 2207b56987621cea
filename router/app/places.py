"""Where a serving process stands: alone in the world, or as one of several workers of a supervisor."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from router.config.snapshot import Snapshot
from router.domain.observations import Notice
from router.domain.ports import Observer, Tasks
from router.server.control_socket import Answers, control_app
from router.server.listener import ControlSocket
from router.system import VERSION

Pack = Callable[[], Awaitable[bytes]]
"""The metrics of one process for the sum over several."""


class Place(Protocol):
    """What differs between the two. `worker` is the number of a worker, None alone.

    `sockets` are inherited, listening ones; none: the process binds its own. `holds_lock`: a database of one file is locked
    already, by whoever started this process.
    """

    worker: int | None
    sockets: Sequence[socket.socket]
    holds_lock: bool

    async def open(self, answers: Answers, pack: Pack, observer: Observer, tasks: Tasks, leave: Callable[[], None]) -> None:
        """Take commands and answer them. `leave` is called when there is no reason to serve any more."""
        ...

    async def metrics(self, render: Callable[[], bytes]) -> bytes:
        """The text of `/metrics`; `render`, for a thread, makes this process's own. Raises GatewayError."""
        ...

    async def started(self, url: str, path: Path, snapshot: Snapshot) -> None:
        """Requests are answered at `url` with the file at `path`: the world may know."""
        ...

    async def close(self) -> None: ...


class Alone:
    """Implements Place for the one process of a daemon, at its control socket `path`."""

    worker: int | None = None
    sockets: Sequence[socket.socket] = ()
    holds_lock = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._control: ControlSocket | None = None
        self._observer: Observer | None = None

    async def open(self, answers: Answers, pack: Pack, observer: Observer, tasks: Tasks, leave: Callable[[], None]) -> None:
        self._observer = observer
        self._control = await opened_control(control_app(answers), self._path, observer)

    async def metrics(self, render: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, render)

    async def started(self, url: str, path: Path, snapshot: Snapshot) -> None:
        assert self._observer is not None, "not open"
        announce(self._observer, url, path, snapshot)

    async def close(self) -> None:
        if self._control is not None:
            await self._control.close()


async def opened_control(app: web.Application, path: Path, observer: Observer) -> ControlSocket:
    control = ControlSocket(app, path)
    try:
        await control.start()
    except OSError as error:
        # A path over 107 bytes, a file system without sockets: callers are served all the same.
        text = f"commands cannot reach this daemon: its control socket: {error}"
        observer.emit(Notice("warning", "control", text))
    return control


def announce(observer: Observer, url: str, path: Path, snapshot: Snapshot, **more: str) -> None:
    for warning in snapshot.warnings:
        observer.emit(Notice("warning", "config", warning))
    details = {"version": VERSION, "fingerprint": snapshot.fingerprint[:12], "config": str(path), **more}
    observer.emit(Notice("info", "started", f"routerd listens on {url}", tuple(details.items())))
