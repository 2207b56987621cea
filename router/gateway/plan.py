"""Which alias answers, and its targets in order: pure functions of (snapshot, health view, request facets, draw)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

import msgspec

from router.config.prices import look_up
from router.config.snapshot import Snapshot, UnknownPrice
from router.domain.errors import InvalidRequest, ModelNotFound, ModelRequired
from router.domain.identity import Principal
from router.domain.requests import API_KIND, Api, Kind, ModelRequest
from router.domain.routes import (
    Affinity,
    Alias,
    Candidate,
    Exclusion,
    Facets,
    FallbackReason,
    HealthView,
    Plan,
    Target,
    order_targets,
)
from router.domain.usage import Price
from router.gateway.response_items import message_of

DEFAULTS_KEY = {
    Kind.CHAT: "chat",
    Kind.EMBEDDINGS: "embeddings",
    Kind.IMAGE: "images",
    Kind.AUDIO: "transcription",
    Kind.MODERATION: "moderation",
    Kind.RERANK: "rerank",
}
DOES_NOT_SPEAK = "does not speak"
NO_PRICE = "no price is known"
OWN = "target"
"""How a candidate comes in that is no fallback's."""
_MODEL_NAME = re.compile(r"[!-~]{1,256}")
"""What may pass through a wildcard: it ends up in headers, URLs and logs."""
_NO_CANDIDATES: Mapping[FallbackReason, tuple[Candidate, ...]] = {}


def choose_alias(
    snapshot: Snapshot, principal: Principal, api: Api, model: str | None, tier: str | None
) -> tuple[Alias, str]:
    """The alias for a request and the name it was asked by. Raises ModelRequired, ModelNotFound, InvalidRequest.

    An alias that does not exist and one the caller may not use answer alike, so names cannot be probed.
    """
    kind = API_KIND[api]
    name = model or _unnamed(snapshot, principal, kind, tier)
    alias = find_alias(snapshot, name)
    if alias is None or not principal.may_use(name):
        raise ModelNotFound(f"the model {name!r} does not exist or this key may not use it", param="model")
    if alias.kind is not kind:
        raise InvalidRequest(
            f"the model {name!r} is of type {alias.kind.value}; this route needs {kind.value}", param="model"
        )
    return alias, name


def find_alias(snapshot: Snapshot, name: str) -> Alias | None:
    """By exact name, else by the longest wildcard prefix."""
    alias = snapshot.aliases.get(name)
    if alias is not None or not _MODEL_NAME.fullmatch(name):
        return alias
    return next((w for w in snapshot.wildcards if name.startswith(w.name[:-1])), None)


def _unnamed(snapshot: Snapshot, principal: Principal, kind: Kind, tier: str | None) -> str:
    if tier:
        name = principal.tiers.get(tier) or snapshot.tiers.get(tier)
        if name is None:
            known = ", ".join(sorted({*snapshot.tiers, *principal.tiers})) or "none is configured"
            raise InvalidRequest(f"the tier {tier!r} is not known; known tiers: {known}", param="x-router-tier")
        return name
    key = DEFAULTS_KEY[kind]
    chosen = principal.defaults.get(key) or snapshot.defaults.get(key)
    if chosen is None:
        raise ModelRequired(f"name a model: there is no default for {key} requests", param="model")
    return chosen


def facets_of(alias: Alias, principal: Principal, request: ModelRequest) -> Facets:
    """What of this request can change its route."""
    key = "" if alias.affinity is Affinity.NONE else _affinity_key(alias.affinity, principal, request)
    return Facets(request.api, request.stream, len(request.body), key)


def _affinity_key(affinity: Affinity, principal: Principal, request: ModelRequest) -> str:
    fields = request.fields
    if affinity is Affinity.USER and fields.user:
        return _short_hash(principal.key_id, str(fields.user))
    if affinity is Affinity.CONVERSATION:
        named = fields.prompt_cache_key or fields.previous_response_id
        opening = str(named).encode() if named else _opening(request)
        return _short_hash(principal.key_id, opening) if opening else principal.key_id
    return principal.key_id


