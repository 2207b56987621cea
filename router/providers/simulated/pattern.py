"""A short string that matches a regular expression, for the patterns JSON schemas use; None where it cannot tell."""

import re
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase, digits

from router.providers.simulated.text import Draws

_WORD = ascii_lowercase + ascii_uppercase + digits + "_"
_ANY = ascii_lowercase + digits
_SIGNS = "-_.:/@#+ "
_ESCAPES = {"d": digits, "w": _WORD, "s": " ", "D": ascii_lowercase, "W": "-", "S": _ANY, "t": "\t", "n": "\n", "r": "\r"}
_MOST = 256
_QUANTIFIER = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")


class _Unsupported(Exception):
    """The pattern uses something this generator does not know."""


def matching(pattern: str, draws: Draws) -> str | None:
    """A string in which `pattern` is found, checked with `re`; None if none was made."""
    try:
        found = _Reader(pattern, draws).read()
        return found if re.search(pattern, found) else None
    except (_Unsupported, re.error, IndexError, RecursionError):
        return None


class _Reader:
    """Recursive descent over alternation, sequence, quantifier, group, class, escape and literal."""

    def __init__(self, pattern: str, draws: Draws) -> None:
        self._text = pattern
        self._at = 0
        self._draws = draws

    def read(self) -> str:
        made = self._alternation()
        if self._at < len(self._text):
            raise _Unsupported
        return made

    def _alternation(self) -> str:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        return self._draws.pick(branches)

    def _sequence(self) -> str:
        made: list[str] = []
        while self._peek() not in ("", "|", ")"):
            start = self._at
            piece = self._atom()
            after = self._at
            low, high = self._quantifier()
            count = low + self._draws.below(min(high, low + 3) - low + 1)
            if count > _MOST:
                raise _Unsupported
            if count:
                made.append(piece)
            end = self._at
            # Each repetition reads the atom again, so that its characters differ.
            for _ in range(count - 1):
                self._at = start
                made.append(self._atom())
            self._at = max(end, after)
        return "".join(made)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _quantifier(self) -> tuple[int, int]:
        sign = self._peek()
        found = _QUANTIFIER.match(self._text, self._at)
        if sign and sign in "*+?":
            self._at += 1
            bounds = {"*": (0, 3), "+": (1, 4), "?": (0, 1)}[sign]
        elif found:
            self._at = found.end()
            low = int(found[1])
            bounds = (low, low if not found[2] else int(found[3]) if found[3] else low + 3)
        else:
            return 1, 1
        if self._peek() in ("?", "+"):
            self._at += 1
        return bounds

    def _atom(self) -> str:
        sign = self._text[self._at]
        self._at += 1
        if sign in "^$":
            return ""
        if sign == ".":
            return self._draws.pick(_ANY)
        if sign == "\\":
            return self._draws.pick(self._escape())
        if sign == "[":
            return self._draws.pick(self._class())
        if sign == "(":
            return self._group()
        return sign

    def _escape(self) -> str:
        sign = self._text[self._at]
        self._at += 1
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign.isalnum():
            raise _Unsupported
        return sign

    def _group(self) -> str:
        if self._peek() == "?":
            if self._text.startswith("?:", self._at):
                self._at += 2
            elif self._text.startswith("?P<", self._at):
                self._at = self._text.index(">", self._at) + 1
            else:
                raise _Unsupported
        made = self._alternation()
        if self._peek() != ")":
            raise _Unsupported
        self._at += 1
        return made

    def _class(self) -> str:
        is_negated = self._peek() == "^"
        self._at += is_negated
        members = "".join(self._members())
        if not is_negated:
            return members
        return "".join(c for c in _WORD + _SIGNS if c not in members)

    def _members(self) -> Iterator[str]:
        first = self._at
        while self._text[self._at] != "]" or self._at == first:
            sign = self._text[self._at]
            self._at += 1
            if sign == "\\":
                yield self._escape()
            elif self._text[self._at] == "-" and self._text[self._at + 1] != "]":
                last = self._text[self._at + 1]
                self._at += 2
                yield "".join(map(chr, range(ord(sign), min(ord(last), ord(sign) + 127) + 1)))
            else:
                yield sign
        self._at += 1
