"""`routerd simulate` as a process: it says where it listens, obeys flags and file, and ends at once when told."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

PROGRAM = "from router.cli.simulate import simulate; simulate()"
ROOT = Path(__file__).parents[2]
Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def started(*flags: str) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-c", PROGRAM, "--listen", "127.0.0.1:0", "--latency", "0", *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout
        said = process.stdout.readline()
        assert said.startswith("listening on http://127.0.0.1:")
        return process, said.removeprefix("listening on ").strip()

    yield started
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def chat(url: str) -> int:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    try:
        with urlopen(Request(f"{url}/v1/chat/completions", body), timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


@pytest.mark.process
def test_flags_and_file_decide_and_sigterm_ends_it(start: Start, tmp_path: Path) -> None:
    settings, log = tmp_path / "simulate.yaml", tmp_path / "log"
    settings.write_text("simulate:\n  faults:\n  - {kind: error, requests: [2]}\n")
    process, url = start(
        "--config", str(settings), "--fault", "429=1;requests=1", "--log", str(log), "--tokens-per-second", "0"
    )  # fmt: skip
    assert [chat(url) for _ in range(3)] == [429, 500, 200]
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert time.monotonic() - begun < 1.5
    assert [json.loads(line)["n"] for line in log.read_text().splitlines()] == [1, 1, 2, 2, 3, 3]


@pytest.mark.process
def test_sigterm_does_not_wait_for_streams(start: Start) -> None:
    process, url = start("--tokens-per-second", "1", "--output-tokens", "500")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
    with urlopen(Request(f"{url}/v1/chat/completions", body), timeout=5) as answer:
        assert answer.readline().startswith(b"data: ")
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - begun < 1.5
