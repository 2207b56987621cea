"""Connections to Redis: what cannot be used is said at once, and nobody waits for a lane that will not come."""

import asyncio

import pytest

from router.limits.redis_lanes import Lanes, RedisUnavailable


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:no-port/0",
        "redis://h:6379/0?socket_timeout=soon",
        "redis://h:6379/0?nonsense=1",
        "rediss://h:6379/0?ssl_cert_reqs=perhaps",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_before_anything_is_connected(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Lanes(url, 1)


async def test_a_lane_that_is_given_back_goes_to_whoever_waits(redis_url: str) -> None:
    lanes = Lanes(redis_url, 1)
    lane = await lanes.open()
    assert lanes.take() is None
    assert not lanes.may_grow
    waiting = asyncio.create_task(lanes.borrow())
    given_up = asyncio.create_task(lanes.borrow())
    await asyncio.sleep(0)
    given_up.cancel()
    lanes.give(lane)
    assert await waiting is lane
    lanes.give(lane)
    assert await lane.command("PING") == b"PONG"
    assert lanes.take() is lane
    lanes.discard(lane)


async def test_when_the_last_lane_breaks_those_who_wait_are_told(redis_url: str) -> None:
    lanes = Lanes(redis_url, 1)
    lane = await lanes.open()
    waiting = asyncio.create_task(lanes.borrow())
    await asyncio.sleep(0)
    lanes.discard(lane)
    with pytest.raises(RedisUnavailable):
        await waiting


async def test_a_server_that_is_not_there_is_told_in_words_without_its_address() -> None:
    with pytest.raises(RedisUnavailable) as caught:
        await Lanes("redis://:secret-word@127.0.0.1:1/0", 1).open()
    assert caught.value.reason == "cannot connect"


async def test_an_answer_that_is_an_error_names_the_kind_alone(redis_url: str) -> None:
    lanes = Lanes(redis_url, 1)
    lane = await lanes.open()
    with pytest.raises(RedisUnavailable, match=r"^it refuses: ResponseError unknown$"):
        await lane.command("NONSENSE", "secret-word")
    lanes.discard(lane)


async def test_a_lane_that_was_dropped_while_in_use_is_closed_when_it_comes_back(redis_url: str) -> None:
    lanes = Lanes(redis_url, 2)
    lane = await lanes.open()
    lanes.drop()
    await lane.command("PING")
    lanes.give(lane)
    assert lanes.take() is None
    assert not lane._connection.is_connected


async def test_a_lane_that_is_opened_while_all_are_closed_does_not_stay_open(redis_url: str) -> None:
    lanes = Lanes(redis_url, 2)
    opening = asyncio.create_task(lanes.open())
    await asyncio.sleep(0)
    lanes.close()
    with pytest.raises(RedisUnavailable):
        await opening
    assert lanes.count == 0


async def test_an_answer_nobody_asked_for_ends_the_lane(redis_url: str) -> None:
    lanes = Lanes(redis_url, 1)
    lane = await lanes.open()
    lane.data_received(b"+OK\r\n")
    with pytest.raises(RedisUnavailable, match="the connection broke"):
        await lane.command("PING")
    lanes.discard(lane)


async def test_a_lane_whose_server_goes_away_between_two_calls_says_so_at_once(redis_url: str) -> None:
    lanes = Lanes(redis_url, 2)
    lane, killer = await lanes.open(), await lanes.open()
    number = await lane.command("CLIENT", "ID")
    assert await killer.command("CLIENT", "KILL", "ID", number) == 1
    await asyncio.sleep(0.05)
    with pytest.raises(RedisUnavailable, match="the connection broke"):
        await lane.command("PING")
    for each in (lane, killer):
        lanes.discard(each)
