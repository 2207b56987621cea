"""Whatever happens to requests, processes and databases, the books are what a simple model says: no budget is overshot."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from router.storage.migrate import migrate
from tests.money.database import SqliteSite
from tests.money.postgres import PostgresSite
from tests.money.world import Run, Site
from tests.process.money_load import figures
from tests.stores import NOW, open_database

RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LIMIT_S = 600.0


@pytest.fixture
async def template(tmp_path: Path) -> Path:
    """A migrated database to copy."""
    path = tmp_path / "template.db"
    db = await open_database(f"sqlite:///{path}")
    await migrate(db, NOW)
    await db.close()
    return path


def live_on_sqlite(seed: int, template: Path) -> Counter[str]:
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        site = SqliteSite(Path(folder) / "router.db", template)
        try:
            return live(seed, site)
        finally:
            site.close()


def live(seed: int, site: Site) -> Counter[str]:
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        run = Run(seed, Path(folder), site)
        try:
            run.loop.run(run.play(), LIMIT_S)
            assert not run.wrong, run.wrong
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            run.end()
        return run.counts


SEEDS = [pytest.param(range(200), id="short"), pytest.param(range(200, 10_200), id="long", marks=pytest.mark.torture)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_books_are_what_the_model_says(seeds: range, template: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts += live_on_sqlite(seed, template)
    figures(f"{len(seeds)} seeds: {dict(sorted(counts.items()))}")


ON_POSTGRES = [pytest.param(range(4), id="short"), pytest.param(range(10_000, 10_300), id="long", marks=pytest.mark.torture)]


@pytest.mark.parametrize("seeds", ON_POSTGRES)
def test_the_books_are_what_the_model_says_on_postgres(seeds: range, postgres_url: str) -> None:
    counts: Counter[str] = Counter()
    site = PostgresSite(postgres_url)
    try:
        for seed in seeds:
            site.clean()
            counts += live(seed, site)
    finally:
        site.close()
    figures(f"{len(seeds)} seeds on PostgreSQL: {dict(sorted(counts.items()))}")
