"""Regular expressions of JSON schemas, in time that grows with the text: no pattern of a caller's can hold the process.

Python's own engine tries one way after the other and may take for ever. This one follows all ways at once (Thompson); what
cannot be done so (back references, looking around, word boundaries) it does not know, and says so.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

MOST_STEPS = 2000
"""Of a program: a repetition is written out as often as it counts."""

_QUANTIFIER = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_GROUP = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[dDwWsStnrfv]|[^A-Za-z0-9])", re.DOTALL)
_SIGNS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class UnknownPattern(ValueError):
    """The pattern uses what this engine does not know, or is none."""


class _Step(msgspec.Struct):
    """`one`: reads a character that it takes. Else a fork to `ways`, or an anchor (`^`, `$`) before it, or the end."""

    one: Callable[[str], object] | None = None
    ways: tuple[int, ...] = ()
    anchor: str = ""


class Pattern:
    """A compiled pattern. Step 0 is its beginning; a step without ways is its end."""

    __slots__ = ("_steps",)

    def __init__(self, text: str) -> None:
        self._steps = _Writer(_Reader(text).read()).steps

    def found_in(self, text: str, spend: Callable[[int], None]) -> bool:
        """Whether some part of `text` matches. `spend` is told of the work, and may raise."""
        size = len(text)
        live: set[int] = set()
        for at in range(size + 1):
            live.add(0)
            reached = self._closure(live, at, size)
            spend(len(reached))
            if -1 in reached:
                return True
            if at < size:
                live = {step + 1 for step in reached if (one := self._steps[step].one) is not None and one(text[at])}
        return False

    def _closure(self, live: set[int], at: int, size: int) -> set[int]:
        """All steps that are reached without reading; -1 among them is the end."""
        seen: set[int] = set()
        stack = list(live)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            step = self._steps[number]
            if step.one is not None:
                continue
            if not step.ways:
                return {-1}
            if not step.anchor or (at == 0 if step.anchor == "^" else at == size):
                stack += step.ways
        return seen


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Raises UnknownPattern."""
    return Pattern(text)


class _Piece(msgspec.Struct):
    """A node of the pattern: `one` character or an `anchor`, else `parts` one behind the other, or (`is_choice`) instead of
    one another; the whole of it `low` to `high` times."""

    one: Callable[[str], object] | None = None
    anchor: str = ""
    parts: "tuple[_Piece, ...]" = ()
    is_choice: bool = False
    low: int = 1
    high: int | None = 1


class _Writer:
    """Writes pieces as steps, each behind the one before."""

    def __init__(self, whole: _Piece) -> None:
        self.steps: list[_Step] = []
        self._left = 4 * MOST_STEPS
        self._write(whole)
        self._add(_Step())

    def _add(self, step: _Step) -> int:
        if len(self.steps) >= MOST_STEPS:
            raise UnknownPattern("it is too large")
        self.steps.append(step)
        return len(self.steps) - 1

    def _write(self, piece: _Piece) -> None:
        for _ in range(piece.low):
            self._once(piece)
        if piece.high is None:
            place = self._add(fork := _Step(ways=(0,)))
            self._once(piece)
            self._add(_Step(ways=(place,)))
            fork.ways = (place + 1, len(self.steps))
            return
        forks = []
        for _ in range(piece.high - piece.low):
            forks.append((fork := _Step(ways=(0,)), self._add(fork)))
            self._once(piece)
        for fork, place in forks:
            fork.ways = (place + 1, len(self.steps))

    def _once(self, piece: _Piece) -> None:
        self._left -= 1
        if self._left < 0:
            raise UnknownPattern("it is too large")
        if piece.one is not None:
            self._add(_Step(one=piece.one))
        elif piece.anchor:
            self._add(_Step(ways=(len(self.steps) + 1,), anchor=piece.anchor))
        elif piece.is_choice:
            self._choose(piece.parts)
        else:
            for part in piece.parts:
                self._write(part)

    def _choose(self, parts: tuple[_Piece, ...]) -> None:
        jumps = []
        for part in parts[:-1]:
            place = self._add(fork := _Step(ways=(0,)))
            self._write(part)
            self._add(jump := _Step(ways=(0,)))
            jumps.append(jump)
            fork.ways = (place + 1, len(self.steps))
        self._write(parts[-1])
        for jump in jumps:
            jump.ways = (len(self.steps),)


