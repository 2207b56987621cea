"""Limits per client address: counted, exempted, bounded, changed on the fly."""

from ipaddress import ip_network

import pytest

from router.limits.addresses import AddressWindows
from tests.gateway.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_without_a_limit_nothing_is_counted(clock: FakeClock) -> None:
    addresses = AddressWindows(clock)
    assert [addresses.admit("192.0.2.1") for _ in range(5000)] == [None] * 5000
    assert addresses.addresses == 0


def test_an_address_over_its_limit_waits_and_others_do_not(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 2)
    assert [addresses.admit("192.0.2.1"), addresses.admit("192.0.2.1")] == [None, None]
    assert addresses.admit("192.0.2.1") == 60_000
    assert addresses.admit("192.0.2.2") is None
    clock.pass_(60)
    assert addresses.admit("192.0.2.1") is None


def test_a_refused_request_does_not_make_the_wait_longer(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 1)
    addresses.admit("192.0.2.1")
    clock.pass_(40)
    assert [addresses.admit("192.0.2.1") for _ in range(50)] == [20_000] * 50


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("unix:", "no address at all"),
    ],
)
def test_two_spellings_of_one_client_share_a_limit(clock: FakeClock, one: str, same: str) -> None:
    addresses = AddressWindows(clock, 1)
    assert addresses.admit(one) is None
    assert addresses.admit(same) is not None


def test_two_neighbouring_ipv6_networks_do_not_share_a_limit(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 1)
    assert addresses.admit("2001:db8:1:2::1") is None
    assert addresses.admit("2001:db8:1:3::1") is None


def test_exempt_networks_are_never_refused(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 0, [ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        assert addresses.admit(address) is None
    assert addresses.admit("11.0.0.1") == 60_000


def test_a_new_limit_holds_at_once_and_what_was_counted_stays(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 10)
    for _ in range(5):
        addresses.admit("192.0.2.1")
    addresses.reconfigure(5, [])
    assert addresses.admit("192.0.2.1") is not None
    addresses.reconfigure(6, [])
    assert addresses.admit("192.0.2.1") is None
    addresses.reconfigure(6, [ip_network("192.0.2.0/24")])
    assert addresses.admit("192.0.2.1") is None
    addresses.reconfigure(None, [])
    assert addresses.admit("192.0.2.1") is None


def test_a_flood_of_addresses_stays_within_the_table_and_refuses_no_newcomer(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 1, max_addresses=1000)
    assert {addresses.admit(f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1") for n in range(20_000)} == {None}
    assert addresses.addresses == 1000
    assert addresses.admit("2001:db8:0:4e1f::2") is not None


def test_idle_addresses_are_forgotten(clock: FakeClock) -> None:
    addresses = AddressWindows(clock, 5)
    for n in range(1000):
        addresses.admit(f"10.0.{n >> 8}.{n & 255}")
    clock.pass_(61)
    for _ in range(300):
        addresses.admit("192.0.2.1")
        clock.pass_(0.001)
    assert addresses.addresses == 1
