"""`routerd explain`: the plan for a model's requests, made by the functions that live traffic uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from router.cli.complaint import WrongInput
from router.cli.control import NoDaemon, ask
from router.cli.databases import open_database
from router.cli.explain_view import Explained, explanation_document, show_explanation
from router.cli.keys import prefix_of
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import print_json, screen
from router.config.compile import compile_snapshot
from router.config.load import Loaded
from router.config.paths import control_socket
from router.config.problems import did_you_mean, one_of
from router.config.snapshot import Snapshot
from router.domain.errors import InvalidRequest, ModelNotFound
from router.domain.identity import EVERY_MODEL, Principal
from router.domain.limits import LimitRule, LimitScope
from router.domain.requests import API_KIND, API_SCOPE, Api, ModelRequest, parse_request
from router.domain.routes import ALL_WELL, WATCHING, Affinity, Alias, FallbackReason, HealthView
from router.gateway.authenticate import principal_of
from router.gateway.generation import Generation
from router.gateway.plan import affinity_key, choose_alias, find_alias, make_plan
from router.storage.keys import Keys


@click.command()
@config_option
@click.option("-m", "--model", metavar="ALIAS", help="The `model` of the request. [default: none sent]")
@click.option("--tier", metavar="NAME", help="The x-router-tier of the request.")
@click.option("--key", "prefix", metavar="PREFIX", help="Ask as this key: its tenant, models, limits and defaults.")
@click.option("--api", type=click.Choice([api.value for api in Api]), help="The route called. [default: the alias's]")
@click.option(
    "--draw", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="The dice of one request. [default: 0]"
)
@click.option("--affinity", metavar="KEY", help="The user, conversation or key kept on one target.")
@json_option
def explain(*, config: Path | None, as_json: bool, draw: float, **asked: Any) -> None:
    """Show where requests for a model go: targets in order, chances, prices, timers, fallbacks, and what is left out.

    The order is that of one request with the dice --draw; the chances are over all requests.
    """
    question = Question(**asked)
    loaded = open_config(config)
    snapshot = compile_snapshot(loaded)
    caller = run(_caller(loaded, snapshot, question)) if question.prefix else _anyone(snapshot, question)
    explained = explain_request(snapshot, caller, question, draw, _Daemon.look(loaded))
    if as_json:
        print_json(explanation_document(explained))
    else:
        show_explanation(screen(), explained)


@dataclass(frozen=True, slots=True)
class Question:
    """One request as the command line describes it."""

    model: str | None = None
    tier: str | None = None
    prefix: str | None = None
    api: str | None = None
    affinity: str | None = None


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What a running daemon says; `report` None: there is none, and `note` says what was found instead."""

    note: str
    report: Mapping[str, Any] | None = None
    fingerprint: str = ""

    @classmethod
    def look(cls, loaded: Loaded) -> "_Daemon":
        try:
            status = ask(control_socket(loaded.config.database.url), "GET", "/status")
            return cls("the running daemon's", dict(status["health"]), str(status["fingerprint"]))
        except NoDaemon as reason:
            return cls(f"{reason}: every target assumed well")
        except (KeyError, TypeError, ValueError):
            return cls("the daemon is of another release: every target assumed well")


def explain_request(snapshot: Snapshot, caller: Principal, question: Question, draw: float, daemon: _Daemon) -> Explained:
    """Raises WrongInput for what a caller would be refused for."""
    api = _api(snapshot, caller, question)
    named = _named(snapshot, caller, api, question)
    alias, requested = named
    if caller.scopes is not None and API_SCOPE[api].value not in caller.scopes:
        scope = API_SCOPE[api].value
        raise WrongInput(f"the key {caller.key!r} lacks the scope {scope!r}, which {api.value} needs", code="scope_missing")
    report = daemon.report or {}
    reach = Generation(snapshot, {}).reach[alias.name]
    view = view_of(report, alias, reach)
    affinity = affinity_key(alias, caller, _request(api, requested, question))
    plan = make_plan(snapshot, view, named, api, draw, affinity=affinity)
    rules = caller.rules
    if not alias.limits.is_empty:
        rules = (*rules, LimitRule(LimitScope.MODEL, alias.name, alias.limits))
    return Explained(
        snapshot=snapshot,
        plan=plan,
        api=api,
        view=view,
        affinity=affinity,
        draw=draw,
        rules=rules,
        caller=caller.key,
        asked_by=_asked_by(question, requested, alias),
        health=daemon.note,
        report=report,
        notes=(*_notes(snapshot, alias, question, daemon), *_forbidden(alias, caller)),
    )


def view_of(report: Mapping[str, Any], alias: Alias, reach: tuple[str, ...]) -> HealthView:
    """The daemon's view of an alias from what it reports of each target: `gateway.health.Health.view` in its words."""
    known = {target: report[target] for target in reach if target in report}
    out = [target for target, seen in known.items() if seen["state"] != "up"]
    is_watching = alias.strategy in WATCHING
    if not out and not is_watching:
        return ALL_WELL
    trial = frozenset(t for t in out if known[t]["state"] == "half_open" and not known[t].get("on_trial"))
    ejected, shaky = frozenset(out) - trial, frozenset[str]()
    if ejected and len(ejected) == len(set(reach)):
        last = min(ejected, key=lambda t: float(known[t].get("ejected_s", 0.0)))
        shaky, ejected = frozenset((last,)), ejected - {last}
    if not is_watching:
        return HealthView(ejected, trial, shaky)
    busy = {target: int(seen["busy"]) for target, seen in known.items()}
    return HealthView(ejected, trial, shaky, busy, {t: float(seen["latency_ms"]) for t, seen in known.items()})


