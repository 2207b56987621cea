"""The one table that turns foreign exceptions into a TransportFailure is complete."""

import aiohttp
import pytest
from aiohttp import http_exceptions

from router.domain.upstream import FailureKind
from router.providers.transport import FOREIGN, failure_of, kind_of


def descendants(base: type[BaseException]) -> set[type[BaseException]]:
    return {base}.union(*(descendants(sub) for sub in base.__subclasses__()))


FAMILY = descendants(aiohttp.ClientError) | descendants(http_exceptions.HttpProcessingError)


def bare(error: type[BaseException]) -> BaseException:
    """An instance that was never initialised: their constructors want whole connections."""
    made = error.__new__(error)
    assert isinstance(made, BaseException)
    return made


@pytest.mark.parametrize("error", sorted(FAMILY, key=str))
def test_every_error_of_aiohttp_is_caught_and_has_a_kind(error: type[BaseException]) -> None:
    assert issubclass(error, FOREIGN)
    assert kind_of(bare(error)) is not None


def test_a_bare_timeout_means_what_the_place_says() -> None:
    assert failure_of(TimeoutError(), FailureKind.FIRST_BYTE_TIMEOUT).kind is FailureKind.FIRST_BYTE_TIMEOUT


def test_the_detail_of_a_failure_is_one_short_line() -> None:
    assert "\n" not in failure_of(ValueError("a\nb" * 500), FailureKind.RESET).detail
    assert len(failure_of(ValueError("x" * 5000), FailureKind.RESET).detail) <= 200