class _Reader:
    """Recursive descent over alternation, sequence, repetition and atom."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> _Piece:
        try:
            whole = self._alternation()
        except RecursionError:
            raise UnknownPattern("it is nested too deep") from None
        if self._at < len(self._text):
            raise UnknownPattern(f"a bracket is not opened at {self._at}")
        return whole

    def _alternation(self) -> _Piece:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Piece(parts=tuple(parts), is_choice=True)

    def _sequence(self) -> _Piece:
        parts = []
        while self._peek() not in ("", "|", ")"):
            atom = self._atom()
            low, high = self._quantifier()
            parts.append(atom if (low, high) == (1, 1) else _Piece(parts=(atom,), low=low, high=high))
        return _Piece(parts=tuple(parts))

    def _quantifier(self) -> tuple[int, int | None]:
        found = _QUANTIFIER.match(self._text, self._at)
        if (sign := self._peek()) in _SIGNS:
            self._at += 1
            bounds: tuple[int, int | None] = _SIGNS[sign]
        elif found:
            self._at = found.end()
            low = int(found[1])
            bounds = (low, low if not found[2] else int(found[3]) if found[3] else None)
        else:
            return 1, 1
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise UnknownPattern("a repetition ends before it begins")
        if self._peek() == "?":
            self._at += 1  # which way is tried first makes no difference here
        if self._peek() in (*_SIGNS, "{") and self._peek():
            raise UnknownPattern(f"a repetition is repeated at {self._at}")
        return bounds

    def _atom(self) -> _Piece:
        sign = self._peek()
        if sign in "^$":
            self._at += 1
            return _Piece(anchor=sign)
        if sign == "(":
            return self._group()
        if sign in "*+?":
            raise UnknownPattern(f"there is nothing to repeat at {self._at}")
        return _Piece(one=_taker(self._character()))

    def _group(self) -> _Piece:
        self._at += 1
        if self._peek() == "?":
            found = _GROUP.match(self._text, self._at)
            if not found:
                raise UnknownPattern(f"a group of a kind that is not known at {self._at}")
            self._at = found.end()
        inner = self._alternation()
        if self._peek() != ")":
            raise UnknownPattern("a bracket is not closed")
        self._at += 1
        return inner

    def _character(self) -> str:
        """The source of what takes one character."""
        begins = self._at
        sign = self._text[begins]
        self._at += 1
        if sign == "\\":
            found = _ESCAPE.match(self._text, begins)
            if not found:
                raise UnknownPattern(f"an escape that is not known at {begins}")
            self._at = found.end()
        elif sign == "[":
            self._class()
        elif sign != ".":
            return re.escape(sign)
        return self._text[begins : self._at]

    def _class(self) -> None:
        if self._peek() == "^":
            self._at += 1
        while (sign := self._peek()) != "]":
            if not sign or sign == "[":
                raise UnknownPattern(f"a class that is not known at {self._at}")
            found = _ESCAPE.match(self._text, self._at)
            if sign == "\\" and not found:
                raise UnknownPattern(f"an escape that is not known at {self._at}")
            self._at = found.end() if found else self._at + 1
        self._at += 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]


@lru_cache(maxsize=1024)
def _taker(source: str) -> Callable[[str], object]:
    """Of one character Python's engine says at once whether it is taken. Classes are ASCII's, as in ECMAScript."""
    try:
        return re.compile(source, re.ASCII).fullmatch
    except re.error as error:
        raise UnknownPattern(f"{source!r}: {error}") from None