async def _caller(loaded: Loaded, snapshot: Snapshot, question: Question) -> Principal:
    prefix = prefix_of(question.prefix or "")
    async with open_database(loaded) as db:
        found = await Keys(db).find_key(prefix)
    if found is None:
        raise WrongInput(
            f"there is no key with the prefix {prefix!r}", hint="`routerd keys list` shows them.", code="key_not_found"
        )
    key, tenant = found
    if key.is_refused or tenant.status != "active":
        state = f"of a tenant that is {tenant.status.value}"
        if key.is_refused:
            state = "revoked" if key.disabled else "of somebody who is no longer a member of its tenant"
        raise WrongInput(f"the key {prefix!r} is {state}: all its requests are refused", code="key_refused")
    return principal_of(snapshot, key, tenant)


def _anyone(snapshot: Snapshot, question: Question) -> Principal:
    """A caller without limits to its rights, under the file's limits for keys and tenants."""
    rates = ((LimitScope.KEY, snapshot.rates.key), (LimitScope.TENANT, snapshot.rates.tenant))
    return Principal(
        tenant_id="",
        tenant="",
        key_id=question.affinity or "",
        key="",
        scopes=None,
        tenant_models=EVERY_MODEL,
        key_models=EVERY_MODEL,
        defaults={},
        tiers={},
        rules=tuple(LimitRule(scope, "", limits) for scope, limits in rates if not limits.is_empty),
    )


def _api(snapshot: Snapshot, caller: Principal, question: Question) -> Api:
    """As asked, else the first route that serves the named alias's type, else chat."""
    if question.api:
        return Api(question.api)
    alias = find_alias(snapshot, question.model) if question.model else None
    if alias is None:
        return Api.CHAT
    for api, kind in API_KIND.items():
        if kind is alias.kind:
            return api
    raise WrongInput(
        f"{alias.name!r} is of type {alias.kind.value}, and no route serves that type yet", code="not_supported"
    )


def _named(snapshot: Snapshot, caller: Principal, api: Api, question: Question) -> tuple[Alias, str]:
    try:
        return choose_alias(snapshot, caller, api, question.model, question.tier)
    except ModelNotFound as error:
        raise _why_not_found(snapshot, caller, question, error) from None
    except InvalidRequest as error:
        hint = "" if question.model or question.tier else "Name one with -m ALIAS."
        raise WrongInput(error.message, hint=hint, code=error.code) from None


def _why_not_found(snapshot: Snapshot, caller: Principal, question: Question, error: ModelNotFound) -> WrongInput:
    """A caller is not told which of the two it is; an operator is."""
    name = question.model or ""
    if not name:
        return WrongInput(f"the default or tier is not for this key: {error.message}", code=error.code)
    if find_alias(snapshot, name) is not None:
        who = "tenant" if name not in caller.tenant_models else "key"
        whose = f"the tenant {caller.tenant!r}" if who == "tenant" else f"the key {caller.key!r}"
        return WrongInput(f"{whose} may not use {name!r}: callers get 404 model_not_found", code=error.code)
    if name in {*snapshot.tiers, *caller.tiers}:
        return WrongInput(f"{name!r} is a tier, not an alias", hint=f"Ask with --tier {name}.", code=error.code)
    names = [*snapshot.aliases, *(alias.name for alias in snapshot.wildcards)]
    hint = did_you_mean(name, names) or (f"Aliases: {one_of(names)}." if names else "The model catalog is empty.")
    return WrongInput(f"there is no alias {name!r}", hint=hint, code=error.code)


def _request(api: Api, model: str, question: Question) -> ModelRequest:
    """The least request that shows its affinity, as a caller of that user or conversation would send it."""
    body = {"model": model}
    if question.affinity:
        body |= {"user": question.affinity, "prompt_cache_key": question.affinity}
    return parse_request(api, msgspec.json.encode(body))


def _asked_by(question: Question, requested: str, alias: Alias) -> str:
    if question.model:
        return f"the wildcard {alias.name}" if alias.is_wildcard else "its name"
    return f"the tier {question.tier}" if question.tier else "the default"


def _forbidden(alias: Alias, caller: Principal) -> list[str]:
    """Other fallbacks are the operator's word; where money is short, a key gets no alias beyond its rights."""
    names = [name for name in alias.fallbacks.get(FallbackReason.BUDGET, ()) if not caller.may_use(name)]
    return [f"not instead of a 402 for this key, which may not use it: {', '.join(names)}"] if names else []


def _notes(snapshot: Snapshot, alias: Alias, question: Question, daemon: _Daemon) -> list[str]:
    notes = []
    if daemon.fingerprint and daemon.fingerprint != snapshot.fingerprint:
        notes.append("the running daemon has another configuration in force than this file")
    forced = snapshot.force_failover.intersection({alias.name, *(t.provider for t in alias.targets)})
    if forced:
        notes.append(f"a rehearsal: calls of {', '.join(sorted(forced))} fail on purpose (ROUTER_FORCE_FAILOVER)")
    if alias.affinity is Affinity.NONE and question.affinity:
        notes.append("the alias keeps no affinity, so --affinity changes nothing")
    elif alias.affinity is not Affinity.NONE and not question.affinity and not question.prefix:
        notes.append(f"the alias keeps each {alias.affinity.value} on one target: say whose with --affinity or --key")
    elif question.affinity and not question.prefix and alias.affinity is not Affinity.KEY:
        notes.append("which target is kept depends on the key too: without --key this one is an example")
    return notes
