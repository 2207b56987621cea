"""A reload reads files in a thread: the event loop never waits for a disk."""

from pathlib import Path

import pytest

from router.config.problems import ConfigError
from router.config.reload import Prepared, Reloader
from tests.config.samples import MINIMAL, write


@pytest.fixture
def swapped() -> list[Prepared | ConfigError]:
    return []


@pytest.fixture
def reloader(tmp_path: Path, swapped: list[Prepared | ConfigError]) -> Reloader:
    path = write(tmp_path, MINIMAL)
    made = Reloader(path, {})
    made.attach(swap=swapped.append, rejected=swapped.append)
    made.prepare()
    write(tmp_path, MINIMAL + "server: {drain: 5s}")
    return made


async def test_nothing_blocks_the_loop(reloader: Reloader, swapped: list[Prepared | ConfigError]) -> None:
    looks = 0

    async def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await reloader.watch(sleep)
    assert [type(item) for item in swapped] == [Prepared]
