"""`routerd serve`: runs the daemon until it has drained. Prints nothing but what kept it from starting."""

from pathlib import Path

import click
import msgspec

from router.app.daemon import StartRefused
from router.app.start import run as run_daemon
from router.app.worker import Seat
from router.cli.complaint import Complaint, WrongInput
from router.cli.opening import config_file, config_option, json_option
from router.system import environment


@click.command()
@config_option
@json_option
@click.option("--worker", hidden=True, help="What a worker inherits: for routerd's own use.")
def serve(*, config: Path | None, as_json: bool = False, worker: str | None = None) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C; it drains, settles and exits 0.

    SIGHUP, or a change of the file, reloads the configuration. With server.workers above 1 it supervises as many processes.
    """
    del as_json  # errors are printed by the group, which knows
    environ = environment()
    path = config_file(config, environ)
    try:
        code = run_daemon(path, environ, None if worker is None else _seat(worker))
    except StartRefused as error:
        raise Complaint(str(error), code="start_refused", exit_code=error.exit_code) from error
    if code:
        raise click.exceptions.Exit(code)  # a worker has said why


def _seat(text: str) -> Seat:
    try:
        return msgspec.json.decode(text, type=Seat)
    except msgspec.MsgspecError:
        raise WrongInput("--worker is what a supervisor tells its workers; set server.workers in the file instead") from None
