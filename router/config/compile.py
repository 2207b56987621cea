"""A loaded configuration to the frozen Snapshot the request path reads: indexed, priced, secrets resolved, fingerprinted."""

from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

from router.config.alert_settings import alert_settings
from router.config.aws_access import aws_access, aws_host
from router.config.fields import split_listen
from router.config.google_access import google_access, vertex_host
from router.config.load import Loaded
from router.config.masking import masked_yaml
from router.config.prices import Listed, look_up, table_version
from router.config.provider_types import AZURE_DEFAULT_VERSION, PROVIDER_TYPES, ProviderType, default_apis, translated_apis
from router.config.schema import BudgetsConfig, RetentionConfig, RouterConfig
from router.config.schema_catalog import (
    AliasConfig,
    FallbacksConfig,
    LimitsConfig,
    PriceConfig,
    ProviderConfig,
    TargetConfig,
    TimeoutsConfig,
)
from router.config.secrets import Purpose, derive
from router.config.snapshot import (
    BudgetSettings,
    HealthSettings,
    RateDefaults,
    ResponseRetention,
    ServerSettings,
    Snapshot,
    UnknownPrice,
)
from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms
from router.domain.limits import Limits
from router.domain.requests import Api
from router.domain.routes import Alias, Credential, FallbackReason, ProviderSpec, Target, Timeouts
from router.domain.usage import Price

# Without a secret in the file the digests in the masked YAML are keyed by this: they must not change over restarts.
_NO_SECRET = b"routerd: no server.secret in the file"


def compile_snapshot(loaded: Loaded) -> Snapshot:
    """Cannot fail on what `load` accepted. Equal configurations give equal fingerprints, on every machine."""
    config = loaded.config
    mask_key = derive(config.server.secret.encode() or _NO_SECRET, Purpose.CONFIG_MASK)
    extra = {"price_table": table_version(), "force_failover": ",".join(sorted(loaded.force_failover))}
    extra |= {f"ca_file {name}": digest for name, digest in loaded.ca_digests.items()}
    masked = masked_yaml(config, mask_key, extra)
    server = _server(config, loaded.folder)
    providers = {name: _provider(name, spec, server.timeouts, loaded) for name, spec in config.providers.items()}
    unpriced = Price(0, 0) if UnknownPrice(config.pricing.unknown) is UnknownPrice.FREE else None
    budgets = _budgets(config.budgets)
    catalog = [_alias(alias, providers, unpriced, budgets.terms) for alias in config.model_catalog]
    return Snapshot(
        fingerprint=sha256(masked.encode()).hexdigest(),
        masked_yaml=masked,
        server=server,
        providers=providers,
        aliases={alias.name: alias for alias in catalog if not alias.is_wildcard},
        wildcards=tuple(sorted((a for a in catalog if a.is_wildcard), key=lambda a: (-len(a.name), a.name))),
        tiers=dict(config.tiers),
        defaults=config.defaults.model_dump(exclude_none=True, exclude={"locked"}),
        health=_health(config),
        rates=_rates(config),
        budgets=budgets,
        force_failover=loaded.force_failover,
        has_metrics=config.observability.metrics,
        metrics_token=config.observability.metrics_token,
        unknown_price=UnknownPrice(config.pricing.unknown),
        warnings=loaded.warnings,
        alerts=alert_settings(config),
        responses=_responses(config.retention),
    )


def _responses(retention: RetentionConfig) -> ResponseRetention:
    days = 0 if retention.zero_retention else retention.responses_days
    return ResponseRetention(days * 86_400_000_000, is_ours=retention.zero_retention or days > 0)


def _health(config: RouterConfig) -> HealthSettings:
    health = config.health
    p95_us = None if health.alert_p95 is None else round(health.alert_p95 * 1_000_000)
    return HealthSettings(health.mode, health.interval, health.cooldown, health.alert_error_rate, p95_us)


def _server(config: RouterConfig, folder: Path) -> ServerSettings:
    server = config.server
    host, port = split_listen(server.listen or "127.0.0.1:8080")
    timers = server.timeouts
    return ServerSettings(
        host=host,
        port=port,
        trusted_proxies=tuple(ip_network(text) for text in server.trusted_proxies),
        cors_origins=server.cors_origins,
        public_models=server.public_models,
        tls_cert=_beside(folder, server.tls.cert),
        tls_key=_beside(folder, server.tls.key),
        body_limit=server.body_limit_mb * 2**20,
        write_stall_s=timers.write_stall,
        keep_alive_s=timers.keep_alive,
        drain_s=server.drain,
        timeouts=Timeouts(timers.connect, timers.first_byte, timers.idle, timers.total),
    )


def _beside(folder: Path, name: str) -> str:
    return str(folder / name) if name else ""


def _budgets(config: BudgetsConfig | None) -> BudgetSettings:
    if config is None:
        return BudgetSettings()
    terms = BudgetTerms(BudgetMode(config.mode), config.refresh_schedule, config.timezone, config.warning_threshold)
    return BudgetSettings(config.default_usd, terms, config.on_db_loss == "deny")


def _rates(config: RouterConfig) -> RateDefaults:
    rates = config.rate_limits
    return RateDefaults(
        key=Limits(rates.requests_per_minute, rates.tokens_per_minute, rates.parallel_requests_key),
        tenant=Limits(parallel=rates.parallel_requests_tenant),
        per_address_per_minute=rates.per_address_per_minute,
        address_exempt=tuple(ip_network(text) for text in rates.address_exempt),
    )


