"""Ids for calls of tools where a provider gives none: made from the call's place, so that a turn makes the same again."""

from hashlib import sha256


def made_call_id(turn: int, number: int) -> str:
    """The id of the call `number` of the turn `turn`, both counted from 0."""
    return f"call_{sha256(f'{turn}.{number}'.encode()).hexdigest()[:24]}"
