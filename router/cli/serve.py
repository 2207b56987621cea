"""`routerd serve`: runs the daemon until it has drained. Prints nothing but what kept it from starting."""

from pathlib import Path

import click

from router.app.daemon import StartRefused
from router.app.daemon import run as run_daemon
from router.cli.complaint import Complaint
from router.cli.opening import config_file, config_option, json_option
from router.system import environment


@click.command()
@config_option
@json_option
def serve(*, config: Path | None, as_json: bool = False) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C; it drains, settles and exits 0.

    SIGHUP, or a change of the file, reloads the configuration.
    """
    del as_json  # errors are printed by the group, which knows
    environ = environment()
    path = config_file(config, environ)
    try:
        run_daemon(path, environ)
    except StartRefused as error:
        raise Complaint(str(error), code="start_refused", exit_code=error.exit_code) from error
