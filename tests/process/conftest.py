"""A folder for the processes of one test, or of one module."""

from collections.abc import Iterator

import pytest

from tests.daemon import Workplace


@pytest.fixture
def folder() -> Iterator[Workplace]:
    made = Workplace()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Workplace]:
    made = Workplace()
    yield made
    made.remove()
