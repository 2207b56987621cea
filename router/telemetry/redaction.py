"""The last guard before a log line leaves: secrets become `***`, characters that could act on a terminal become escapes.

Works on encoded JSON, so it covers every field alike, the ones nobody thought of too.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

MAX_FIELD_BYTES = 1024

_HIDDEN = b"***"
_MIN_SECRET = 8

# Our own keys keep their prefix: it is public, and operators search for it.
_OWN_KEY = re.compile(rb"\bsk-([A-Za-z0-9_-]{1,32})\.[^\s\"\\,;<>)\]}&]+")
_SHAPES = re.compile(
    rb"\b(?:sk|gsk|rk|pk|hf|xai|pplx|r8|ghp|xox[abp])[-_][A-Za-z0-9_-]{16,}"
    rb"|\bAIza[A-Za-z0-9_-]{20,}"
    rb"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    rb"|(?<=://)[^\s/\"\\@]*:[^\s/\"\\@]*(?=@)"
    rb"|(?i:(?<=bearer ))[^\s\"\\,]+"
    rb"|(?i:(?<=basic ))[A-Za-z0-9+/=]{8,}"
)
_NAME = rb"(?:api[-_]?key|secret|password|passwd|(?:access|refresh|id|auth)?_?token)"
_NAMED = re.compile(
    rb"(?i)(\b" + _NAME + rb"\s*=\s*(?:\\?[\"'])?"  # password=...
    rb"|[\"']" + _NAME + rb"\\?[\"']\s*:\s*\\?[\"']"  # "password": "..."
    rb"|\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-goog-api-key|api-key):\s*(?:bearer |basic )?)"
    rb"(?!\*\*\*|sk-)[^\s\"'\\,&;}]+"
)

# What no secret of a known shape does without, in lower case.
_MARKS = (
    *(
        "sk-",
        "sk_",
        "gsk",
        "rk-",
        "rk_",
        "pk-",
        "pk_",
        "hf-",
        "hf_",
        "xai",
        "pplx",
        "r8-",
        "r8_",
        "ghp",
        "xox",
        "aiza",
        "eyj",
    ),
    *("://", "bearer", "basic", "key:", "authorization:", "cookie:", "=", '"', "'"),
)

# DEL, C1 controls, line and paragraph separators, bidirectional and zero-width marks: JSON allows them unescaped.
_ACTING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class Redactor:
    """Cleans encoded lines. `secrets` are the values known to this process; those under 8 characters are not searched."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Replace the known secrets; call it after each reload."""
        spellings = {form for s in secrets if len(s) >= _MIN_SECRET for form in (s.encode(), msgspec.json.encode(s)[1:-1])}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._known = re.compile(b"|".join(re.escape(s) for s in longest_first)) if longest_first else None

    def hide(self, line: bytes) -> bytes:
        """The line without known secrets and without anything in the shape of one."""
        if self._known is not None:
            line = self._known.sub(_HIDDEN, line)
        line = _OWN_KEY.sub(rb"sk-\1.***", line)
        line = _SHAPES.sub(_HIDDEN, line)
        return _NAMED.sub(rb"\1***", line)

    def is_clean(self, text: str) -> bool:
        """Whether a short text certainly needs no hiding: ten times cheaper than `hide` on the line it is to stand in."""
        lowered = text.lower()
        if any(mark in lowered for mark in _MARKS):
            return False
        return self._known is None or self._known.search(text.encode("utf-8", "replace")) is None


def escaped(lines: Sequence[bytes]) -> Sequence[bytes]:
    """The same JSON, with every character that could act on a terminal or break a line written as \\uXXXX."""
    text = b"".join(lines)
    if text.isascii() and b"\x7f" not in text:
        return lines
    return [_ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode() for line in lines]


def shorten(text: str, limit: int = MAX_FIELD_BYTES) -> str:
    """At most `limit` bytes of UTF-8 and an ellipsis; lone surrogates, which no encoder takes, become question marks."""
    if len(text) * 4 <= limit and text.isascii():
        return text
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[:limit].decode("utf-8", "ignore") + "…"