def _opening(request: ModelRequest) -> bytes:
    """The turns up to the first one of the user: what stays the same while a conversation grows."""
    raw = bytes(request.fields.messages or request.fields.input)
    if request.api is Api.RESPONSES and raw[:1] == b'"':
        return message_of(raw)  # as it is told again, in front of its second turn
    try:
        turns = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.MsgspecError:
        return raw
    opening: list[bytes] = []
    for turn in turns:
        opening.append(bytes(turn))
        if b'"user"' in opening[-1]:
            break
    return b"\0".join(opening)


def _short_hash(salt: str, text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return blake2b(raw, key=salt.encode()[:64], digest_size=12).hexdigest()


def make_plan(snapshot: Snapshot, health: HealthView, named: tuple[Alias, str], facets: Facets, draw: float) -> Plan:
    """The plan for an alias as `choose_alias` returned it. Same arguments, same plan: `explain` and replay call this too."""
    alias, requested = named
    planner = _Planner(snapshot, health, facets, draw, [])
    own = planner.candidates(alias, requested, OWN)
    typed = (
        {reason: tuple(planner.fallbacks(alias, reason)) for reason in alias.fallbacks}
        if alias.fallbacks
        else _NO_CANDIDATES
    )
    return Plan(alias, requested, tuple(own), typed, tuple(planner.excluded), facets, draw)


@dataclass(slots=True)
class _Planner:
    """What every step of one plan shares; `excluded` collects what was left out."""

    snapshot: Snapshot
    health: HealthView
    facets: Facets
    draw: float
    excluded: list[Exclusion]

    def candidates(self, alias: Alias, requested: str, via: str) -> list[Candidate]:
        usable: list[Target] = []
        targets = self._priced(alias, requested) if alias.is_wildcard else alias.targets
        for target in targets:
            reason = self._why_not(target)
            if reason:
                self.excluded.append(Exclusion(target, reason))
            else:
                usable.append(target)
        ordered = order_targets(alias, usable, self.health, self.draw, self.facets.affinity_key)
        return [Candidate(t, alias, _upstream_model(alias, t, requested), via) for t in ordered]

    def fallbacks(self, alias: Alias, reason: FallbackReason) -> list[Candidate]:
        """Targets of the aliases named for `reason`, then of their own defaults: the graph is acyclic, so this ends."""
        found: list[Candidate] = []
        for name in alias.fallbacks.get(reason, ()):
            other = find_alias(self.snapshot, name)
            if other is not None:
                found += self.candidates(other, name, f"{reason.value}: {name}")
                found += self.fallbacks(other, FallbackReason.DEFAULT)
        return found

    def _priced(self, alias: Alias, requested: str) -> list[Target]:
        """A wildcard's targets at the price of the model they are asked for: the table could not know it before."""
        free = self.snapshot.unknown_price is UnknownPrice.FREE
        types = self.snapshot.providers
        return [
            t if t.price is not None else _with_price(t, types[t.provider].type, _upstream_model(alias, t, requested), free)
            for t in alias.targets
        ]

    def _why_not(self, target: Target) -> str:
        if target.id in self.health.ejected:
            return "ejected"
        provider = self.snapshot.providers[target.provider]
        if self.facets.api not in provider.apis and self.facets.api not in provider.translates:
            return f"{provider.name} {DOES_NOT_SPEAK} {self.facets.api.value}"
        if target.price is None and self.snapshot.unknown_price is UnknownPrice.REJECT:
            return NO_PRICE
        return ""


@lru_cache(maxsize=4096)
def _with_price(target: Target, provider_type: str, model: str, is_free: bool) -> Target:
    listed = look_up(provider_type, model)
    return replace(target, price=listed.price if listed else Price(0, 0) if is_free else None)


def _upstream_model(alias: Alias, target: Target, requested: str) -> str:
    if target.model and target.model != "*":
        return target.model
    return requested[len(alias.name) - 1 :] if alias.is_wildcard else requested
