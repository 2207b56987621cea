"""Ids for calls of tools where a provider gives none: made from the call's place, so that a turn makes the same again."""

from hashlib import sha256


def made_call_id(turn: int, number: int, answer: str = "") -> str:
    """The id of the call `number` of the turn `turn`, both counted from 0; `answer` is the id of what it stands in."""
    return f"call_{sha256(f'{answer}{turn}.{number}'.encode()).hexdigest()[:24]}"


def nine_letters(call_id: str) -> str:
    """`call_id` as Mistral takes ids: nine letters or digits. Another's is hashed, the same each time."""
    is_fit = len(call_id) == 9 and call_id.isascii() and call_id.isalnum()
    return call_id if is_fit else sha256(call_id.encode()).hexdigest()[:9]
