"""How many searches a request for reranking can be billed as, from its bytes. Pure."""

import msgspec

_CHUNKS_PER_SEARCH = 100
"""Cohere and Bedrock sell a query over up to a hundred documents as one search."""

_CHUNK_TOKENS = 500
"""A document that is longer together with the query counts as several: 500 tokens at Cohere, 512 at Bedrock."""


class _Asked(msgspec.Struct):
    query: str = ""
    documents: list[msgspec.Raw] = []


_ASKED = msgspec.json.Decoder(_Asked)


def most_searches(body: bytes) -> int:
    """At most; a byte is at most a token. A body that is no such request is refused elsewhere, and costs one."""
    try:
        asked = _ASKED.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return 1
    room = max(1, _CHUNK_TOKENS - len(asked.query.encode()))
    chunks = sum(1 + len(bytes(document)) // room for document in asked.documents)
    return max(1, -(-chunks // _CHUNKS_PER_SEARCH))
