"""Moderations in common words, OpenAI's callers of them, and Azure's Content Safety, which judges a text a call."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from router.domain.errors import InvalidRequest
from router.domain.usage import NOTHING, Usage
from router.providers.codec import ToldError
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, refuse, refuse_others
from router.providers.parted.members import Members, decoded

FLAGGED_FROM = 4
"""Of Azure's severities 0, 2, 4, 6: medium, where its own filters begin by default."""

_MOST_SEVERITY = 6
_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
_NAMES = {"Hate": "hate", "SelfHarm": "self-harm", "Sexual": "sexual", "Violence": "violence"}
_Input = str | list[str | dict[str, msgspec.Raw]]
_INERT = (("stream", b"false"),)


class ModerationQuery(msgspec.Struct, frozen=True):
    """`texts` are none where the caller sent something else than texts."""

    texts: tuple[str, ...]
    others: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """Of one text: OpenAI's names of the categories that were judged, with severities of 0 to 1, and those over the line."""

    scores: Mapping[str, float]
    flagged: frozenset[str]
    usage: Usage = NOTHING


class _Analysis(msgspec.Struct):
    category: str
    severity: int | None = None


class _Analyses(msgspec.Struct, rename="camel"):
    categories_analysis: list[_Analysis]


class ModerationsCaller:
    """`POST /v1/moderations`."""

    def decode_query(self, body: bytes) -> ModerationQuery:
        members = Members(body)
        members.take("model", str, "a string")
        given: _Input = members.need("input", _Input, "a string, a list of strings or of parts")
        texts = (given,) if isinstance(given, str) else tuple(one for one in given if isinstance(one, str))
        if isinstance(given, list) and len(texts) != len(given):
            texts = _texts_of(given)
        if given == []:
            raise InvalidRequest("input: expected at least one text, found none", param="input")
        return ModerationQuery(texts, members.rest(*_INERT))

    def encode_result(self, query: ModerationQuery, pieces: Sequence[Verdict], model: str, usage: Usage) -> bytes:
        name = "modr-" + blake2b("\0".join(query.texts).encode(), digest_size=16).hexdigest()
        return msgspec.json.encode({"id": name, "model": model, "results": [_result(one) for one in pieces]})


class ContentSafety:
    """`text:analyze`. Categories it does not judge are not flagged, and said to have been applied to nothing."""

    def encode_query(self, query: ModerationQuery, model: str, target: str) -> Said:
        if not query.texts:
            raise refuse("input", target, "it takes texts alone")
        refuse_others(query.others, target)
        fixed = {"categories": list(_NAMES), "outputType": "FourSeverityLevels"}
        return Said([Part(msgspec.json.encode({"text": text, **fixed}), NOTHING) for text in query.texts])

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Verdict:
        found = decoded(answer, _Analyses).categories_analysis
        severities = {_NAMES[one.category]: one.severity or 0 for one in found if one.category in _NAMES}
        if severities.keys() != set(_NAMES.values()):
            raise ValueError("the answer does not judge every category that was asked for")
        scores = {name: min(max(severity, 0), _MOST_SEVERITY) / _MOST_SEVERITY for name, severity in severities.items()}
        return Verdict(scores, frozenset(name for name, severity in severities.items() if severity >= FLAGGED_FROM))

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


def _texts_of(parts: Sequence[object]) -> tuple[str, ...]:
    """Parts of text are one input together, as OpenAI judges them; nothing where one is an image."""
    texts = []
    for part in parts:
        if not isinstance(part, dict) or bytes(part.get("type", b"")) != b'"text"' or "text" not in part:
            return ()
        try:
            texts.append(msgspec.json.decode(part["text"], type=str))
        except msgspec.MsgspecError:
            raise InvalidRequest("input: the text of a part is not a string", param="input") from None
    return ("\n".join(texts),)


def _result(verdict: Verdict) -> dict[str, object]:
    return {
        "flagged": bool(verdict.flagged),
        "categories": {name: name in verdict.flagged for name in _CATEGORIES},
        "category_scores": {name: verdict.scores.get(name, 0.0) for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] if name in verdict.scores else [] for name in _CATEGORIES},
    }
