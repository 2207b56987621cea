"""The Lua scripts of the shared limiter, as they are sent: each is the clock, the window and its own text. No sockets."""

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
    """How a call of it begins, by the digest under which the server remembers it (`known`) and by its text (`whole`)."""

    text: str
    known: list[bytes] = field(init=False)
    whole: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        # The server names scripts by SHA-1; nothing is secured by it.
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "known", words("EVALSHA", digest))
        object.__setattr__(self, "whole", words("EVAL", self.text))


class Scripts:
    """The three scripts around one clock, whose text defines a Lua function `clock()` in microseconds."""

    def __init__(self, clock: str = _CLOCK) -> None:
        self.acquire, self.restate, self.beat = (Script(clock + _WINDOW + _TEXTS[name]) for name in _NAMES)
