"""`GET /v1/models`: what this key may use, in OpenAI's shape with a few extras, or Anthropic's when asked for."""

import msgspec
from aiohttp import web

from router.domain.errors import InvalidApiKey, ModelNotFound, ScopeMissing
from router.domain.identity import Principal, Scope
from router.domain.routes import Alias
from router.domain.usage import NanoUSD, Price, usd_text
from router.gateway.plan import find_alias
from router.server.headers import presented_key
from router.server.notes import Notes
from router.server.state import Serving

_CREATED = 1_735_689_600
_CREATED_TEXT = "2025-01-01T00:00:00Z"


class Models:
    """Handlers of `/v1/models` and `/v1/models/{id}`."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def list(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        """Without a key only where `server.public_models` is set, and then names only."""
        principal = await self._reader(request, notes)
        snapshot = self._serving.current.snapshot
        visible = [a for a in snapshot.aliases.values() if principal is None or principal.may_use(a.name)]
        if "anthropic-version" in request.headers:
            return _json(
                {
                    "data": [_anthropic_model(a.name, a, principal) for a in visible],
                    "has_more": False,
                    "first_id": visible[0].name if visible else None,
                    "last_id": visible[-1].name if visible else None,
                }
            )
        return _json({"object": "list", "data": [_openai_model(a.name, a, principal) for a in visible]})

    async def one(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        """One alias by name; a wildcard's names are answered too."""
        principal = await self._reader(request, notes)
        name = notes.rest
        alias = find_alias(self._serving.current.snapshot, name)
        if alias is None or (principal is not None and not principal.may_use(name)):
            raise ModelNotFound(f"the model {name[:256]!r} does not exist or this key may not use it", param="model")
        if "anthropic-version" in request.headers:
            return _json(_anthropic_model(name, alias, principal))
        return _json(_openai_model(name, alias, principal))

    async def _reader(self, request: web.BaseRequest, notes: Notes) -> Principal | None:
        snapshot = self._serving.current.snapshot
        presented = presented_key(request.headers)
        try:
            principal = await self._serving.authenticator.authenticate(snapshot, presented)
        except InvalidApiKey:
            if snapshot.server.public_models:
                return None
            raise
        notes.principal = principal
        if not principal.has_scope(Scope.MODELS):
            raise ScopeMissing("this key lacks the scope 'models'")
        return principal


def _openai_model(name: str, alias: Alias, principal: Principal | None) -> dict[str, object]:
    model: dict[str, object] = {"id": name, "object": "model", "created": _CREATED, "owned_by": "routerd"}
    if principal is None:
        return model
    extras = {
        "type": alias.kind.value,
        "context_window": alias.context_window,
        "max_output_tokens": alias.max_output_tokens,
        "modalities": list(alias.modalities) or None,
        "price": _price(alias.price),
    }
    return model | {key: value for key, value in extras.items() if value is not None}


def _price(price: Price | None) -> dict[str, str] | None:
    """USD per million units, as decimal text: no float ever stands for money."""
    if price is None:
        return None
    named = {name: getattr(price, name) for name in Price.__dataclass_fields__}
    return {name: usd_text(NanoUSD(value)) for name, value in named.items() if value is not None}


def _anthropic_model(name: str, alias: Alias, principal: Principal | None) -> dict[str, object]:
    model: dict[str, object] = {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _CREATED_TEXT,
        "lifecycle": "active",
    }
    if principal is None:
        return model
    return model | {"max_input_tokens": alias.context_window, "max_tokens": alias.max_output_tokens}


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
