"""Embeddings in common words, and OpenAI's callers of them: texts in, vectors out, in their order."""

import sys
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence

import msgspec

from router.domain.errors import InvalidRequest
from router.domain.usage import Usage
from router.providers.parted.lane import refuse, refuse_others
from router.providers.parted.members import Members, decoded

DROPPED: Mapping[str, str] = {
    "user": "a name for the provider's own watch over abuse; the ledger keeps it",
    "metadata": "no provider of embeddings takes any; the ledger keeps it",
}
"""What of an embeddings request no target but OpenAI's kind is told."""

PURPOSES = {
    "search_document": "search_document",
    "document": "search_document",
    "passage": "search_document",
    "search_query": "search_query",
    "query": "search_query",
    "classification": "classification",
    "clustering": "clustering",
}
"""Values of `input_type`, as Cohere, NVIDIA and Voyage name them, and the one word for each."""

_MOST_INPUTS = 2048
_FLOATS = list[float]
_OF_NUMBERS = b"0123456789+-.eE, \t\r\n"
_Input = str | list[str | int | list[int]]
_INERT = (("stream", b"false"),)


class EmbeddingQuery(msgspec.Struct, frozen=True):
    """`texts` are none where the caller sent tokens. `purpose` is a value of PURPOSES, "" where the caller gave none;
    `is_packed`: vectors as base64 of float32."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    is_packed: bool = False
    purpose: str = ""
    dropped: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Vectors(msgspec.Struct, frozen=True):
    """One part's vectors, each a JSON array as the provider wrote it."""

    vectors: Sequence[msgspec.Raw]
    usage: Usage | None = None


class EmbeddingsCaller:
    """`POST /v1/embeddings`."""

    def decode_query(self, body: bytes) -> EmbeddingQuery:
        members = Members(body)
        members.take("model", str, "a string")
        texts = _texts(members.need("input", _Input, "a string or a list of strings"))
        dimensions = members.take("dimensions", int, "a positive integer")
        if dimensions is not None and dimensions < 1:
            raise InvalidRequest(f"dimensions: expected a positive integer, found {dimensions}", param="dimensions")
        encoding = members.take("encoding_format", str, "float or base64") or "float"
        if encoding not in {"float", "base64"}:
            raise InvalidRequest(f"encoding_format: expected float or base64, found {encoding!r}", param="encoding_format")
        purpose = members.take("input_type", str, "a string") or ""
        if purpose and purpose not in PURPOSES:
            raise InvalidRequest(f"input_type: expected one of {', '.join(PURPOSES)}, found {purpose!r}", param="input_type")
        dropped = members.drop(DROPPED)
        others = members.rest(*_INERT)
        return EmbeddingQuery(texts, dimensions, encoding == "base64", PURPOSES.get(purpose, ""), dropped, others)

    def encode_result(self, query: EmbeddingQuery, pieces: Sequence[Vectors], model: str, usage: Usage) -> bytes:
        vectors = [vector for piece in pieces for vector in piece.vectors]
        if len(vectors) != len(query.texts):
            raise ValueError(f"{len(vectors)} vectors came for {len(query.texts)} inputs")
        data = [
            {"object": "embedding", "index": index, "embedding": _said(vector, query)}
            for index, vector in enumerate(vectors)
        ]
        counts: dict[str, object] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
        if usage.estimated:
            counts["estimated"] = True
        return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": counts})


def _texts(found: _Input) -> tuple[str, ...]:
    """None of tokens."""
    if isinstance(found, str):
        return (found,)
    if not 1 <= len(found) <= _MOST_INPUTS and not (found and isinstance(found[0], int)):
        raise InvalidRequest(f"input: expected 1 to {_MOST_INPUTS} strings, found {len(found)}", param="input")
    texts = tuple(item for item in found if isinstance(item, str))
    if texts and len(texts) != len(found):
        raise InvalidRequest("input: expected strings or tokens, found both", param="input")
    if not texts:
        return ()
    return texts


def check(query: EmbeddingQuery, target: str, *, dimensions: bool = True, purpose: bool = False) -> None:
    """What no target of this kind takes, and of the rest what this one does not. Raises UnsupportedFeature."""
    if not query.texts:
        raise refuse("input", target, "it takes texts, not tokens")
    if query.dimensions is not None and not dimensions:
        raise refuse("dimensions", target, "the size of its vectors is fixed")
    if query.purpose and not purpose:
        raise refuse("input_type", target, "it has no word for it")
    refuse_others(query.others, target)


def _said(vector: msgspec.Raw, query: EmbeddingQuery) -> msgspec.Raw | str:
    """As JSON array untouched, or as base64 of little-endian float32. Raises ValueError where it is no flat vector."""
    text = bytes(vector)
    if text.translate(None, _OF_NUMBERS) != b"[]":
        raise ValueError("an embedding is no list of numbers")
    size = text.count(b",") + 1
    if query.dimensions is not None and size != query.dimensions:
        raise ValueError(f"a vector of {size} dimensions came, {query.dimensions} were asked for")
    if not query.is_packed:
        return vector
    floats = array("f", decoded(text, _FLOATS))
    if sys.byteorder == "big":
        floats.byteswap()
    return b64encode(floats.tobytes()).decode()
