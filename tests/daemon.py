"""The real daemon and the real simulated provider as processes of a test, in a folder of their own, gone when it ends.

Both write to files; a test waits for what a file comes to say. Nothing here knows an event loop but the waiting itself,
so one daemon may serve the tests of a whole module.
"""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp

from tests.servers import Folder

ROOT = Path(__file__).resolve().parents[1]
START_S = 20.0
KEY = "sk-demo.a-secret-of-the-tests-only"
AUTH = {"Authorization": f"Bearer {KEY}"}
WORDS = "the quick brown fox jumps over the lazy dog"

T = TypeVar("T")
Entry = dict[str, Any]


async def until(ask: Callable[[], T | None], timeout_s: float = 5.0, *, what: str = "") -> T:
    """The first answer that is not None or False; AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what or ask}"
        await asyncio.sleep(0.01)


class Workplace(Folder):
    """The folder of one test or module; the processes started in it end with it at the latest, by their pids."""

    def __init__(self) -> None:
        super().__init__("process")
        self._processes: list[subprocess.Popen[bytes]] = []

    def started(self, process: subprocess.Popen[bytes]) -> None:
        self._processes.append(process)
        self.watch(*(p.pid for p in self._processes if p.poll() is None))

    def remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        super().remove()


class Program:
    """One process of `python -m router`, with its output in files."""

    def __init__(self, folder: Workplace, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.folder = folder.path
        self.stdout, self.stderr = self.folder / f"{name}.out", self.folder / f"{name}.err"
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "router", *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        folder.started(self.process)

    def wait_until(self, ask: Callable[[], T | None], what: str) -> T:
        """Block until `ask` has an answer; AssertionError with the program's words if it ends or takes too long."""
        deadline = time.monotonic() + START_S
        while True:
            answer = ask()
            if answer:
                return answer
            ended = self.process.poll()
            assert ended is None, f"ended with {ended} before {what}: {self.said()}"
            assert time.monotonic() < deadline, f"no {what}: {self.said()}"
            time.sleep(0.01)

    def said(self) -> str:
        """What it wrote that was no log line, and the last log lines."""
        return self.stderr.read_text() + "\n".join(self.stdout.read_text().splitlines()[-10:])

    def lines(self) -> list[Entry]:
        """The whole JSON lines written so far."""
        text = self.stdout.read_bytes()
        whole = text[: text.rfind(b"\n") + 1].splitlines()
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 15.0) -> int:
        """The exit code; -9 for a killed one."""
        return self.process.wait(timeout_s)

    def terminate(self, timeout_s: float = 15.0) -> int:
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait()

    @property
    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


