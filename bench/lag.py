"""The lag of routerd's event loop, from its own histogram in /metrics."""

import re
from collections.abc import Iterable
from typing import Self

METRIC = "routerd_event_loop_lag_seconds"
_BUCKET = re.compile(rf'^{METRIC}_bucket{{le="([^"]+)"}} (\S+)$', re.MULTILINE)


class Buckets(tuple[tuple[float, int], ...]):
    """(upper bound in seconds, observations up to it) by rising bound, the last bound infinite; () is no histogram."""

    __slots__ = ()

    def __sub__(self, earlier: Self) -> "Buckets":
        """What was observed since `earlier`."""
        before = dict(earlier)
        return Buckets((bound, count - before.get(bound, 0)) for bound, count in self)

    @property
    def observations(self) -> int:
        return self[-1][1] if self else 0

    def quantile_ms(self, share: float) -> float | None:
        """Milliseconds that `share` of the observations did not pass, linear within a bucket; None without any."""
        if not self.observations:
            return None
        wanted, low, below = share * self.observations, 0.0, 0
        for bound, count in self:
            if count >= wanted:
                # What lies beyond the last finite bound has no other figure than this bound.
                inside = 0.0 if bound == float("inf") else (bound - low) * (wanted - below) / (count - below)
                return (low + inside) * 1000
            low, below = bound, count
        return low * 1000


def lag_buckets(metrics: str) -> Buckets:
    """From the text of a scrape."""
    return Buckets((float(bound), int(float(count))) for bound, count in _BUCKET.findall(metrics))


def pooled(parts: Iterable[Buckets]) -> Buckets:
    """The observations of several windows together."""
    together: dict[float, int] = {}
    for part in parts:
        for bound, count in part:
            together[bound] = together.get(bound, 0) + count
    return Buckets(sorted(together.items()))
