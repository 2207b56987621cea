"""Counts what each exchange came to and prints the table at the end of the run."""

from collections.abc import Generator

import pytest

from tests.conformance.tally import lines_of

_FAILED = pytest.StashKey[dict[str, bool]]()
_TESTS = pytest.StashKey[int]()
_PARAMETERS = ("name", "recorded")
"""Of tests of one exchange: its name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--features", action="store_true", help="tell of each API which features its exchanges have")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    name = next((str(params[parameter]) for parameter in _PARAMETERS if params.get(parameter)), "")
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
    for line in lines_of(failed, config.stash[_TESTS], by_feature=config.getoption("--features", default=False)):
        terminalreporter.write_line(line)
