"""Flows and iterators, each as the other."""

from collections.abc import AsyncIterator

import pytest

from router.domain.flow import Drawn, Take, pieces_of


async def letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b", b"c"):
        yield letter


class Breaking:
    """Hands over one piece, and breaks."""

    async def pour(self, take: Take) -> bytes | None:
        take(b"a")
        raise LookupError


class Ending:
    """Hands over one piece; another comes with the end."""

    def __init__(self) -> None:
        self._has_begun = False

    async def pour(self, take: Take) -> bytes | None:
        if self._has_begun:
            return b"b"
        self._has_begun = True
        take(b"a")
        return None


async def test_what_is_drawn_goes_on_where_its_taker_had_enough() -> None:
    flow, taken = Drawn(letters()), list[bytes]()

    def one(piece: bytes) -> bool:
        taken.append(piece)
        return False

    assert await flow.pour(one) is None
    assert taken == [b"a"]
    while await flow.pour(one) is None:
        pass
    assert taken == [b"a", b"b", b"c"]


async def test_the_pieces_of_a_flow_are_all_of_them_up_to_its_end() -> None:
    assert [piece async for piece in pieces_of(Drawn(letters()))] == [b"a", b"b", b"c"]
    assert [piece async for piece in pieces_of(Ending())] == [b"a", b"b"]


async def test_the_piece_over_which_a_flow_breaks_is_read_before_the_break() -> None:
    pieces = pieces_of(Breaking())
    assert await anext(pieces) == b"a"
    with pytest.raises(LookupError):
        await anext(pieces)
