"""The daemon's end of the control socket, saying what a test has it say."""

import json
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any, Self


def seen(state: str = "up", **more: Any) -> dict[str, Any]:
    """One target as a daemon reports it."""
    quiet = {"consecutive_failures": 0, "recent_failures": 0, "recent_requests": 0, "busy": 0, "latency_ms": 0.0}
    return {"state": state, **quiet, "retry_in_s": 0.0, "ejected_s": 0.0, "on_trial": False, **more}


class DaemonSocket:
    """`health` is what /status reports; `asked` collects request lines; another `status` is a daemon in trouble."""

    def __init__(self, path: Path) -> None:
        self.health: dict[str, Any] = {}
        self.fingerprint = ""
        self.status = 200
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"fingerprint": outer.fingerprint, "health": outer.health})

            def do_POST(self) -> None:
                self._answer({"status": "ok"})

            def _answer(self, document: dict[str, Any]) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                body = json.dumps(document).encode()
                self.send_response(outer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: Any) -> None: ...

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
