"""What the process is told from outside: drain, hurry, reload."""

import asyncio
import signal
from collections.abc import Callable


class Stop:
    """Signals: the first SIGTERM or SIGINT asks for a drain, the second for haste, SIGHUP for a reload."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_hurried = False
        self._hurry: Callable[[], None] | None = None

    def install(self, *, reload_soon: Callable[[], None], hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note)
        loop.add_signal_handler(signal.SIGHUP, reload_soon)

    def ask(self) -> None:
        """Ask for a drain; asking again does not hurry."""
        self.asked.set()

    def _note(self) -> None:
        if self.asked.is_set() and self._hurry is not None:
            self.is_hurried = True
            self._hurry()
        self.asked.set()
