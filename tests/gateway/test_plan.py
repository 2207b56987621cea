"""Which alias answers, and why not another."""

from typing import Any

import pytest

from router.domain.errors import InvalidRequest, ModelNotFound, ModelRequired
from router.domain.identity import ModelSet
from router.domain.requests import Api, Kind
from router.domain.routes import ALL_WELL, Affinity, Alias, FallbackReason, HealthView, Plan, Target
from router.gateway.plan import affinity_key, choose_alias, first_of, make_plan, survey
from tests.gateway.fakes import chat, principal, snapshot, spec


def alias(name: str, *providers: str, kind: Kind = Kind.CHAT, **changes: Any) -> Alias:
    targets = tuple(Target(f"{p}/m-{p}", p, f"m-{p}") for p in providers)
    return Alias(name, kind, targets, **changes)


SNAP = snapshot(
    alias("small", "p"),
    alias("big", "p"),
    alias("vectors", "p", kind=Kind.EMBEDDINGS),
    Alias("openai/*", Kind.CHAT, (Target("p/*", "p", ""),)),
    Alias("openai/o*", Kind.CHAT, (Target("q/*", "q", "*"),)),
    tiers={"fast": "small", "smart": "big"},
    defaults={"chat": "small", "embeddings": "vectors"},
)


def chosen(model: str | None = None, tier: str | None = None, api: Api = Api.CHAT, **who: Any) -> str:
    return choose_alias(SNAP, principal(**who), api, model, tier)[0].name


def test_a_named_model_is_that_alias() -> None:
    assert chosen("big") == "big"


def test_a_request_without_a_model_goes_to_the_tier_then_the_tenants_default_then_the_files() -> None:
    assert chosen(tier="smart", defaults={"chat": "small"}) == "big"
    assert chosen(defaults={"chat": "big"}) == "big"
    assert chosen() == "small"
    assert chosen(api=Api.EMBEDDINGS) == "vectors"


def test_a_tenants_own_tier_beats_the_files() -> None:
    assert chosen(tier="fast", tiers={"fast": "big"}) == "big"


def test_an_unknown_tier_names_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="known tiers: fast, smart"):
        chosen(tier="slow")


def test_no_default_for_the_kind_is_said() -> None:
    with pytest.raises(ModelRequired, match="moderation"):
        chosen(api=Api.MODERATIONS)


def test_a_forbidden_and_an_absent_model_answer_alike() -> None:
    with pytest.raises(ModelNotFound) as absent:
        chosen("nope")
    with pytest.raises(ModelNotFound) as forbidden:
        chosen("big", tenant_models=ModelSet.of(["small"]))
    with pytest.raises(ModelNotFound) as by_key:
        chosen("big", key_models=ModelSet.of(["small"]))
    texts = {str(e.value).replace("nope", "X").replace("big", "X") for e in (absent, forbidden, by_key)}
    assert len(texts) == 1


def test_an_alias_of_another_kind_is_refused_by_type() -> None:
    with pytest.raises(InvalidRequest, match="of type embeddings"):
        chosen("vectors")


def test_a_wildcard_passes_the_rest_of_the_name_and_the_longest_prefix_wins() -> None:
    snap = snapshot(*SNAP.aliases.values(), *sorted(SNAP.wildcards, key=lambda a: -len(a.name)))
    for name, provider, model in (("openai/gpt-9", "p", "gpt-9"), ("openai/o7", "q", "7")):
        named = choose_alias(snap, principal(), Api.CHAT, name, None)
        plan = make_plan(snap, ALL_WELL, named, Api.CHAT, 0.5)
        assert [(c.target.provider, c.upstream_model) for c in plan.candidates] == [(provider, model)]


@pytest.mark.parametrize("name", ["openai/a\r\nX-Evil: 1", "openai/ü", "openai/" + "x" * 300, "openai/a b"])
def test_a_name_that_could_not_stand_in_a_header_does_not_pass_a_wildcard(name: str) -> None:
    with pytest.raises(ModelNotFound):
        chosen(name)


def plan_of(
    snap_alias: Alias, *others: Alias, health: HealthView = ALL_WELL, api: Api = Api.CHAT, draw: float = 0.5
) -> Plan:
    snap = snapshot(snap_alias, *others, providers=[spec("chatty", apis=frozenset({Api.CHAT}))])
    return make_plan(snap, health, (snap_alias, snap_alias.name), api, draw)


def test_ejected_targets_are_left_out_and_named() -> None:
    plan = plan_of(alias("a", "p", "q"), health=HealthView(ejected=frozenset({"p/m-p"})))
    assert [c.target.provider for c in plan.candidates] == ["q"]
    assert [(e.target.id, e.reason) for e in plan.excluded] == [("p/m-p", "ejected")]


def test_a_target_whose_provider_does_not_speak_the_api_is_left_out() -> None:
    plan = plan_of(alias("a", "chatty", "p"), api=Api.RESPONSES)
    assert [c.target.provider for c in plan.candidates] == ["p"]
    assert "does not speak responses" in plan.excluded[0].reason


def test_fallbacks_are_followed_to_their_own_fallbacks() -> None:
    first = alias("a", "p", fallbacks={FallbackReason.DEFAULT: ("b",), FallbackReason.RATE_LIMITED: ("c",)})
    second = alias("b", "q", fallbacks={FallbackReason.DEFAULT: ("c",)})
    plan = plan_of(first, second, alias("c", "r"))
    assert [c.target.provider for c in plan.typed[FallbackReason.DEFAULT]] == ["q", "r"]
    assert [c.target.provider for c in plan.typed[FallbackReason.RATE_LIMITED]] == ["r"]


def test_the_same_arguments_make_the_same_plan() -> None:
    of = alias("a", "p", "q", "r")
    assert plan_of(of, draw=0.3) == plan_of(of, draw=0.3)


@pytest.mark.parametrize("health", [ALL_WELL, HealthView(ejected=frozenset({"p/m-p"}))])
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("speaks", [True, False])
def test_whom_live_traffic_asks_first_is_the_first_of_the_plan(health: HealthView, draw: float, speaks: bool) -> None:
    fallbacks = {FallbackReason.DEFAULT: ("b",)}
    of = alias("a", "p", "q", "r", fallbacks=fallbacks) if speaks else alias("a", "chatty", fallbacks=fallbacks)
    snap = snapshot(of, alias("b", "s"), providers=[spec("chatty", apis=frozenset({Api.CHAT}))])
    first = first_of(survey(snap, (of, "a"), Api.RESPONSES), health, "", draw)
    assert first == make_plan(snap, health, (of, "a"), Api.RESPONSES, draw).first
    assert first is not None and first.target.provider in ("pqr" if speaks else "s")


def test_conversation_affinity_holds_while_the_conversation_grows() -> None:
    of = alias("a", "p", affinity=Affinity.CONVERSATION)
    opening = [{"role": "system", "content": "s"}, {"role": "user", "content": "first"}]
    grown = [*opening, {"role": "assistant", "content": "x"}, {"role": "user", "content": "second"}]
    keys = {affinity_key(of, principal(), chat(messages=m)) for m in (opening, grown)}
    other = affinity_key(of, principal(), chat(messages=[{"role": "user", "content": "else"}]))
    assert len(keys) == 1 and other not in keys


def test_affinity_of_one_user_differs_between_keys() -> None:
    of = alias("a", "p", affinity=Affinity.USER)
    one = affinity_key(of, principal(key_id="k1"), chat(user="u"))
    two = affinity_key(of, principal(key_id="k2"), chat(user="u"))
    assert one and two and one != two
