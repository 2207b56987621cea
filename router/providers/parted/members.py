"""Top-level members of a caller's JSON body, read one by one: what is wrong is told by its name."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from router.domain.errors import InvalidRequest

T = TypeVar("T")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Members:
    """The members of one body that were not taken yet; null is as good as absent."""

    def __init__(self, body: bytes) -> None:
        try:
            found = _MEMBERS.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidRequest(f"the body is not a JSON object: {error}") from None
        self._left = {name: raw for name, raw in found.items() if bytes(raw) != b"null"}

    def take(self, name: str, kind: type[T], expected: str) -> T | None:
        """The member's value, None where it is absent. Raises InvalidRequest naming it."""
        found: T | None = self.take_any(name, kind, expected)
        return found

    def take_any(self, name: str, kind: Any, expected: str) -> Any:
        """The same for what is no class: a union."""
        raw = self._left.pop(name, None)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.MsgspecError, RecursionError):
            raise InvalidRequest(f"{name}: expected {expected}", param=name) from None

    def need(self, name: str, kind: Any, expected: str) -> Any:
        found = self.take_any(name, kind, expected)
        if found is None:
            raise InvalidRequest(f"{name}: expected {expected}, found nothing", param=name)
        return found

    def drop(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """Those of `names` that are there, no longer left."""
        return tuple(name for name in names if self._left.pop(name, None) is not None)

    def rest(self, *inert: tuple[str, bytes]) -> tuple[str, ...]:
        """What was not taken, but for members with a value that asks for nothing."""
        return tuple(name for name, raw in self._left.items() if (name, bytes(raw)) not in inert)


def decoded(answer: bytes, kind: Any) -> Any:
    """An answer as `kind`. Raises ValueError where it is none."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the answer is not what its API says: {error}") from None


def packed(texts: tuple[str, ...], most: int) -> list[tuple[str, ...]]:
    """In their order, at most `most` together."""
    return [texts[at : at + most] for at in range(0, len(texts), most)]
