"""Reading a request's JSON member by member: a wrong type is refused by name, what nobody asked for is left over."""

from collections.abc import Iterator
from typing import Any, NoReturn, Self

import msgspec

from router.domain.errors import InvalidRequest

_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


def raw(value: object) -> msgspec.Raw:
    """`value` as JSON again."""
    return msgspec.Raw(msgspec.json.encode(value))


def wrong(path: str, expected: str, found: object) -> NoReturn:
    """Raise InvalidRequest for the value at `path`."""
    told = "null" if found is None else _NAMES.get(type(found), "something else")
    raise InvalidRequest(f"{path}: expected {expected}, found {told}", param=path)


class Members:
    """One JSON object at `path`, "" for the body. Each member is taken once; null is as good as absent.

    Every reader raises InvalidRequest where the value is of another type.
    """

    __slots__ = ("path", "_left", "_inner")

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            wrong(path or "the body", "an object", value)
        self.path = path
        self._left: dict[str, Any] = dict(value)
        self._inner: list[Members] = []

    @classmethod
    def of_body(cls, body: bytes) -> Self:
        """Raises InvalidRequest where it is no JSON object."""
        try:
            told = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"the body is not valid JSON: {error}") from None
        return cls(told)

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def any(self, name: str) -> Any:
        return self._left.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether it is there, says something, and was not taken."""
        return self._left.get(name) is not None

    def put(self, name: str, value: object) -> None:
        """Give back a member that was taken: it is left over again."""
        self._left[name] = value

    def text(self, name: str, default: str = "") -> str:
        value = self._left.pop(name, None)
        if value is None:
            return default
        return value if isinstance(value, str) else wrong(self.at(name), "a string", value)

    def needed_text(self, name: str) -> str:
        value = self._left.pop(name, None)
        return value if isinstance(value, str) else wrong(self.at(name), "a string", value)

    def flag(self, name: str) -> bool | None:
        value = self._left.pop(name, None)
        return value if value is None or isinstance(value, bool) else wrong(self.at(name), "true or false", value)

    def integer(self, name: str) -> int | None:
        value = self._left.pop(name, None)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        wrong(self.at(name), "an integer", value)

    def number(self, name: str) -> float | None:
        value = self._left.pop(name, None)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        wrong(self.at(name), "a number", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, or one string alone."""
        value = self._left.pop(name, None)
        if isinstance(value, str):
            return (value,)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            wrong(self.at(name), "a string or a list of strings", value)
        return tuple(value)

    def members(self, name: str) -> "Members | None":
        value = self._left.pop(name, None)
        return None if value is None else self.inner(value, self.at(name))

    def needed_object(self, name: str) -> "Members":
        return self.inner(self._left.pop(name, None), self.at(name))

    def inner(self, value: object, path: str) -> "Members":
        """An object inside of this one: what is left of it is left of this."""
        found = Members(value, path)
        self._inner.append(found)
        return found

    def raw_object(self, name: str) -> msgspec.Raw | None:
        """The object as JSON, unread."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        return raw(value) if isinstance(value, dict) else wrong(self.at(name), "an object", value)

    def items(self, name: str) -> "Iterator[tuple[Any, str]]":
        """The members of a list, each with its path."""
        value = self._left.pop(name, None)
        path = self.at(name)
        if value is not None and not isinstance(value, list):
            wrong(path, "a list", value)
        return ((item, f"{path}[{index}]") for index, item in enumerate(value or ()))

    def leave(self, others: dict[str, msgspec.Raw]) -> None:
        """Add to `others` what nobody took, here and further in, by path; null says nothing."""
        for name, value in self._left.items():
            if value is not None:
                others[self.at(name)] = raw(value)
        for inner in self._inner:
            inner.leave(others)
