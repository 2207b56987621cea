"""What an attempt probably used when its provider did not say."""

from router.domain.requests import Api, ModelRequest
from router.domain.usage import NOTHING, Usage


def estimated_usage(request: ModelRequest, output_tokens: int) -> Usage:
    """A token per four bytes sent, and what was seen come. Nothing of a count of tokens, which is free."""
    if request.api is Api.COUNT_TOKENS:
        return NOTHING
    size, searches = len(request.body), int(request.api is Api.RERANK)
    return Usage(input_tokens=max(1, size // 4), output_tokens=output_tokens, estimated=True, searches=searches)
