"""Asks a running daemon over its unix socket. The socket's file mode is the authentication."""

import http.client
import socket
from pathlib import Path
from typing import Any

import msgspec

TIMEOUT_S = 5.0
_MAX_ANSWER = 16 * 2**20
_DOCUMENT = msgspec.json.Decoder(dict[str, Any])


class NoDaemon(Exception):
    """Nobody useful listens there; the text says what was found."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, route: str) -> dict[str, Any]:
    """The daemon's answer to `GET /status`, `POST /reload` or `POST /forget-keys`. Raises NoDaemon."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, route)
        answer = connection.getresponse()
        if answer.status != 200:
            raise NoDaemon(f"the daemon answered {answer.status} to {route}")
        return _DOCUMENT.decode(answer.read(_MAX_ANSWER))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon("no daemon running") from None
    except PermissionError:
        raise NoDaemon(f"the daemon's socket {path} belongs to another user") from None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise NoDaemon(f"the daemon does not answer on {path} ({type(error).__name__})") from None
    finally:
        connection.close()


def forget_keys(path: Path) -> str:
    """Have a running daemon read keys again now; what came of it as a sentence for the user."""
    try:
        ask(path, "POST", "/forget-keys")
    except NoDaemon as reason:
        if str(reason) == "no daemon running":
            return "No daemon is running; the next one reads this at its start."
        return f"{reason}; it notices the change within 5 seconds by itself.".capitalize()
    return "The running daemon knows already."
