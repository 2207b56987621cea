"""Foreign exceptions as a TransportFailure: what the tables of both transports have in common."""

from collections.abc import Mapping

from router.domain.upstream import FailureKind

MAX_DETAIL = 200

KindTable = Mapping[type[BaseException], FailureKind]


def nearest(table: KindTable, error: BaseException) -> FailureKind | None:
    """What the nearest class of the exception's method resolution order says, None if none is in the table."""
    return next((table[ancestor] for ancestor in type(error).__mro__ if ancestor in table), None)


def detail(error: BaseException, said: str) -> str:
    """For the operator's log, on one short line. `said` must not hold the URL, whose query is nobody's business."""
    return f"{type(error).__name__}: {' '.join(said.split())}"[:MAX_DETAIL]
