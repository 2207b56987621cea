"""What only a restart puts in force: compared on each reload with what the process has started with."""

from operator import attrgetter

from router.config.schema import RouterConfig

AT_START = (
    "server.listen",
    "server.secret",
    "server.workers",
    "server.timeouts.keep_alive",
    "database",
    "redis",
    "journal",
    "observability.log_format",
    "encryption.master_key",
)


def waiting_for_restart(started: RouterConfig, now: RouterConfig) -> list[str]:
    """The keys of AT_START whose values differ."""
    return [key for key in AT_START if attrgetter(key)(started) != attrgetter(key)(now)]
