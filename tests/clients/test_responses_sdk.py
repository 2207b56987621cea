"""Responses that are kept, through OpenAI's own SDK: two turns, fetch, list, delete, and what runs in the background."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.daemon import KEY, Daemon

pytestmark = pytest.mark.process


@pytest.fixture
async def sdk(routerd: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


async def ended(sdk: openai.AsyncOpenAI, name: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            got = await sdk.responses.retrieve(name)
            if got.status not in ("queued", "in_progress"):
                return got
            await asyncio.sleep(0.05)


async def test_two_turns_are_kept_and_the_second_is_told_the_first(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="gpt-5-mini", input="my name is Ann", instructions="be brief")
    assert first.id.startswith("resp_")
    assert (first.model_dump()["store"], first.previous_response_id) == (True, None)
    second = await sdk.responses.create(model="gpt-5-mini", input="what is my name?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert (await sdk.responses.retrieve(second.id)).output_text == second.output_text
    listed: list[Any] = [item async for item in await sdk.responses.input_items.list(second.id, order="asc", limit=1)]
    texts = [item.content[0].text for item in listed]
    assert texts == ["my name is Ann", first.output_text, "what is my name?"]
    assert [item.role for item in listed] == ["user", "assistant", "user"]
    assert listed[1].id == first.output[0].id
    newest = await sdk.responses.input_items.list(second.id, limit=2)
    assert [item.id for item in newest.data] == [listed[2].id, listed[1].id]
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens


async def test_a_deleted_response_is_gone_and_what_goes_on_from_it_is_not(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="gpt-5-mini", input="one")
    second = await sdk.responses.create(model="gpt-5-mini", input="two", previous_response_id=first.id)
    await sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.create(model="gpt-5-mini", input="three", previous_response_id=first.id)
    third = await sdk.responses.create(model="gpt-5-mini", input="three", previous_response_id=second.id)
    assert len((await sdk.responses.input_items.list(third.id)).data) == 5


async def test_a_stream_tells_the_id_that_finds_it(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="gpt-5-mini", input="trains", stream=True)
    events = [event async for event in stream]
    whole = [event.response for event in events if hasattr(event, "response")]
    assert {response.id for response in whole} == {whole[0].id}
    assert events[-1].type == "response.completed"
    assert (await sdk.responses.retrieve(whole[0].id)).output_text == whole[-1].output_text
    with pytest.raises(openai.BadRequestError, match="background"):
        await sdk.responses.cancel(whole[0].id)


async def test_one_that_is_not_to_be_stored_is_not_found(sdk: openai.AsyncOpenAI) -> None:
    got = await sdk.responses.create(model="gpt-5-mini", input="one", store=False)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(got.id)


async def test_an_item_is_named_instead_of_repeated(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="gpt-5-mini", input="one")
    named: Any = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "and?"}]
    second = await sdk.responses.create(model="gpt-5-mini", input=named)
    told: list[Any] = (await sdk.responses.input_items.list(second.id, order="asc")).data
    assert told[0].content[0].text == first.output_text
    named[0]["id"] = "msg_nobodys"
    with pytest.raises(openai.NotFoundError, match="msg_nobodys"):
        await sdk.responses.create(model="gpt-5-mini", input=named)


async def test_a_response_in_the_background_is_fetched_when_it_is_done(sdk: openai.AsyncOpenAI) -> None:
    queued = await sdk.responses.create(model="gpt-5-mini", input="trains", background=True)
    assert (queued.status, queued.background, queued.output) == ("queued", True, [])
    done = await ended(sdk, queued.id)
    assert (done.status, done.id, done.background) == ("completed", queued.id, True)
    assert done.output_text
    again = await sdk.responses.create(model="gpt-5-mini", input="more", previous_response_id=queued.id)
    assert len((await sdk.responses.input_items.list(again.id)).data) == 3
    assert (await sdk.responses.cancel(queued.id)).status == "completed"


async def test_a_stream_in_the_background_is_taken_up_where_it_was_left(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="gpt-5-mini", input="trains", background=True, stream=True)
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if len(seen) == 3:
            break
    await stream.close()
    name, last = seen[0].response.id, seen[-1].sequence_number
    rest = [event async for event in await sdk.responses.retrieve(name, stream=True, starting_after=last)]
    assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert rest[-1].type == "response.completed"
    assert (await ended(sdk, name)).output_text == rest[-1].response.output_text


async def test_a_conversation_is_refused_by_name(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="gpt-5-mini", input="one", conversation="conv_1")
    assert refused.value.param == "conversation"