def _provider(name: str, config: ProviderConfig, timeouts: Timeouts, loaded: Loaded) -> ProviderSpec:
    kind = PROVIDER_TYPES[config.type]
    is_azure = kind.name == "azure-openai" and Api.CONTENT_SAFETY not in (config.apis or ())
    version = config.api_version or (AZURE_DEFAULT_VERSION if is_azure else "")
    keys = [(key.key, key.weight) for key in config.api_keys] or ([(config.api_key, 1)] if config.api_key else [])
    apis = frozenset(config.apis or default_apis(kind, version))
    return ProviderSpec(
        name=name,
        type=kind.name,
        base_url=config.endpoint if kind.url_key == "endpoint" else config.base_url or _default_url(kind, config),
        credentials=tuple(Credential(f"{name}#{i}", key, weight) for i, (key, weight) in enumerate(keys, start=1)),
        api_version=version,
        sends_bearer=config.auth == "bearer",
        headers=tuple(config.headers.items()),
        ca_file=_beside(loaded.folder, config.ca_file),
        ca_digest=loaded.ca_digests.get(config.ca_file, ""),
        proxy=config.proxy,
        stream_usage=config.stream_usage if config.stream_usage is not None else True,
        bills_on_cancel=config.bills_on_cancel,
        max_batch=config.max_batch,
        omitted=frozenset(config.drop_unsupported),
        apis=apis,
        translates=translated_apis(apis),
        timeouts=_timeouts(config.timeouts, timeouts),
        options=_options(kind, config, loaded),
    )


def _options(kind: ProviderType, config: ProviderConfig, loaded: Loaded) -> dict[str, object]:
    if kind.is_aws:
        return {"aws": aws_access(config)}
    if kind.is_google:
        return {"google": google_access(config, loaded.folder, loaded.ca_digests.get(config.credentials_file, ""))}
    return _without_locks(config.simulate.model_dump(exclude_none=True))


def _default_url(kind: ProviderType, config: ProviderConfig) -> str:
    if kind.is_google:
        return vertex_host(config.location)
    return aws_host("bedrock-runtime", config.region) if kind.is_aws else kind.base_url


def _without_locks(value: dict[str, object]) -> dict[str, object]:
    return {
        name: [_without_locks(item) for item in each] if name == "faults" and isinstance(each, list | tuple) else each
        for name, each in value.items()
        if name != "locked"
    }


def _timeouts(own: TimeoutsConfig, base: Timeouts) -> Timeouts:
    return Timeouts(
        connect=base.connect if own.connect is None else own.connect,
        first_byte=base.first_byte if own.first_byte is None else own.first_byte,
        idle=base.idle if own.idle is None else own.idle,
        total=base.total if own.total is None else own.total,
    )


def _alias(config: AliasConfig, providers: dict[str, ProviderSpec], unpriced: Price | None, terms: BudgetTerms) -> Alias:
    """`unpriced`: what a target costs whose price is not known."""
    own_price = _price(config.price)
    if config.alias.endswith("*"):
        unpriced = None  # the price depends on the name asked for: a plan looks it up
    known = [look_up(providers[t.provider].type, t.model or config.alias) for t in config.targets]
    targets = tuple(
        _target(
            config,
            target,
            _price(target.price) or own_price or (listed.price if listed else unpriced),
            providers[target.provider].type,
        )
        for target, listed in zip(config.targets, known, strict=True)
    )
    prices = {target.price for target in targets}
    has_timers = config.timeouts != TimeoutsConfig(locked=config.timeouts.locked)
    return Alias(
        name=config.alias,
        kind=config.type,
        targets=targets,
        strategy=config.strategy,
        affinity=config.affinity,
        fallbacks=_fallbacks(config.fallbacks),
        # What the alias leaves open comes from the provider of its first target.
        timeouts=_timeouts(config.timeouts, providers[config.targets[0].provider].timeouts) if has_timers else None,
        max_attempts=config.max_attempts,
        limits=_limits(config.rate_limit),
        context_window=config.context_window or _least_window(known),
        is_window_listed=not config.context_window,
        max_output_tokens=config.max_output_tokens,
        modalities=config.modalities,
        price=own_price or (prices.pop() if len(prices) == 1 else None),
        max_request=config.max_request_usd,
        budget=None
        if config.budget_usd is None
        else Budget(BudgetScope.MODEL, config.alias, config.budget_usd, terms, config.alias),
    )


def _least_window(known: list[Listed | None]) -> int | None:
    """Only what every target can take is the alias's own."""
    windows = [listed.context_window for listed in known if listed and listed.context_window]
    return min(windows) if windows and len(windows) == len(known) else None


def _target(alias: AliasConfig, config: TargetConfig, price: Price | None, provider_type: str) -> Target:
    is_wildcard = alias.alias.endswith("*")
    model = config.model or ("" if is_wildcard else alias.alias)
    return Target(
        id=f"{config.provider}/{config.deployment or model or '*'}",
        provider=config.provider,
        model=model,
        deployment=config.deployment,
        weight=config.weight,
        priority=config.priority,
        price=price,
        provider_type=provider_type,
    )


def _price(config: PriceConfig | None) -> Price | None:
    """Where a kind of model has no output (or no input) tokens, their price is 0."""
    if config is None:
        return None
    units = config.model_dump(mode="python", exclude={"locked", "input", "output"}, exclude_none=True)
    exact = {name: getattr(config, name) for name in units}
    return Price(input=config.input or 0, output=config.output or 0, **exact)


def _fallbacks(config: FallbacksConfig) -> dict[FallbackReason, tuple[str, ...]]:
    return {reason: names for reason in FallbackReason if (names := getattr(config, reason.value))}


def _limits(config: LimitsConfig) -> Limits:
    return Limits(config.requests_per_minute, config.tokens_per_minute, config.parallel_requests)
