"""How many tokens a Messages request would be: Bedrock counts those of a Converse request."""

from typing import Annotated

import msgspec

from router.domain.requests import ModelRequest
from router.domain.usage import NOTHING, Usage
from router.providers.refusals import Cause
from router.providers.translated import Framing, Translated, TranslatedMeter, Translation

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""What of a Converse request counts, and is taken."""
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Told(msgspec.Struct, rename="camel"):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_TOLD = msgspec.json.Decoder(_Told)


class CountTokens:
    """Implements `providers.translation.Translator`, over the lane that would send the request."""

    def __init__(self, lane: Translated) -> None:
        self._lane = lane

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> "CountedRequest":
        made = self._lane.translation(request, model, target)
        members = _MEMBERS.decode(made.body)
        counted = {name: members[name] for name in _COUNTED if name in members}
        return CountedRequest(made, msgspec.json.encode({"input": {"converse": counted}}))


class CountedRequest:
    """Implements `providers.translation.TranslatedRequest`. Counting is free."""

    __slots__ = ("body", "dropped", "parts", "_made")

    def __init__(self, made: Translation, body: bytes) -> None:
        self.body = body
        self.dropped = made.dropped
        self.parts = None
        self._made = made

    @property
    def framing(self) -> Framing:
        return self._made.framing

    def answer(self, body: bytes, at: int, name: str = "") -> tuple[bytes, Usage | None]:
        try:
            told = _TOLD.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"the answer is no count: {error}") from None
        return msgspec.json.encode({"input_tokens": told.input_tokens}), NOTHING

    def refusal(self, status: int, body: bytes, cause: Cause = Cause.BAD_REQUEST, request_id: str = "") -> bytes:
        return self._made.refusal(status, body, cause, request_id)

    def meter(self, at: int, name: str = "") -> TranslatedMeter:
        return self._made.meter(at, name)

    def spent(self) -> None:
        """Nothing was used."""
