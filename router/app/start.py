"""What a start becomes, by the file and by who started it: the one process of a daemon, a supervisor, one of its workers."""

from collections.abc import Mapping
from pathlib import Path

from router.app.daemon import run as serve
from router.app.places import Alone
from router.app.supervisor import supervise
from router.app.worker import Seat, Worker
from router.config.paths import control_socket
from router.config.reload import Reloader


def run(config_path: Path, environ: Mapping[str, str], seat: Seat | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; the exit code. `seat`: this process is a worker.

    Raises ConfigError for the file, StartRefused for everything else that keeps it from serving.
    """
    reloader = Reloader(config_path, environ)
    prepared = reloader.prepare()
    config = prepared.loaded.config
    if seat is not None:
        serve(reloader, prepared, Worker(seat))
    elif config.server.workers > 1:
        return supervise(prepared, environ)
    else:
        serve(reloader, prepared, Alone(control_socket(config.database.url)))
    return 0
