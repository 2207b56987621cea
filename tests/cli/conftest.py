"""A command line in an empty folder; with a configuration; with a database too; and a daemon's end of the socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commandline import CommandLine
from tests.cli.daemon_socket import DaemonSocket


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path)


@pytest.fixture
def configured(bare: CommandLine) -> CommandLine:
    bare.write()
    return bare


@pytest.fixture
def routerd(configured: CommandLine) -> CommandLine:
    configured.prepare()
    return configured


@pytest.fixture
def daemon(routerd: CommandLine) -> Iterator[DaemonSocket]:
    """Answers where the command line looks for a running daemon."""
    with DaemonSocket(Path("data/router.db.sock")) as answering:
        yield answering
