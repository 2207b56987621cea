"""Counts what each exchange came to and prints the table at the end of the run."""

from collections.abc import Generator

import pytest

from tests.conformance.tally import lines_of

_FAILED = pytest.StashKey[dict[str, bool]]()
_TESTS = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    name = (
        str(item.callspec.params.get("name", "")) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    )
    if name and (call.when == "call" or report.failed):
        stash = item.config.stash
        failed = stash.setdefault(_FAILED, {})
        failed[name] = failed.get(name, False) or report.failed
        stash[_TESTS] = stash.get(_TESTS, 0) + (call.when == "call")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    failed = config.stash.get(_FAILED, {})
    if not failed:
        return
    terminalreporter.section("recorded traffic")
    for line in lines_of(failed, config.stash[_TESTS]):
        terminalreporter.write_line(line)
