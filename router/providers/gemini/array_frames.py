"""A stream that is a JSON array: its members, cut out of pieces of any size."""

from collections.abc import Iterator

_MOST_BYTES = 8 * 2**20
_OPENING, _CLOSING = frozenset(b"{["), frozenset(b"}]")
_BEFORE = frozenset((b"[", b" ", b"\t", b"\r", b"\n"))
_QUOTE, _ESCAPE = 0x22, 0x5C


class ArrayCutter:
    """Feed it the bytes of one array of objects."""

    __slots__ = ("_is_array", "_held", "_at", "_depth", "_in_text", "_start")

    def __init__(self) -> None:
        self._is_array = False
        self._held = bytearray()
        self._at = 0
        self._depth = 0
        self._in_text = False
        self._start = 0

    def takes(self, piece: bytes) -> bool:
        """Whether the stream is an array: known by its first byte that is no space."""
        if not self._is_array:
            self._is_array = piece[:1] in _BEFORE and piece.lstrip()[:1] == b"["
        return self._is_array

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The members that have become whole. Raises ValueError for one that is over 8 MiB."""
        held = self._held
        held += piece
        at = self._at
        while at < len(held):
            byte = held[at]
            if self._in_text:
                if byte == _ESCAPE:
                    at += 1
                elif byte == _QUOTE:
                    self._in_text = False
            elif byte == _QUOTE:
                self._in_text = True
            elif byte in _OPENING:
                self._depth += 1
                if self._depth == 2:
                    self._start = at
            elif byte in _CLOSING:
                self._depth -= 1
                if self._depth == 1:
                    yield bytes(held[self._start : at + 1])
                    del held[: at + 1]
                    at = -1
            at += 1
        self._at = at
        if len(held) > _MOST_BYTES:
            raise ValueError(f"a member of the stream is over {_MOST_BYTES} bytes")
