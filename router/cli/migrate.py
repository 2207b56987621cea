"""`routerd migrate`: brings the database to this release's schema, or says what it lacks."""

from pathlib import Path

import click

from router.cli.complaint import WrongInput
from router.cli.databases import open_database
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import print_json, screen
from router.cli.wording import counted
from router.config.load import Loaded
from router.storage.database import DatabaseRefused, sqlite_path
from router.storage.migrate import MigrationStatus, migrations_folder, read_migrations, status
from router.storage.migrate import migrate as apply_pending
from router.system import SystemClock


@click.command()
@config_option
@click.option("--status", "only_status", is_flag=True, help="Only say what is applied and what is pending.")
@json_option
def migrate(*, config: Path | None, only_status: bool, as_json: bool) -> None:
    """Apply the migrations the database lacks, each in a transaction of its own, under a lock."""
    loaded = open_config(config)
    found = run(_status(loaded))
    done = () if only_status or found.problem else run(_apply(loaded))
    if found.problem:
        raise WrongInput(found.problem, code="database_refused")
    if as_json:
        pending = [name for name in found.pending if name not in done]
        print_json({"applied": [*found.applied, *done], "applied_now": list(done), "pending": pending})
    elif only_status:
        _show_status(found)
    elif done:
        screen().line(f"Applied {counted(len(done), 'migration')}: {', '.join(done)}", "green")
    else:
        screen().line(f"Nothing to do: the database is at {found.applied[-1]}.")


def _show_status(found: MigrationStatus) -> None:
    out = screen()
    out.facts([(name, "applied") for name in found.applied] + [(name, "pending") for name in found.pending])
    if found.pending:
        out.line("`routerd migrate` applies what is pending.", "dim")


async def _status(loaded: Loaded) -> MigrationStatus:
    """A missing SQLite file is not made for a question."""
    try:
        path = sqlite_path(loaded.config.database.url)
    except DatabaseRefused as error:
        raise WrongInput(str(error), code="database_refused") from error
    if path is not None and not path.exists():
        return MigrationStatus((), tuple(step.name for step in read_migrations(migrations_folder(), "sqlite")))
    async with open_database(loaded, as_it_is=True) as db:
        return await status(db)


async def _apply(loaded: Loaded) -> tuple[str, ...]:
    async with open_database(loaded, as_it_is=True) as db:
        return await apply_pending(db, SystemClock().now_us())
