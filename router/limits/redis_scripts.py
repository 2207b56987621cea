"""The Lua scripts of the shared limiter, as they are sent: each is the clock, the window and its own text. No sockets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path

from router.limits.redis_wire import words

_FOLDER = Path(__file__).parent / "scripts"
_CLOCK = (_FOLDER / "clock.lua").read_text(encoding="utf-8")
_WINDOW = (_FOLDER / "window.lua").read_text(encoding="utf-8")
_NAMES = ("acquire", "restate", "beat")
_TEXTS = {name: (_FOLDER / f"{name}.lua").read_text(encoding="utf-8") for name in _NAMES}


@dataclass(frozen=True, slots=True)
class Script:
    """A script by its text and by the digest under which the server remembers it; `call` is how a call of it begins."""

    text: str
    call: Sequence[bytes] = field(init=False)

    def __post_init__(self) -> None:
        # The server names scripts by SHA-1; nothing is secured by it.
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "call", words("EVALSHA", digest))


class Scripts:
    """The three scripts around one clock, whose text defines a Lua function `clock()` in microseconds."""

    def __init__(self, clock: str = _CLOCK) -> None:
        self.acquire, self.restate, self.beat = (Script(clock + _WINDOW + _TEXTS[name]) for name in _NAMES)
