"""Values of a type as a provider's own SDK declares it: what that provider may answer, member by member."""

import types
import typing
from datetime import datetime
from enum import Enum
from random import Random
from typing import Any, Literal, Union

from pydantic import BaseModel

_DEEPEST = 7
_MOST_IN_A_LIST = 2


class SdkValues:
    """Draws JSON values. What may be left out is left out now and then, or null; each text is one of its own."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._texts = 0

    def of(self, kind: Any, depth: int = 0) -> Any:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self.of(inner[0], depth)
        if origin is Literal:
            return self._rng.choice(inner)
        if origin in (Union, types.UnionType):
            return self._of_one(inner, depth)
        if origin in (list, tuple) or kind is list:
            many = 0 if depth > _DEEPEST else self._rng.randint(0, _MOST_IN_A_LIST)
            return [self.of(inner[0] if inner else str, depth + 1) for _ in range(many)]
        if origin is dict or kind is dict:
            return {self._text(): self._rng.choice([1, "x", None, True]) for _ in range(self._rng.randint(0, 2))}
        return self._plain(kind, depth)

    def _of_one(self, kinds: tuple[Any, ...], depth: int) -> Any:
        if type(None) in kinds and self._rng.random() < 0.4:
            return None
        some = [kind for kind in kinds if kind is not type(None)]
        return self.of(self._rng.choice(some), depth)

    def _plain(self, kind: Any, depth: int) -> Any:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return self._object(kind, depth)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._rng.choice([each.value for each in kind] or ["NEW"])
        plain: dict[Any, Any] = {bool: True, int: self._rng.randint(0, 99), float: -0.5, bytes: "aGk=", type(None): None}
        if kind is datetime:
            return "2026-01-02T03:04:05Z"
        return plain.get(kind, self._text())

    def _object(self, model: type[BaseModel], depth: int) -> dict[str, Any]:
        made = {}
        for name, field in model.model_fields.items():
            if not field.is_required() and (depth > _DEEPEST or self._rng.random() < 0.4):
                continue
            made[field.alias or name] = self.of(field.annotation, depth + 1)
        return made

    def _text(self) -> str:
        self._texts += 1
        return self._rng.choice(["", f"text {self._texts}", f"TEXT{self._texts:04d}K"])
