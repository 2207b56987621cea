"""Signatures and sealed reasoning of one family, carried through another's caller where its dialect has a place.

A caller gives back what it was given, so the next turn brings them to the provider that can read them. What is carried was
never secret from the caller: the provider sent it for exactly this.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from router.domain.chat import Family

_MARK = "routerd1."


class Carried(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """`call_id`: the signature is that of this tool call, not of a thought."""

    family: Family
    signature: str = ""
    encrypted: str = ""
    id: str = ""
    call_id: str = ""
    is_summary: bool = False


_DECODER = msgspec.json.Decoder(Carried)


def packed(carried: Carried) -> str:
    return _MARK + urlsafe_b64encode(msgspec.json.encode(carried)).decode().rstrip("=")


def unpacked(text: str) -> Carried | None:
    """None where it is nothing that was packed here."""
    if not text.startswith(_MARK):
        return None
    body = text.removeprefix(_MARK)
    try:
        return _DECODER.decode(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, msgspec.MsgspecError):
        return None
