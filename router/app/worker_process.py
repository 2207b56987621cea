"""One worker as its supervisor sees it: started by exec, asked over a link, waited for."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

import router
from router.app.link import Answer, Link, NoAnswer
from router.app.worker import READY, Seat
from router.domain.ports import Tasks
from router.server.shared_address import SharedAddress

_HERE = Path(router.__file__).resolve().parents[1]


class WorkerState(StrEnum):
    DOWN = "down"
    STARTING = "starting"
    READY = "ready"


class End(NamedTuple):
    """How a process ended: its exit code, negative for a signal; `text` completes "worker 1 ..."; `served`: it had begun."""

    code: int
    text: str
    served: bool


@dataclass(frozen=True, slots=True)
class Program:
    """What every worker is made of: the file, the environment, the address, the open lock of the database it inherits."""

    config: Path
    environ: Mapping[str, str]
    address: SharedAddress
    lock: int | None = None

    def command(self, seat: Seat) -> list[str]:
        # A folder `router` in the working directory must not be taken for this package, unless it is this package.
        safe = [] if Path.cwd() == _HERE else ["-P"]
        words = ["-m", "router", "serve", "--config", str(self.config), "--worker", msgspec.json.encode(seat).decode()]
        return [sys.executable, *safe, *words]


class WorkerProcess:
    """`live` is one process from start to end. `answer` is for what it asks; `moved` is called when `state` is new."""

    def __init__(self, index: int, program: Program, answer: Answer, tasks: Tasks, moved: Callable[[], None]) -> None:
        self.index = index
        self.pid = 0
        self.starts = 0
        self.state = WorkerState.DOWN
        self.has_served = False
        self.is_over = False
        self._program = program
        self._answer = answer
        self._tasks = tasks
        self._moved = moved
        self._link: Link | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._is_unwanted = False

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    async def live(self) -> End:
        """Start the process and wait for its end."""
        self.starts += 1
        try:
            process, ours = await self._start()
        except OSError as error:
            return End(1, f"could not be started: {error.strerror}", served=False)
        self._process, self.pid = process, process.pid
        self._enter(WorkerState.STARTING)
        if self._is_unwanted:
            self.terminate()
        self._link = await Link.over(ours, self._heard, self._tasks)
        self._tasks.spawn(self._link.run(), name=f"link of worker {self.index}")
        code = await process.wait()
        self._process = None
        self._link.close()
        served = self.state is WorkerState.READY
        self._enter(WorkerState.DOWN)
        return End(code, _ended(code), served)

    async def _start(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """The process, and our end of the link. Raises OSError."""
        with ExitStack() as inherited:
            ours, theirs = socket.socketpair()
            inherited.callback(theirs.close)
            try:
                sockets = [inherited.enter_context(each) for each in self._program.address.sockets()]
                seat = Seat(self.index, theirs.fileno(), tuple(each.fileno() for each in sockets), self._program.lock)
                # A session of its own: Ctrl-C at a terminal is for the supervisor, which forwards it once.
                process = await asyncio.create_subprocess_exec(
                    *self._program.command(seat),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=seat.files,
                    start_new_session=True,
                    env=dict(self._program.environ),
                )
            except OSError:
                ours.close()
                raise
        return process, ours

    async def ask(self, question: str, timeout_s: float) -> bytes | None:
        """None if it does not answer."""
        if self._link is None:
            return None
        try:
            return await self._link.ask(question, timeout_s)
        except NoAnswer:
            return None

    def terminate(self) -> None:
        """Ask for a drain; the second time for haste."""
        self._is_unwanted = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def _heard(self, question: str) -> bytes:
        if question != READY:
            return await self._answer(question)
        self.has_served = True
        self._enter(WorkerState.READY)
        return b""

    def _enter(self, state: WorkerState) -> None:
        self.state = state
        self._moved()


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
