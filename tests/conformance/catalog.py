"""One configuration with a provider and an alias for each exchange, so that none can spoil another's health."""

from typing import Any

from router.domain.requests import Api
from tests.conformance.recordings import Exchange, place_of
from tests.daemon import settings

KINDS = {Api.EMBEDDINGS: "embeddings", Api.MODERATIONS: "moderation", Api.RERANK: "rerank"}
PLENTY = 10**9
LIMITS = (
    *("requests_per_minute", "tokens_per_minute", "per_address_per_minute"),
    *("parallel_requests_key", "parallel_requests_tenant"),
)


def alias_of(of: Exchange) -> str:
    return f"e{of.number}"


def tier_of(of: Exchange) -> str:
    """The tier that leads to the alias: for requests that name no model."""
    return f"t{of.number}"


def upstream_model(of: Exchange) -> str:
    """What the provider is to be told: its deployment's name where it has one, else the model of the recording."""
    return place_of(of, "").deployment or of.model


def configuration(exchanges: list[Exchange], origin: str) -> dict[str, Any]:
    """Everything at `origin`; no limits, no probes. No response is kept here: those that are get ids of ours, and the
    recordings' own are to pass byte for byte (test_kept_responses.py has the others)."""
    places = {of.number: place_of(of, origin) for of in exchanges}
    providers = {f"p{number}": place.provider for number, place in places.items()}
    catalog = {alias_of(of): _alias(of, places[of.number].deployment) for of in exchanges}
    limits = dict.fromkeys(LIMITS, PLENTY)
    tiers = {tier_of(of): alias_of(of) for of in exchanges if "model" not in of.fields}
    return settings(providers, catalog, rate_limits=limits, tiers=tiers, retention={"responses_days": 0})


def _alias(of: Exchange, deployment: str) -> dict[str, Any]:
    target = {"provider": f"p{of.number}", "model": of.model} | ({"deployment": deployment} if deployment else {})
    return {"type": KINDS.get(of.api, "chat"), "targets": [target]}
