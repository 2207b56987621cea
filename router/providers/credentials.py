"""Provider keys: which one a request uses, how it is shown to the provider, and how it is kept out of what comes back."""

import re
from collections.abc import Callable, Iterable, Sequence

from router.domain.routes import Credential

MAX_ERROR_BYTES = 64 * 2**10
MASK = b"***"
_SHORTEST_SECRET = 6
# What providers quote of a refused key: the whole of it, or its ends around stars or dots.
_KEY_LIKE = re.compile(rb"\b(?:sk|rk|pk|gsk|xai|hf|nvapi|csk|pplx|sess)[-_][A-Za-z0-9_\-*.\xe2\x80\xa6]{6,}")

AuthHeader = Callable[[Credential], tuple[str, str]]


def choose(credentials: Sequence[Credential], resting: Iterable[str], draw: float) -> Credential | None:
    """One credential with chance by weight among those whose label is not in `resting`; None if none is left.

    `draw` is in [0, 1). Weights that are all 0 count as equal.
    """
    rest = frozenset(resting)
    able = [c for c in credentials if c.label not in rest] if rest else credentials
    if len(able) < 2:
        return able[0] if able else None
    weights = [max(c.weight, 0) for c in able]
    total = sum(weights)
    if total == 0:
        return able[int(draw * len(able))]
    point = draw * total
    for credential, weight in zip(able, weights, strict=True):
        if point < weight:
            return credential
        point -= weight
    return next(c for c in reversed(able) if c.weight > 0)


def bearer(credential: Credential) -> tuple[str, str]:
    return "authorization", f"Bearer {credential.key}"


def api_key(credential: Credential) -> tuple[str, str]:
    return "api-key", credential.key


def subscription_key(credential: Credential) -> tuple[str, str]:
    """Of Azure's services but OpenAI's."""
    return "ocp-apim-subscription-key", credential.key


def x_api_key(credential: Credential) -> tuple[str, str]:
    return "x-api-key", credential.key


def x_goog_api_key(credential: Credential) -> tuple[str, str]:
    return "x-goog-api-key", credential.key


def scrub(body: bytes, credentials: Iterable[Credential]) -> bytes:
    """A provider's error body, fit to be shown: our keys, masked echoes of them and whatever looks like a key replaced
    by `***`; cut at 64 KiB."""
    for credential in credentials:
        secret = credential.key.encode()
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret, MASK)
            masked = rb"%s[\w\-]*[*.]{3,}[\w\-]*" % re.escape(secret[:2])
            body = re.sub(masked, MASK, body)
    return _KEY_LIKE.sub(MASK, body)[:MAX_ERROR_BYTES]
