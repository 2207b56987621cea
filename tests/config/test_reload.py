"""Prepare may fail and changes nothing; what is valid is swapped in; a watched file is noticed once it is still."""

import asyncio
import os
from pathlib import Path

import pytest

from router.config.problems import ConfigError
from router.config.reload import Prepared, Reloader
from tests.config.samples import MINIMAL, write
from tests.providers.certificates import make_certificate

pytestmark = pytest.mark.blocking  # the tests themselves write files; what the reloader does is looked at below


class Daemon:
    """What the app would do: holds the configuration in force and the refusals it was told of."""

    def __init__(self, path: Path, environ: dict[str, str] | None = None) -> None:
        self.in_force: list[Prepared] = []
        self.refused: list[ConfigError] = []
        self.reloader = Reloader(path, environ or {})
        self.reloader.attach(swap=self.in_force.append, rejected=self.refused.append)
        self.in_force.append(self.reloader.prepare())

    @property
    def drain(self) -> float:
        return self.in_force[-1].snapshot.server.drain_s


class Looks:
    """A sleep that runs one step of a script at each look, and ends the watch when the script is over."""

    def __init__(self, *steps: object) -> None:
        self._steps = list(steps)

    async def sleep(self, _seconds: float) -> None:
        if not self._steps:
            raise asyncio.CancelledError
        step = self._steps.pop(0)
        if callable(step):
            step()


async def watch(daemon: Daemon, *steps: object) -> None:
    with pytest.raises(asyncio.CancelledError):
        await daemon.reloader.watch(Looks(*steps).sleep)


def edit(path: Path, text: str) -> None:
    """Write as editors do: a new file moved over the old one."""
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    os.replace(draft, path)


async def test_a_valid_file_is_swapped_in(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    daemon = Daemon(path)
    edit(path, MINIMAL + "server: {drain: 5s}")
    assert await daemon.reloader.reload() is True
    assert daemon.drain == 5.0


async def test_an_invalid_file_changes_nothing_and_is_remembered_until_it_is_right(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    daemon = Daemon(path)
    edit(path, MINIMAL + "server: {drian: 5s}")
    assert await daemon.reloader.reload() is False
    assert len(daemon.in_force) == 1
    assert [p.key for p in daemon.reloader.problems] == ["server.drian"]
    assert daemon.refused[0].problems == daemon.reloader.problems
    edit(path, MINIMAL)
    assert await daemon.reloader.reload() is True
    assert daemon.reloader.problems == ()


async def test_an_edit_is_noticed_once_it_is_still(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    daemon = Daemon(path)
    await watch(
        daemon,
        None,
        lambda: edit(path, MINIMAL + "server: {drain: 1s}"),
        lambda: edit(path, MINIMAL + "server: {drain: 22s}"),
        None,
        None,
    )
    assert [p.snapshot.server.drain_s for p in daemon.in_force] == [30.0, 22.0]


async def test_an_invalid_edit_is_reported_once_and_its_correction_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    daemon = Daemon(path)
    await watch(
        daemon, lambda: edit(path, "server: ["), None, None, None, lambda: edit(path, MINIMAL + "# right\n"), None, None
    )
    assert (len(daemon.refused), len(daemon.in_force)) == (1, 2)


async def test_included_files_dotenv_and_file_values_are_watched(tmp_path: Path) -> None:
    write(tmp_path, "t0", "token")
    write(tmp_path, "health: {cooldown: 1s}", "conf.d/a.yaml")
    path = write(tmp_path, "include: ['conf.d/*.yaml']\nobservability: {metrics_token: '${file:token}'}\n" + MINIMAL)
    daemon = Daemon(path)
    for change in (
        lambda: edit(tmp_path / "token", "t1-longer"),
        lambda: edit(tmp_path / ".env", "ROUTER_SERVER_DRAIN=9s\n"),
        lambda: write(tmp_path, "pricing: {unknown: free}", "conf.d/b.yaml"),
        (tmp_path / "conf.d/a.yaml").unlink,
    ):
        before = len(daemon.in_force)
        await watch(daemon, change, None, None)
        assert len(daemon.in_force) == before + 1
    assert daemon.drain == 9.0
    assert daemon.in_force[-1].snapshot.metrics_token == "t1-longer"
    assert daemon.in_force[-1].snapshot.health.cooldown_s == 30.0


async def test_a_mistake_in_a_new_include_is_noticed_when_it_is_corrected(tmp_path: Path) -> None:
    path = write(tmp_path, "include: ['conf.d/*.yaml']\n" + MINIMAL)
    (tmp_path / "conf.d").mkdir()
    daemon = Daemon(path)
    bad = tmp_path / "conf.d/a.yaml"
    await watch(
        daemon, lambda: bad.write_text("health: {"), None, None, lambda: bad.write_text("health: {cooldown: 3s}"), None, None
    )
    assert daemon.in_force[-1].snapshot.health.cooldown_s == 3.0


async def test_two_reloads_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    daemon = Daemon(write(tmp_path, MINIMAL))
    assert await asyncio.gather(*(daemon.reloader.reload() for _ in range(5))) == [True] * 5
    assert len({p.snapshot.fingerprint for p in daemon.in_force}) == 1


async def test_a_new_content_of_a_ca_file_is_another_configuration(tmp_path: Path) -> None:
    first, second = (make_certificate(tmp_path / name).read_text() for name in ("a.pem", "b.pem"))
    (tmp_path / "ca.pem").write_text(first)
    text = MINIMAL.replace("{type: simulated}", "{type: openai-compatible, base_url: 'https://h', ca_file: ca.pem}")
    daemon = Daemon(write(tmp_path, text))
    before = daemon.in_force[-1].snapshot
    assert await daemon.reloader.reload()
    same = daemon.in_force[-1].snapshot
    assert (same.fingerprint, same.providers["demo"]) == (before.fingerprint, before.providers["demo"])
    edit(tmp_path / "ca.pem", second)
    assert daemon.reloader.has_changed()
    assert await daemon.reloader.reload()
    after = daemon.in_force[-1].snapshot
    assert after.fingerprint != before.fingerprint
    assert after.providers["demo"].ca_file == before.providers["demo"].ca_file
    assert "" != after.providers["demo"].ca_digest != before.providers["demo"].ca_digest
    edit(tmp_path / "ca.pem", "half a certif")
    assert not await daemon.reloader.reload()
    assert daemon.in_force[-1].snapshot is after
