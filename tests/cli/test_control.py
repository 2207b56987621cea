"""The command line's end of the control socket: answers are read, silence is told from absence."""

import socket
from pathlib import Path
from threading import Thread

import pytest

from router.cli.control import NoDaemon, ask
from router.config.paths import control_socket
from tests.cli.daemon_socket import DaemonSocket


def test_an_answer_is_a_document(tmp_path: Path) -> None:
    with DaemonSocket(tmp_path / "s") as daemon:
        assert ask(tmp_path / "s", "GET", "/status") == {"fingerprint": "", "health": {}}
    assert daemon.asked == ["GET /status"]


def test_a_missing_socket_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match=r"^no daemon running$"):
        ask(tmp_path / "s", "GET", "/status")


def test_a_socket_left_behind_is_no_daemon(tmp_path: Path) -> None:
    with DaemonSocket(tmp_path / "s"):
        pass
    assert (tmp_path / "s").exists()
    with pytest.raises(NoDaemon, match=r"^no daemon running$"):
        ask(tmp_path / "s", "GET", "/status")


def test_an_error_answer_is_named(tmp_path: Path) -> None:
    with DaemonSocket(tmp_path / "s") as daemon:
        daemon.status = 500
        with pytest.raises(NoDaemon, match="answered 500 to /status"):
            ask(tmp_path / "s", "GET", "/status")


def test_a_listener_that_speaks_something_else_is_no_daemon(tmp_path: Path) -> None:
    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b"what?\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(NoDaemon, match="does not answer"):
            ask(tmp_path / "s", "GET", "/status")
        thread.join()


def test_a_path_too_long_for_a_socket_is_no_fault(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon):
        ask(tmp_path / ("x" * 200), "GET", "/status")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/router.db", "data/router.db.sock"),
        ("sqlite:////var/lib/router.db", "/var/lib/router.db.sock"),
        ("sqlite:///with%20space.db", "with space.db.sock"),
        ("postgresql://me:word@db/router", "data/routerd.sock"),
        ("postgres:///router", "data/routerd.sock"),
    ],
)
def test_the_socket_stands_beside_the_database(url: str, path: str) -> None:
    assert control_socket(url) == Path(path)
