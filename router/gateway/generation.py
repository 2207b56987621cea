"""A snapshot made usable: providers bound to dialects, aliases to what they can reach. Replaced whole by a reload."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from router.config.snapshot import Snapshot
from router.domain.routes import Alias, FallbackReason
from router.providers.registry import BoundProvider


@dataclass(frozen=True)
class Generation:
    """Fetched once per request, so that no request sees half of two configurations."""

    snapshot: Snapshot
    providers: Mapping[str, BoundProvider]

    @cached_property
    def reach(self) -> Mapping[str, tuple[str, ...]]:
        """Alias name -> ids of all targets it can be answered by, through its default fallbacks too."""
        every = {**self.snapshot.aliases, **{a.name: a for a in self.snapshot.wildcards}}
        return {name: tuple(dict.fromkeys(_target_ids(alias, every))) for name, alias in every.items()}


def _target_ids(alias: Alias, every: Mapping[str, Alias]) -> list[str]:
    ids = [t.id for t in alias.targets]
    for name in alias.fallbacks.get(FallbackReason.DEFAULT, ()):
        if name in every:
            ids += _target_ids(every[name], every)
    return ids
