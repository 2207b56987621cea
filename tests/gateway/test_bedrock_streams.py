"""Binary streams in the gateway: they are told whole, broken and held by their budget like any other."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from router.domain.errors import BudgetExceeded, GatewayError, UpstreamTruncated
from router.domain.flow import pieces_of
from router.domain.ledger import Outcome
from router.domain.requests import Api
from router.domain.routes import ProviderSpec
from router.providers.sse import frames
from tests.gateway.fakes import Scripted, chat
from tests.gateway.table import Table, alias
from tests.gateway.test_budgets import Counting
from tests.providers.bedrock.event_writer import event, exception

BEDROCK = ProviderSpec(
    "p", "bedrock", "http://p.test", apis=frozenset({Api.CONVERSE}), translates=frozenset({Api.CHAT, Api.MESSAGES})
)
HEADERS = {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "req-1"}
START = event("messageStart", {"role": "assistant"})
STOP = event("messageStop", {"stopReason": "end_turn"})
METADATA = event("metadata", {"usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12}, "metrics": {}})


def said(text: str) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


def script(*pieces: bytes) -> Scripted:
    return Scripted(pieces=pieces, headers=HEADERS)


def over(*pieces: bytes) -> Table:
    return Table(alias("a", "p"), providers=[BEDROCK], p=[script(*pieces)])


async def streamed(table: Table, **fields: Any) -> bytes:
    async with table.open(chat(stream=True, **fields)) as got:
        assert got.frames is not None and got.content_type == "text/event-stream"
        return b"".join([piece async for piece in pieces_of(got.frames)])


async def test_a_stream_cut_within_its_messages_is_told_whole() -> None:
    whole = START + said("Good ") + said("day") + STOP + METADATA
    table = over(*(whole[at : at + 11] for at in range(0, len(whole), 11)))
    stream = await streamed(table, stream_options={"include_usage": True})
    told = [data for _, data in frames(stream)]
    assert told[-1] == b"[DONE]"
    chunks = [ChatCompletionChunk.model_validate_json(data, strict=True) for data in told[:-1]]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Good day"
    assert {chunk.id for chunk in chunks} == {"req-1"} and {chunk.model for chunk in chunks} == {"m"}
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 12
    assert table.entry.attempts[0].usage.output_tokens == 2 and table.outcomes == ["ok"]
    assert table.transport.calls[0].to.url == "http://p.test/model/m/converse-stream"


async def test_an_exception_in_the_middle_ends_the_stream_with_an_error() -> None:
    table = over(START, said("Good "), exception("throttlingException", {"message": "Slow down."}))
    stream = await streamed(table)
    assert json.loads([data for _, data in frames(stream)][-1])["error"]["message"] == "Slow down."
    assert b"[DONE]" not in stream and table.outcomes == ["server_error"] and table.entry.cost > 0


async def test_a_damaged_message_ends_the_stream_with_an_error() -> None:
    damaged = bytearray(said("Good "))
    damaged[-6] ^= 1
    table = over(START, said("Good "), bytes(damaged), STOP)
    with pytest.raises(GatewayError):
        await streamed(table)
    assert table.entry.cost > 0


@pytest.mark.parametrize("tail", [b"", said("day")[:40]])
async def test_a_stream_that_stops_on_its_way_never_looks_finished(tail: bytes) -> None:
    with pytest.raises(UpstreamTruncated):
        await streamed(over(START, said("Good "), tail) if tail else over(START, said("Good ")))


async def test_a_hard_budget_ends_a_stream_that_passes_its_cap() -> None:
    """Binary messages are counted as messages."""
    tokens = b"".join(said("a ") for _ in range(50))
    table = Counting(10**9, providers=[BEDROCK], p=[script(START, tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :])])
    seen = b""

    async def read() -> None:
        nonlocal seen
        async with table.open(chat(stream=True, max_tokens=3), table.who) as got:
            assert got.frames is not None
            async for piece in pieces_of(got.frames):
                seen += piece

    with pytest.raises(BudgetExceeded):
        await read()
    assert seen.count(b'"a "') == 4
    assert table.entry.outcome is Outcome.OVERRUN
