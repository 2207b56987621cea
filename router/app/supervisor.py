"""The parent of several workers: binds, starts them, starts again what dies, forwards what it is told. It serves nothing."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

from router.app.crew import Crew
from router.app.daemon import StartRefused
from router.app.instruments import opened_log
from router.app.places import announce, opened_control
from router.app.worker_process import End, Program, WorkerProcess
from router.config.paths import control_socket
from router.config.reload import Prepared
from router.domain.observations import Notice
from router.domain.ports import Observer
from router.server.control_socket import control_app
from router.server.listener import base_url
from router.server.shared_address import SharedAddress
from router.storage.database import DatabaseRefused, sqlite_path
from router.storage.lockfile import DaemonLock
from router.system import SystemClock, SystemTasks
from router.telemetry.redaction import Redactor

STEADY_S = 30.0
"""Who has lived so long has not died of its start: it begins again at the shortest pause."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0


def supervise(prepared: Prepared, environ: Mapping[str, str]) -> int:
    """Keep `server.workers` workers serving until SIGTERM or SIGINT, and wait for their drain; the exit code.

    Raises StartRefused. A worker that cannot start the first time has said why on standard error: its exit code is ours.
    """
    with asyncio.Runner() as runner:
        return runner.run(_supervise(prepared, environ))


async def _supervise(prepared: Prepared, environ: Mapping[str, str]) -> int:
    config, server = prepared.loaded.config, prepared.snapshot.server
    redactor = Redactor()
    redactor.know(prepared.snapshot.secrets())
    with ExitStack() as stack:
        log = stack.enter_context(opened_log(config.observability.log_format, SystemClock(), redactor, is_shared=True))
        try:
            lock = _locked(config.database.url, stack)
            address = SharedAddress(server)
        except DatabaseRefused as error:
            raise StartRefused(str(error), exit_code=2) from error
        except OSError as error:
            raise StartRefused(f"cannot listen on {server.host}:{server.port}: {error}") from error
        program = Program(prepared.loaded.path, environ, address, lock)
        return await Supervisor(prepared, program, log).run()


def _locked(database_url: str, stack: ExitStack) -> int | None:
    """The lock of a database that is one file, held until the last worker has ended."""
    path = sqlite_path(database_url)
    if path is None:
        return None
    lock = DaemonLock.take(path)
    stack.callback(lock.release)
    return lock.fileno()


class Supervisor:
    """Workers 0 to n - 1. The first one starts alone: it migrates, applies the bootstrap section, and says what is wrong."""

    def __init__(self, prepared: Prepared, program: Program, log: Observer) -> None:
        self._prepared = prepared
        self._address = program.address
        self._log = log
        self._tasks = SystemTasks(log)
        self._moved = asyncio.Event()
        self._stopping = asyncio.Event()
        self._refused: tuple[WorkerProcess, End] | None = None
        self._has_lost_one = False
        self._crew = Crew()
        self._crew.workers += [
            WorkerProcess(index, program, self._crew.answer, self._tasks, self._moved.set)
            for index in range(prepared.loaded.config.server.workers)
        ]

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        url = base_url(self._address.name, is_tls=bool(self._prepared.snapshot.server.tls_cert))
        loaded, workers = self._prepared.loaded, self._crew.workers
        for some in (workers[:1], workers[1:]):
            await self._start(some)
        control = await opened_control(
            control_app(self._crew.answers), control_socket(loaded.config.database.url), self._log
        )
        if not self._stopping.is_set():
            announce(self._log, url, loaded.path, self._prepared.snapshot, workers=str(len(workers)))
        await self._until(lambda: all(worker.is_over for worker in workers))
        await control.close()
        await self._tasks.stop()
        return self._exit_code()

    async def _start(self, workers: list[WorkerProcess]) -> None:
        """Until all of them serve, or there is no use in waiting."""
        if self._stopping.is_set():
            for worker in workers:
                worker.is_over = True
            return
        for worker in workers:
            self._tasks.spawn(self._keep(worker), name=f"worker {worker.index}")
        await self._until(lambda: self._stopping.is_set() or all(w.has_served for w in workers))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._moved.clear()
            await self._moved.wait()

    async def _keep(self, worker: WorkerProcess) -> None:
        """One process after the other, with longer and longer pauses while they die young."""
        young, clock = 0, SystemClock()
        while not self._stopping.is_set():
            began = clock.monotonic()
            end = await worker.live()
            self._crew.ended(worker)
            if self._stopping.is_set():
                self._note_last(worker, end)
            elif not worker.has_served:
                self._refused = worker, end
                self._stop()
            else:
                young = 1 if clock.monotonic() - began >= STEADY_S else young + 1
                await self._pause(worker, end, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(young - 1, 10)))
        worker.is_over = True
        self._moved.set()

    async def _pause(self, worker: WorkerProcess, end: End, seconds: float) -> None:
        text = f"worker {worker.index} {end.text}; it starts again in {seconds:g} s"
        self._log.emit(Notice("error", "worker", text, _details(worker)))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _note_last(self, worker: WorkerProcess, end: End) -> None:
        """Before it serves a process has no handler for SIGTERM, nor anything to settle."""
        if end.code and not (end.code == -signal.SIGTERM and not end.served):
            self._has_lost_one = True
            text = f"worker {worker.index} {end.text}; what it has left is adopted at the next start"
            self._log.emit(Notice("error", "worker", text, _details(worker)))

    def _stop(self) -> None:
        """The first time all drain, the second time they hurry."""
        self._stopping.set()
        self._address.close()
        for worker in self._crew.workers:
            worker.terminate()
        self._moved.set()

    def _reload_soon(self) -> None:
        self._tasks.spawn(self._reload(), name="reload")

    async def _reload(self) -> None:
        await self._crew.reload()

    def _exit_code(self) -> int:
        if self._refused is not None:
            worker, end = self._refused
            if end.code <= 0:
                raise StartRefused(f"worker {worker.index} {end.text} before it could serve")
            return end.code
        level, text = ("error", "a worker was lost") if self._has_lost_one else ("info", "all workers have ended")
        self._log.emit(Notice(level, "stopped", text))
        return int(self._has_lost_one)


def _details(worker: WorkerProcess) -> tuple[tuple[str, str], ...]:
    return ("worker", str(worker.index)), ("pid", str(worker.pid))
