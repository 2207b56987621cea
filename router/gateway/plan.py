"""Which alias answers, and its targets in order: pure functions of (snapshot, health view, API, affinity, draw)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

import msgspec

from router.config.prices import look_up
from router.config.snapshot import Snapshot, UnknownPrice
from router.domain.errors import InvalidRequest, ModelNotFound, ModelRequired
from router.domain.identity import Principal
from router.domain.requests import API_KIND, Api, Kind, ModelRequest
from router.domain.routes import (
    ALL_WELL,
    WATCHING,
    Affinity,
    Alias,
    Candidate,
    Dice,
    Exclusion,
    FallbackReason,
    HealthView,
    Plan,
    Target,
    dice_of,
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
EJECTED = "ejected"
_NO_AFFINITY = Affinity.NONE
OWN = "target"
"""How a candidate comes in that is no fallback's."""
_MODEL_NAME = re.compile(r"[!-~]{1,256}")
"""What may pass through a wildcard: it ends up in headers, URLs and logs."""


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


def affinity_key(alias: Alias, principal: Principal, request: ModelRequest) -> str:
    """What keeps requests at one target: those with the same key find it as long as it stands. "" where nothing does."""
    affinity, fields = alias.affinity, request.fields
    if affinity is _NO_AFFINITY:
        return ""
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


class Option(msgspec.Struct, frozen=True):
    """One target of an alias. `reason` is why it can never serve these requests, "" where it can."""

    target: Target
    candidate: Candidate
    reason: str


class Stock(msgspec.Struct, frozen=True):
    """All targets of one alias, as one name and one API find them."""

    alias: Alias
    options: tuple[Option, ...]


class Survey(msgspec.Struct, frozen=True):
    """Everything of a plan that is known before its request: who could be asked, for the alias itself and for each reason
    to ask another. `able` are the alias's own that can serve; `dice` say which of them is first while all is well, None
    where that takes more than the draw."""

    alias: Alias
    requested: str
    own: Stock
    typed: Mapping[FallbackReason, tuple[Stock, ...]]
    able: tuple[Candidate, ...]
    dice: Dice | None


def survey(snapshot: Snapshot, named: tuple[Alias, str], api: Api) -> Survey:
    """Who could answer requests of `api` for an alias as `choose_alias` returned it."""
    alias, requested = named
    own = _stock(snapshot, alias, requested, OWN, api)
    typed = {reason: tuple(_fallbacks(snapshot, alias, reason, api)) for reason in alias.fallbacks}
    able = tuple(option.candidate for option in own.options if not option.reason)
    is_by_draw = able and alias.affinity is _NO_AFFINITY and alias.strategy not in WATCHING
    dice = dice_of(alias.strategy, [candidate.target for candidate in able], ALL_WELL) if is_by_draw else None
    return Survey(alias, requested, own, typed, able, dice)


def first_of(found: Survey, health: HealthView, affinity: str, draw: float) -> Candidate | None:
    """The first of `plan_of`. While all is well it is known without putting the others in order."""
    dice, able = found.dice, found.able
    if dice is None or health is not ALL_WELL:
        if affinity or not able or not health.is_well:
            return plan_of(found, health, affinity, draw).first
        dice = dice_of(found.alias.strategy, [candidate.target for candidate in able], health)
    return able[dice.throw(draw)]


def plan_of(found: Survey, health: HealthView, affinity: str, draw: float) -> Plan:
    """The plan for one request: who is left out for now, and in which order the others are asked."""
    excluded: list[Exclusion] = []
    own = tuple(_ordered(found.own, health, affinity, draw, excluded))
    typed = {
        reason: tuple([c for stock in stocks for c in _ordered(stock, health, affinity, draw, excluded)])
        for reason, stocks in found.typed.items()
    }
    return Plan(found.alias, found.requested, own, typed, tuple(excluded))


def make_plan(
    snapshot: Snapshot, health: HealthView, named: tuple[Alias, str], api: Api, draw: float, *, affinity: str = ""
) -> Plan:
    """The plan for an alias as `choose_alias` returned it. Same arguments, same plan: `explain` and replay call this; live
    traffic keeps the survey. `draw` is in [0, 1), `affinity` an `affinity_key`."""
    return plan_of(survey(snapshot, named, api), health, affinity, draw)


def _ordered(stock: Stock, health: HealthView, affinity: str, draw: float, excluded: list[Exclusion]) -> Iterator[Candidate]:
    """The candidates in the order to try them; `excluded` gets what was left out."""
    usable: list[Target] = []
    candidates: dict[int, Candidate] = {}
    for option in stock.options:
        reason = EJECTED if option.target.id in health.ejected else option.reason
        if reason:
            excluded.append(Exclusion(option.target, reason))
        else:
            usable.append(option.target)
            candidates[id(option.target)] = option.candidate
    for target in order_targets(stock.alias, usable, health, draw, affinity):
        yield candidates[id(target)]


def _stock(snapshot: Snapshot, alias: Alias, requested: str, via: str, api: Api) -> Stock:
    targets = _priced(snapshot, alias, requested) if alias.is_wildcard else alias.targets
    options = tuple(
        Option(t, Candidate(t, alias, _upstream_model(alias, t, requested), via), _why_not(snapshot, t, api))
        for t in targets
    )
    return Stock(alias, options)


def _fallbacks(snapshot: Snapshot, alias: Alias, reason: FallbackReason, api: Api) -> Iterator[Stock]:
    """The aliases named for `reason`, then their own defaults: the graph is acyclic, so this ends."""
    for name in alias.fallbacks.get(reason, ()):
        other = find_alias(snapshot, name)
        if other is not None:
            yield _stock(snapshot, other, name, f"{reason.value}: {name}", api)
            yield from _fallbacks(snapshot, other, FallbackReason.DEFAULT, api)


def _priced(snapshot: Snapshot, alias: Alias, requested: str) -> list[Target]:
    """A wildcard's targets at the price of the model they are asked for: the table could not know it before."""
    free = snapshot.unknown_price is UnknownPrice.FREE
    types = snapshot.providers
    return [
        t if t.price is not None else _with_price(t, types[t.provider].type, _upstream_model(alias, t, requested), free)
        for t in alias.targets
    ]


def _why_not(snapshot: Snapshot, target: Target, api: Api) -> str:
    provider = snapshot.providers[target.provider]
    if api not in provider.apis and api not in provider.translates:
        return f"{provider.name} {DOES_NOT_SPEAK} {api.value}"
    if target.price is None and snapshot.unknown_price is UnknownPrice.REJECT:
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
