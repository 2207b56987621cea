"""Several workers need a Redis between them; what only a restart can change is named."""

from pathlib import Path

import pytest

from router.config.load import load
from router.config.restart import AT_START, waiting_for_restart
from tests.config.samples import DEMO, ONE_ALIAS, only, problems, write

REST = DEMO + ONE_ALIAS
REDIS = "redis: {url: 'redis://127.0.0.1:6379/0'}\n"


@pytest.mark.parametrize("redis", ["", "redis: {}\n", "redis: {url: ''}\n", "redis: {url: '${NONE:-}'}\n"])
def test_several_workers_without_redis_are_a_located_mistake(tmp_path: Path, redis: str) -> None:
    problem = only(problems(tmp_path, f"server: {{workers: 4}}\n{redis}{REST}"))
    assert (problem.key, problem.line, problem.column) == ("server.workers", 1, 19)
    assert problem.found == "4 workers and no redis.url"
    assert "redis://" in problem.expected


@pytest.mark.parametrize("text", ["server: {workers: 1}\n", "server: {workers: 4}\n" + REDIS, REDIS, ""])
def test_one_worker_needs_none_and_several_with_one_are_right(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text + REST), {}).warnings == ()


def test_a_variable_that_asks_for_several_is_the_place_of_the_mistake(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, REST, {"ROUTER_SERVER_WORKERS": "2"}))
    assert (problem.file, problem.key) == ("environment ROUTER_SERVER_WORKERS", "server.workers")


def test_only_what_a_restart_would_change_waits_for_one(tmp_path: Path) -> None:
    started = load(write(tmp_path, REST), {}).config
    assert waiting_for_restart(started, started) == []
    changed = f"server: {{workers: 2, listen: ':9', drain: 3s}}\njournal: {{max_mb: 99}}\n{REDIS}{REST}"
    now = load(write(tmp_path, changed), {}).config
    assert waiting_for_restart(started, now) == ["server.listen", "server.workers", "redis", "journal"]
    assert set(waiting_for_restart(started, now)) <= set(AT_START)
