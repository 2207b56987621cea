"""What the gateway sees of a lane: a request told in its target's words, and the way back for what the target says."""

from typing import Protocol

from router.domain.requests import ModelRequest
from router.domain.upstream import Parts
from router.domain.usage import Usage
from router.providers.dialect import StreamMeter
from router.providers.refusals import Cause
from router.providers.translated import Framing


class TranslatedRequest(Protocol):
    """One request in its target's words. `dropped` names what of it the target was not told; `parts` are its bodies where
    it may need several calls."""

    @property
    def body(self) -> bytes: ...

    @property
    def dropped(self) -> tuple[str, ...]: ...

    @property
    def parts(self) -> Parts | None: ...

    @property
    def framing(self) -> Framing: ...

    def answer(self, body: bytes, at: int, name: str = "") -> tuple[bytes, Usage | None]:
        """A whole answer for the caller, and the provider's count; `at` is when, in seconds since the epoch, `name` the id
        of one that has none. Raises ValueError where it is no answer."""
        ...

    def refusal(self, status: int, body: bytes, cause: Cause = Cause.BAD_REQUEST, request_id: str = "") -> bytes:
        """What the target said against the request, in the caller's envelope; `request_id` is the target's."""
        ...

    def meter(self, at: int, name: str = "") -> StreamMeter: ...

    def spent(self) -> Usage | None:
        """What a call that failed has used all the same; None where only the gateway can tell."""
        ...


class Translator(Protocol):
    """One API over another, for one provider."""

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> TranslatedRequest:
        """Idempotent. Raises InvalidRequest, and UnsupportedFeature where it cannot be said to `target`."""
        ...