class Simulator(Program):
    """`routerd simulate` on a free port, or on `port`; what it received and sent is in its own log, the truth."""

    def __init__(self, folder: Workplace, name: str = "sim", *flags: str, port: int = 0) -> None:
        self.truth = folder.path / f"{name}.truth"
        self.truth.touch()
        arguments = ["simulate", "--listen", f"127.0.0.1:{port}", "--log", str(self.truth), "--latency", "0", *flags]
        super().__init__(folder, name, arguments, {})
        self.origin = self.wait_until(self._listening, "address")

    def _listening(self) -> str:
        return self.stdout.read_text().rpartition("listening on ")[2].strip()

    @property
    def provider(self) -> Entry:
        """This process as a provider of a configuration."""
        return {"type": "openai-compatible", "base_url": f"{self.origin}/v1", "api_key": "sk-upstream-of-the-tests"}

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    def log(self, **wanted: Any) -> list[Entry]:
        """The log's lines whose members are as `wanted`; `case` looks into a request's metadata and the ends that follow."""
        text = self.truth.read_bytes()
        lines = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
        case = wanted.pop("case", None)
        if case is not None:
            numbers = {line["n"] for line in lines if (line.get("metadata") or {}).get("case") == case}
            lines = [line for line in lines if line["n"] in numbers]
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    async def logged(self, event: str, timeout_s: float = 5.0, **wanted: Any) -> Entry:
        """The first line of that event, waited for."""
        found = await until(
            lambda: self.log(event=event, **wanted) or None, timeout_s, what=f"{event} {wanted} in the simulator"
        )
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Daemon(Program):
    """`routerd` on a file in the folder, ready to serve. Leaving the block drains it: it must end well, without a failure.

    `by_environment`: the file is named by ROUTER_CONFIG_FILE instead of the command line.
    """

    def __init__(
        self,
        folder: Workplace,
        config: Mapping[str, Any] | str,
        environ: Mapping[str, str] | None = None,
        *,
        name: str = "routerd",
        by_environment: bool = False,
    ) -> None:
        self.file = folder.path / f"{name}.yaml"
        self.write(config)
        self._environ = dict(environ or {})
        if by_environment:
            super().__init__(folder, name, [], self._environ | {"ROUTER_CONFIG_FILE": str(self.file)})
        else:
            super().__init__(folder, name, ["--config", str(self.file)], self._environ)
        started = self.wait_until(lambda: next((e for e in self.lines() if e["event"] == "started"), None), "start")
        self.url: str = started["message"].removeprefix("routerd listens on ")

    def write(self, config: Mapping[str, Any] | str) -> None:
        """Replace the file as an editor does; JSON is YAML."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        fresh.replace(self.file)

    def client(self, key: str | None = KEY, **settings: Any) -> aiohttp.ClientSession:
        """A session to this daemon that presents `key`. What is no stream has been read when the answer is there."""
        reading = aiohttp.TraceConfig()
        reading.on_request_end.append(_read_whole)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connector = aiohttp.TCPConnector(limit=0, ssl=settings.pop("ssl", True))
        headers |= settings.pop("headers", {})
        return aiohttp.ClientSession(self.url, headers=headers, connector=connector, trace_configs=[reading], **settings)

    def command(self, *words: str) -> str:
        """What `routerd WORDS` prints, run where the daemon runs; it must exit with 0."""
        program = [sys.executable, "-m", "router", *words]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self._environ}
        done = subprocess.run(program, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("//")[2].rpartition(":")
        return host, int(port)

    def events(self, event: str, **wanted: Any) -> list[Entry]:
        """The log lines of that event whose members are as `wanted`."""
        return [e for e in self.lines() if e["event"] == event and all(e.get(n) == v for n, v in wanted.items())]

    async def event(self, event: str, timeout_s: float = 5.0, **wanted: Any) -> Entry:
        found = await until(lambda: self.events(event, **wanted) or None, timeout_s, what=f"{event} {wanted} in the log")
        return found[0]

    async def reload(self, config: Mapping[str, Any] | str) -> Entry:
        """Write the file, send SIGHUP, and wait for the log to say what came of it."""
        before = len(self.events("config_reloaded") + self.events("config_rejected"))
        self.write(config)
        self.send(signal.SIGHUP)

        def outcome() -> list[Entry] | None:
            found = [e for e in self.lines() if e["event"] in {"config_reloaded", "config_rejected"}]
            return found if len(found) > before else None

        return (await until(outcome, what="a reload"))[-1]

    def ledger(self, **wanted: Any) -> list[Entry]:
        """The requests in the SQLite ledger by their time, each with its `tries`; readable while the daemon runs."""
        database = sqlite3.connect(f"file:{self.folder}/data/router.db?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        try:
            rows = [dict(row) for row in database.execute("SELECT * FROM requests ORDER BY id")]
            tries = [dict(row) for row in database.execute("SELECT * FROM attempts ORDER BY request, attempt")]
        finally:
            database.close()
        for row in rows:
            row["tries"] = [t for t in tries if t["request"] == row["id"]]
        return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]

    async def entry(self, request_id: str, timeout_s: float = 5.0) -> Entry:
        """The ledger's row of one request, waited for: the ledger is written in batches."""
        found = await until(
            lambda: self.ledger(request_id=request_id) or None, timeout_s, what=f"{request_id} in the ledger"
        )
        assert len(found) == 1, found
        return found[0]

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        async with self.client(None) as http, http.get("/metrics") as answer:
            text = await answer.text()
        total = 0.0
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{label}="{text}"' in series for label, text in labels.items()):
                total += float(value)
        return total

    def stop(self) -> None:
        """SIGTERM: it must settle everything and exit with 0, and must not have met a fault of its own."""
        code = self.terminate(60)
        assert code == 0, f"exit code {code}: {self.said()}"
        assert self.stderr.read_text() == "", self.said()
        assert self.events("failure") == [], self.said()
        assert self.events("stopped")[-1]["level"] == "info", self.said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.kill()
        elif self.process.poll() is None:
            self.stop()


async def _read_whole(_session: object, _context: object, ended: aiohttp.TraceRequestEndParams) -> None:
    if ended.response.content_type != "text/event-stream":
        await ended.response.read()


def settings(providers: Mapping[str, Any], catalog: Mapping[str, Any], **sections: Any) -> Entry:
    """A configuration: `catalog` maps an alias to its target (`"sim"`), its targets in order, or the whole of it."""
    base: Entry = {
        "server": {"listen": "127.0.0.1:0"},
        "database": {"url": "sqlite:///data/router.db"},
        "health": {"mode": "off"},
        "providers": dict(providers),
        "model_catalog": [alias(name, given) for name, given in catalog.items()],
        "bootstrap": {
            "tenants": [{"name": "demo"}],
            "api_keys": [{"tenant": "demo", "name": "demo", "prefix": "demo", "secret": KEY.partition(".")[2]}],
        },
    }
    for name, section in sections.items():
        base[name] = base[name] | section if isinstance(base.get(name), dict) else section
    return base


def alias(name: str, given: Any) -> Entry:
    """One item of the catalog at a price of 1 and 2 USD per million. Its targets are its own, and so is their health."""
    item = {"targets": [given]} if isinstance(given, str) else {"targets": given} if isinstance(given, list) else dict(given)
    targets = [
        {"provider": t, "model": name, "priority": i} if isinstance(t, str) else t for i, t in enumerate(item.pop("targets"))
    ]
    return {"alias": name, "strategy": "priority", "targets": targets, "price": {"input": 1, "output": 2}, **item}


def chat(model: str, order: str = "", **fields: Any) -> Entry:
    """A chat request whose metadata carries its `case` (the model's name) and an order for the simulator."""
    metadata = {"case": fields.pop("case", model)} | ({"simulate": order} if order else {})
    messages = [{"role": "user", "content": WORDS}]
    return {"model": model, "messages": messages, "metadata": metadata, "max_tokens": 24, **fields}


async def sse(response: aiohttp.ClientResponse) -> list[str]:
    """The events of a stream read to its end, as their text without the blank line; comments are left out."""
    text = (await response.read()).decode()
    return [block for block in text.replace("\r\n", "\n").split("\n\n") if block and not block.startswith(":")]
