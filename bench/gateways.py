"""The contestants that are not routerd: nothing at all, a bare aiohttp proxy, nginx."""

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-bench.bench-secret-bench-secret"

Command = Callable[[int, int, Path], Awaitable[list[str]]]
"""(port, upstream's port, scratch folder) to the command that serves on this port, run in this folder."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """With `ready_path` empty an open port is enough. Without a `command` the load goes to the provider itself.

    `metrics_path` is where it shows the histogram of its event loop's lag, "" if nowhere. In `headers` `{upstream}` stands
    for the provider's port. `once` is measured in the first round only: so far behind that one is enough.
    """

    name: str
    command: Command | None
    ready_path: str = ""
    metrics_path: str = ""
    keys: tuple[str, ...] = (KEY,)
    headers: tuple[str, ...] = ()
    start_limit_s: float = 30.0
    is_quiet: bool = False
    once: bool = False


def direct() -> Gateway:
    """No gateway: what the others add is measured from here."""
    return Gateway("direct", None)


def bare(name: str = "bare") -> Gateway:
    async def command(port: int, upstream: int, _folder: Path) -> list[str]:
        return [sys.executable, "-m", "bench.bare_proxy", "--port", str(port), "--origin", f"http://127.0.0.1:{upstream}"]

    return Gateway(name, command)


def nginx() -> Gateway | None:
    """One process that relays to the provider over pooled connections; None where nginx is not installed."""
    program = shutil.which("nginx", path=os.defpath + os.pathsep + os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        return None

    async def command(port: int, upstream: int, folder: Path) -> list[str]:
        (folder / "nginx.conf").write_text(nginx_conf(port, upstream))
        return [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    return Gateway("nginx", command)


def nginx_conf(port: int, upstream: int) -> str:
    """One process that changes no user; everything it writes is below its prefix."""
    folders = "".join(f"    {kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off;
{folders}\
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    client_body_buffer_size 2m;
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""
