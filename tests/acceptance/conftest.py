"""The shipped example file as early users run it: `curl` as printed, against the real daemon on a free port."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.daemon import ROOT, Daemon, Workplace

EXAMPLE = (ROOT / "router.example.yaml").read_text(encoding="utf-8")
FREE_PORT = {"ROUTER_SERVER_LISTEN": "127.0.0.1:0"}
KEY = "sk-demo.my-secret"


@dataclass(frozen=True)
class Printed:
    """What curl printed with -i: status, header names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def curl(routerd: Daemon, path: str, *arguments: str) -> Printed:
    """`curl -i HOST/path ...`; HOST and KEY in the arguments are put in."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl on this machine")
    words = [word.replace("KEY", KEY) for word in arguments]
    command = [program, "-sSi", "--http1.1", "--max-time", "20", routerd.url + path, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    head, _, body = done.stdout.partition("\n\n") if "\r\n" not in done.stdout else done.stdout.partition("\r\n\r\n")
    lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Printed(int(lines[0].split()[1]), headers, body)


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Workplace]:
    made = Workplace()
    yield made
    made.remove()


@pytest.fixture
def folder() -> Iterator[Workplace]:
    made = Workplace()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace) -> Iterator[Daemon]:
    with Daemon(module_folder, EXAMPLE, FREE_PORT) as running:
        yield running
