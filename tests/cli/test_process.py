"""The command line beside the real daemon: a file from `init`, a key, a request, its usage, a clean end."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.daemon import ROOT

pytestmark = pytest.mark.process


def routerd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *arguments], env=_environ(), capture_output=True, text=True, timeout=30, check=False
    )


def _environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A daemon that runs on what `init` wrote, on a port of its own, and its address."""
    monkeypatch.chdir(tmp_path)
    assert routerd("init").returncode == 0
    command = [sys.executable, "-m", "router"]
    environ = {**_environ(), "ROUTER_SERVER_LISTEN": "127.0.0.1:0", "ROUTER_OBSERVABILITY_LOG_FORMAT": "json"}
    with (tmp_path / "log").open("w") as errors:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        yield process, _address(process.stdout)
    finally:
        process.kill()
        process.communicate(timeout=10)


def _address(log: IO[str]) -> str:
    for line in log:
        if '"started"' in line:
            return str(json.loads(line)["message"]).partition("listens on ")[2]
    raise AssertionError("the daemon ended without having started")


def chat(address: str, key: str) -> int:
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_key_from_the_command_line_serves_until_it_is_revoked(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    key = routerd("keys", "create", "--tenant", "demo", "--name", "ci").stdout.strip()
    assert chat(address, key) == 200
    assert routerd("keys", "revoke", key, "--yes").returncode == 0
    assert chat(address, key) == 401
    explained = json.loads(routerd("explain", "--json").stdout)
    assert (explained["health"], explained["targets"][0]["state"]) == ("the running daemon's", "well")
    second = routerd("serve")
    assert (second.returncode, "the database is in use by process" in second.stderr) == (2, True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    total = json.loads(routerd("usage", "--json").stdout)["sum"]
    assert (total["requests"], total["failed"], total["cost_usd"]) == (1, 0, "0.0")
