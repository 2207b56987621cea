"""RESP2, the protocol of Redis, as far as one command and its one answer need it. Pure: bytes in, bytes out."""

from collections.abc import Sequence
from dataclasses import dataclass

Word = bytes | str | int


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is an error: its code, a space and its text."""

    text: str


Reply = bytes | int | Refused | None


def words(*said: Word) -> list[bytes]:
    """Parts of a command, each as it is sent."""
    texts = [word if isinstance(word, bytes) else str(word).encode() for word in said]
    return [b"$%d\r\n%b\r\n" % (len(text), text) for text in texts]


def command(parts: Sequence[bytes]) -> bytes:
    """A whole command of what `words` made."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def reply(received: bytes) -> tuple[Reply, int] | None:
    """The answer with which `received` begins, and how long it is; None while it is not whole.

    Arrays are none of the answers that are asked for. Raises ValueError for what is no answer.
    """
    head, end, _ = received.partition(b"\r\n")
    if not end:
        return None
    start, kind = len(head) + 2, head[:1]
    if kind == b"$":
        size = int(head[1:])
        if size < 0:
            return None, start
        whole = start + size + 2
        return (received[start : start + size], whole) if len(received) >= whole else None
    if kind == b":":
        return int(head[1:]), start
    if kind == b"+":
        return head[1:], start
    if kind == b"-":
        return Refused(head[1:].decode("utf-8", "replace")), start
    raise ValueError("not an answer")
