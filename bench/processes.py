"""Processes under measurement: started on one core, watched through /proc, ended by their own ids only."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from time import perf_counter

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
START_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
PROBE_LIMIT_S = 5.0


class StartFailure(Exception):
    """A process that ended or stayed silent instead of becoming ready; the message holds the end of its log."""


def with_parent() -> list[str]:
    """What a command begins with so that the kernel ends it with this process, however that ends."""
    program = shutil.which("setpriv")
    return [] if program is None else [program, "--pdeathsig", "KILL"]


def free_port() -> int:
    with closing(socket(AF_INET, SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Cores:
    """`measured` carries the gateway alone, `load` everything else; the same core where the machine has one."""

    measured: int
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


class Process:
    """A child with its log in a file. `start_s` is the time from the start to the first good probe."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = child.pid
        self.start_s = 0.0
        self._child = child
        self._log = log

    @classmethod
    def start(cls, command: Sequence[str], *, core: int, folder: Path, name: str, is_quiet: bool = False) -> "Process":
        """Run `command` in `folder` on `core`; its output goes to `folder/name.log`, nowhere where `is_quiet`."""
        before = os.sched_getaffinity(0)
        log = folder / f"{name}.log"
        log.touch()
        root = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": root}
        # A child inherits the affinity of its parent, so it never runs an instruction elsewhere.
        os.sched_setaffinity(0, {core})
        try:
            with Path(os.devnull if is_quiet else log).open("wb") as output:
                child = subprocess.Popen(
                    [*with_parent(), *command],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        finally:
            os.sched_setaffinity(0, before)
        return cls(child, log)

    async def ready(self, port: int, path: str, started: float, *, limit_s: float = START_LIMIT_S) -> None:
        """Wait for 200 on GET `path`, or for an open port where `path` is empty; StartFailure after `limit_s`."""
        while not await _answers(port, path):
            if self._child.poll() is not None or perf_counter() - started > limit_s:
                raise StartFailure(f"not ready; the end of its log:\n{self.log_tail()}")
            await asyncio.sleep(0.005)
        self.start_s = perf_counter() - started

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def cpu_s(self) -> float:
        """User and system time of the child and its descendants, those already gone included."""
        return sum(_cpu_ticks(pid) for pid in self._family()) / _TICKS_PER_S

    def rss_bytes(self) -> int:
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in self._family())

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after `STOP_LIMIT_S`."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                while self._child.poll() is None:
                    await asyncio.sleep(0.01)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def _family(self) -> list[int]:
        family, unseen = [], [self.pid]
        while unseen:
            pid = unseen.pop()
            family.append(pid)
            with suppress(OSError):
                unseen += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return family


def _cpu_ticks(pid: int) -> int:
    # The command name, in parentheses, may hold spaces: fields are counted from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


async def _answers(port: int, path: str) -> bool:
    try:
        if not path:
            return await _opens(port)
        return b" 200 " in (await fetch(port, path)).partition(b"\r\n")[0]
    except (OSError, TimeoutError):
        return False


async def _opens(port: int) -> bool:
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def fetch(port: int, path: str) -> bytes:
    """GET `path` on a connection of its own: the whole answer, head and body. Raises OSError, TimeoutError."""
    async with asyncio.timeout(PROBE_LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path.encode())
            return await reader.read()
        finally:
            writer.close()
