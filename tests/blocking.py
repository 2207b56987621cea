"""The blocking-call detector: an async test fails when code of `router` blocks the event loop.

In `tests/conftest.py`: `from tests.blocking import no_blocking_calls`, exported through `__all__`. A test that blocks on
purpose is marked `blocking`.
"""

from collections.abc import Iterator
from inspect import iscoroutinefunction

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Raise BlockingError out of file, socket, lock or sleep calls that `router` makes on a running loop."""
    if not iscoroutinefunction(getattr(request, "function", None)) or request.node.get_closest_marker("blocking"):
        yield
        return
    with blockbuster_ctx("router"):
        yield
