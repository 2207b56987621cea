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
    with blockbuster_ctx("router") as detector:
        # Opening a connection, asyncpg looks for key and password files: a few `stat` calls, not worth a thread.
        for call in detector.functions.values():
            call.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
            # A journal's line goes to the page cache: a thread would cost ten times what the write does.
            call.can_block_in("storage/journal_disk.py", {"write_some", "rename"})
        yield
