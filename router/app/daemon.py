"""One daemon, from its first line to its last: opens in order, serves, drains, closes in reverse."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial

import uvloop

from router.app.idempotency import idempotency_of
from router.app.instruments import Instruments, opened_instruments
from router.app.limiter import LimiterRefused, Limits, limits_of
from router.app.money import Money
from router.app.notices import notices_of
from router.app.places import Place
from router.app.responses import responses_of
from router.app.signals import Stop
from router.app.stores import open_database
from router.config.bootstrap_items import bootstrap_items
from router.config.problems import ConfigError
from router.config.reload import Prepared, Reloader
from router.config.restart import waiting_for_restart
from router.config.secrets import Purpose, SecretUnavailable, derive, server_secret
from router.config.snapshot import Snapshot
from router.domain.errors import StorageUnavailable
from router.domain.identity import digest_of
from router.domain.observations import ConfigRejected, ConfigReloaded, Notice
from router.gateway.authenticate import Authenticator
from router.gateway.generation import Generation
from router.gateway.health import Health
from router.gateway.pipeline import Gateway, World
from router.jobs.lag import LoopLag
from router.jobs.outbox import Outbox
from router.jobs.probes import Probe, Probes
from router.jobs.sweep import KeySweep
from router.limits.addresses import AddressWindows
from router.providers.registry import bind
from router.providers.transports import Transports
from router.server.control_socket import ControlRoutes
from router.server.edge import Edge
from router.server.errors import status_of
from router.server.listener import Listener, UnsafeParser, require_c_parser
from router.server.routes import build_table
from router.server.state import Serving
from router.storage.bootstrap import BootstrapSeals, apply_bootstrap
from router.storage.database import Database, DatabaseRefused
from router.storage.keys import Keys
from router.storage.outbox import OutboxTable
from router.storage.usage import UsageTables
from router.system import SystemTasks, settle_memory

INTERRUPT_GRACE_S = 2.0
TASKS_GRACE_S = 35.0
LEDGER_GRACE_S = 15.0


class StartRefused(Exception):
    """The daemon cannot start; the text says what was found and what would be right. `exit_code` as contract.md has it."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(reloader: Reloader, prepared: Prepared, place: Place) -> None:
    """Serve until SIGTERM or SIGINT, or until the place has no use for it, then drain. Raises StartRefused."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(reloader, prepared, place))


async def _serve(reloader: Reloader, prepared: Prepared, place: Place) -> None:
    stop = Stop()
    try:
        require_c_parser()
        async with AsyncExitStack() as stack:
            app = await _open(reloader, prepared, place, stack)
            stop.install(reload_soon=app.reload_soon, hurry=app.serving.quiet.set)
            await app.serve(stop)
    except (UnsafeParser, StorageUnavailable, SecretUnavailable) as error:
        raise StartRefused(getattr(error, "hint", "") or str(error)) from error
    except (DatabaseRefused, LimiterRefused) as error:
        raise StartRefused(str(error), exit_code=2) from error


async def _open(reloader: Reloader, prepared: Prepared, place: Place, stack: AsyncExitStack) -> "App":
    """Everything the daemon stands on, opened in order; `stack` closes it in reverse."""
    config = prepared.loaded.config
    instruments = stack.enter_context(opened_instruments(config.observability.log_format, place.worker))
    database = await open_database(config, stack, holds_lock=place.holds_lock)
    money = await Money.open(
        config,
        database,
        clock=instruments.clock,
        ids=instruments.ids,
        observer=instruments.observer,
        tasks=instruments.tasks,
    )
    limits = limits_of(config.redis, instruments, lambda: money.processes)
    secret = server_secret(config)
    app = App(prepared, reloader, database, instruments, place=place, money=money, limits=limits, secret=secret)
    stack.push_async_callback(app.close)
    return app


class App:
    """One daemon. Made of parts that are already open; `serve` returns when everything is drained and settled."""

    def __init__(
        self,
        prepared: Prepared,
        reloader: Reloader,
        database: Database,
        instruments: Instruments,
        *,
        place: Place,
        money: Money,
        limits: Limits,
        secret: bytes,
    ) -> None:
        clock, ids, observer = instruments.clock, instruments.ids, instruments.observer
        snapshot = prepared.snapshot
        self._started_with, self._loaded = prepared.loaded.config, prepared.loaded
        self._place = place
        self._database = database
        self._secret = secret
        self._instruments = instruments
        self._clock, self._ids = clock, ids
        self._tables = UsageTables(database)
        self._money, self._limits = money, limits
        instruments.alerts.open(derive(secret, Purpose.WEBHOOKS), lambda: self.serving.current.snapshot)
        self._outbox = Outbox(OutboxTable(database), instruments.alerts, clock, ids=ids, observer=observer)
        money.notify = self._outbox.notify
        self._transports = Transports(clock, ids)
        self._health = Health(clock, observer)
        self._addresses = AddressWindows(clock)
        self._tasks, self._jobs = instruments.tasks, SystemTasks(observer)
        self._reloader = reloader
        reloader.attach(swap=self.swap, rejected=self.reject)
        self._listener: Listener | None = None
        self._seals = BootstrapSeals(
            partial(digest_of, key=derive(secret, Purpose.API_KEYS)), derive(secret, Purpose.BOOTSTRAP)
        )
        self.serving = self._serving(snapshot)
        keys = self.serving.authenticator
        self._notices = notices_of(database, instruments, changed=keys.forget, vouch=keys.vouch, wanted=money.wanted)
        self._in_force(snapshot)

    def _serving(self, snapshot: Snapshot) -> Serving:
        """What handlers share. Everything it is made of stands already."""
        clock, ids, observer = self._clock, self._ids, self._instruments.observer
        money, limits, metrics, place = self._money, self._limits, self._instruments.metrics, self._place
        world = World(clock, ids, limits.limiter, money.ledger, observer, self._tasks, asyncio.get_running_loop().call_later)
        cache_key = derive(self._secret, Purpose.KEY_CACHE)
        authenticator = Authenticator(Keys(self._database), clock, self._seals.digest, cache_key, reach=money.reach)
        responses = responses_of(self._database, money.instance, self._instruments, self._secret, self._started_with)
        serving = Serving(
            current=self._generation(snapshot),
            gateway=Gateway(world, self._health, money.treasury, status_of),
            authenticator=authenticator,
            addresses=self._addresses,
            clock=clock,
            ids=ids,
            tasks=self._tasks,
            observer=observer,
            idempotency=idempotency_of(self._database, money.instance, clock, self._secret),
            render_metrics=lambda: place.metrics(metrics.render),
            pingers=(self._database, *limits.pingers),
            responses=responses,
        )
        responses.began, responses.ended = serving.began, serving.ended
        return serving

    # -- a new file -------------------------------------------------------------------------------------------

    def swap(self, prepared: Prepared) -> None:
        """Put a prepared configuration in force. Requests under way keep the generation they began with."""
        self._loaded = prepared.loaded
        is_new = prepared.snapshot.fingerprint != self.serving.current.snapshot.fingerprint
        self.serving.current = self._generation(prepared.snapshot)
        self._in_force(prepared.snapshot)
        self.serving.notes.pop("config", None)
        self._instruments.observer.emit(ConfigReloaded(prepared.snapshot.fingerprint, changed=is_new))
        for key in waiting_for_restart(self._started_with, prepared.loaded.config):
            self._instruments.observer.emit(Notice("warning", "config", f"{key} has changed: a restart puts it in force"))
        self._refresh_tls(prepared.snapshot)
        if is_new:
            self._tasks.spawn(self._record_configuration(), name="apply the reloaded file")

    def reject(self, error: ConfigError) -> None:
        """The file cannot be used: nothing changes, and everybody who looks is told."""
        count = len(error.problems)
        self.serving.notes["config"] = (
            f"the file has {count} problem(s) and is not in force; first: {error.problems[0].render()}"
        )
        self._instruments.observer.emit(ConfigRejected(tuple(p.render() for p in error.problems)))

    def reload_soon(self) -> None:
        """Reload in the background: SIGHUP."""
        self._tasks.spawn(self._reload(), name="reload")

    async def reload_now(self) -> dict[str, object]:
        """Reload and say what came of it: the control socket's answer."""
        is_good = await self._reloader.reload()
        problems = [] if is_good else [p.render() for p in self._reloader.problems]
        return {"reloaded": is_good, "fingerprint": self.serving.current.snapshot.fingerprint, "problems": problems}

    async def _reload(self) -> None:
        await self.reload_now()

    def _generation(self, snapshot: Snapshot) -> Generation:
        self._transports.keep(snapshot.providers)
        bound = {name: bind(spec, self._transports.of(spec)) for name, spec in snapshot.providers.items() if spec.apis}
        return Generation(snapshot, bound)

    def _in_force(self, snapshot: Snapshot) -> None:
        """What follows the snapshot without reading it on each request."""
        self._health.cooldown_s = snapshot.health.cooldown_s
        self._addresses.reconfigure(snapshot.rates.per_address_per_minute, snapshot.rates.address_exempt)
        self._instruments.metrics.reconfigure(snapshot)
        self._instruments.redactor.know(snapshot.secrets())

    def _refresh_tls(self, snapshot: Snapshot) -> None:
        if self._listener is None:
            return
        try:
            self._listener.refresh_tls(snapshot.server)
        except (OSError, ValueError) as error:
            self._instruments.observer.emit(Notice("error", "tls", f"the certificate in use stays: {error}"))

    async def _record_configuration(self) -> None:
        """Bring the database to what the file asks to exist, and keep the file's masked text for replay."""
        snapshot, now = self.serving.current.snapshot, self._clock.now_us()
        try:
            await apply_bootstrap(self._database, bootstrap_items(self._loaded.config), self._seals, self._ids, now)
            await self._tables.snapshot_seen(snapshot.fingerprint, snapshot.masked_yaml, now)
        except (StorageUnavailable, DatabaseRefused) as error:
            note = f"the file's bootstrap section is not applied yet: {getattr(error, 'hint', '') or error}"
            self.serving.notes["bootstrap"] = note
            self._instruments.observer.emit(Notice("error", "bootstrap", note))
            return
        self.serving.notes.pop("bootstrap", None)
        self.serving.authenticator.forget()

    # -- life -------------------------------------------------------------------------------------------------

    async def serve(self, stop: Stop) -> None:
        """Listen, work until asked to stop, drain. Raises StartRefused where the address cannot be bound."""
        snapshot = self.serving.current.snapshot
        await self._record_configuration()
        if "bootstrap" in self.serving.notes:
            raise StartRefused(self.serving.notes["bootstrap"])
        edge, answers = Edge(self.serving, build_table(self.serving)), ControlRoutes(self.serving, self.reload_now).answers
        self._listener = Listener(edge.handle, snapshot.server, self._place.sockets)
        await self._place.open(answers, self._packed_metrics, self._instruments.observer, self._jobs, stop.ask)
        try:
            url = await self._listener.start()
        except (OSError, ValueError) as error:
            await self._place.close()
            raise StartRefused(f"cannot listen on {snapshot.server.host}:{snapshot.server.port}: {error}") from error
        self._start_jobs()
        settle_memory()
        await self._place.started(url, self._loaded.path, snapshot)
        await stop.asked.wait()
        await self._drain(stop)
        await self._place.close()

    async def _packed_metrics(self) -> bytes:
        self.serving.gateway.settler.flush()
        return await asyncio.get_running_loop().run_in_executor(None, self._instruments.metrics.pack)

    def _start_jobs(self) -> None:
        metrics = self._instruments.metrics
        metrics.watch("routerd_inflight_requests", "Requests being handled now.", lambda: self.serving.inflight)
        metrics.watch("routerd_open_streams", "Streams being relayed now.", lambda: len(self.serving.streams))
        probes = Probes(
            lambda: self.serving.current.snapshot.health, self._probes, self._health, self._clock, self._instruments.observer
        )
        self._money.start(self._jobs, self._others_seen, self._notices)
        self._limits.start(self._jobs)
        self._jobs.spawn(self._outbox.run(), name="outbox")
        self._jobs.spawn(probes.run(), name="probes")
        self._jobs.spawn(LoopLag(self._clock, metrics.observe_loop_lag).run(), name="loop lag")
        self._jobs.spawn(self._reloader.watch(asyncio.sleep), name="file watch")
        self._jobs.spawn(self._notices.run(), name="notices")
        self._jobs.spawn(KeySweep(self.serving.idempotency).run(), name="idempotency keys")
        if self.serving.responses is not None:
            self._jobs.spawn(KeySweep(self.serving.responses).run(), name="kept responses")

    def _probes(self) -> Iterator[Probe]:
        generation = self.serving.current
        aliases = [*generation.snapshot.aliases.values(), *generation.snapshot.wildcards]
        for name, provider in generation.providers.items():
            targets = frozenset(t.id for alias in aliases for t in alias.targets if t.provider == name)
            if targets:
                yield Probe(provider.probe_call(), provider.transport, targets)

    async def _drain(self, stop: Stop) -> None:
        """Not ready first; new requests are refused; what runs may finish; what is left is told, cut and settled."""
        serving, observer = self.serving, self._instruments.observer
        serving.is_draining = True
        serving.reasons.add("draining")
        limit = serving.current.snapshot.server.drain_s
        observer.emit(Notice("info", "draining", f"{serving.inflight} requests are under way; waiting up to {limit:g} s"))
        await self._quiet(limit)
        kept, listener = serving.responses, self._listener
        assert listener is not None
        serving.gateway.is_cutting = True
        told = {stream.connection for stream in serving.streams}
        for running in (*serving.streams, *serving.calls, *(kept.running.values() if kept is not None else ())):
            running.interrupt()
        listener.interrupt(spared=told)
        await self._quiet(INTERRUPT_GRACE_S)
        await listener.close()
        await self._tasks.wait(0.0 if stop.is_hurried else TASKS_GRACE_S)
        serving.gateway.settler.flush()
        await serving.idempotency.pay()
        if kept is not None:
            await kept.pay()
        left = await self._money.close(LEDGER_GRACE_S)
        await self._jobs.stop()
        level, text = ("error", f"{left} ledger entries could not be written") if left else ("info", "everything is settled")
        observer.emit(Notice(level, "stopped", text))

    async def _quiet(self, limit_s: float) -> None:
        """Until no request is under way, `limit_s` has passed, or there is a hurry."""
        if not self.serving.inflight:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.serving.quiet.wait()
        self.serving.quiet.clear()

    def _others_seen(self, processes: int) -> None:
        """Limits and metrics of several processes are only right together; what keeps them apart is said."""
        has_shared_limits = bool(self._loaded.config.redis.url)
        reason = f"{processes} processes use this database without redis.url: set it, or stop all but one"
        self.serving.reasons = {r for r in self.serving.reasons if "without redis.url" not in r}
        if processes > 1 and not has_shared_limits:
            self.serving.reasons.add(reason)

    async def close(self) -> None:
        await self._jobs.stop()
        await self._limits.close()
        await self._tasks.stop()
        await self._outbox.close()
        await self._transports.close()
