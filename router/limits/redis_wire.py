"""RESP2, the protocol of Redis, as far as one command and its one answer need it. Pure: bytes in, bytes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

WORDS_REMEMBERED = 8192

Word = bytes | str | int


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is an error: its code, a space and its text."""

    text: str

    @property
    def is_unknown_script(self) -> bool:
        return self.text.startswith("NOSCRIPT")


Reply = bytes | int | Refused | None


def word(said: Word) -> bytes:
    """A part of a command, as it is sent."""
    text = said if isinstance(said, bytes) else str(said).encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


word_again = lru_cache(WORDS_REMEMBERED)(word)
"""A word that is said often."""


def words(*said: Word) -> list[bytes]:
    """Parts of a command, each as it is sent."""
    return [word(part) for part in said]


def command(parts: Sequence[bytes]) -> bytes:
    """A whole command of what `word` made."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def reply(received: bytes) -> tuple[Reply, int] | None:
    """The answer with which `received` begins, and how long it is; None while it is not whole.

    Arrays are none of the answers that are asked for. Raises ValueError for what is no answer.
    """
    end = received.find(b"\r\n")
    if end < 0:
        return None
    start, kind, head = end + 2, received[:1], received[1:end]
    if kind == b"$":
        size = int(head)
        if size < 0:
            return None, start
        whole = start + size + 2
        return (received[start : whole - 2], whole) if len(received) >= whole else None
    if kind == b":":
        return int(head), start
    if kind == b"+":
        return head, start
    if kind == b"-":
        return Refused(head.decode("utf-8", "replace")), start
    raise ValueError("not an answer")
