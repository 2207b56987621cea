"""Real SDKs through the daemon to every type of provider, all of them mocks that nobody here wrote (fixtures.json).

The mock is written by hand too: where it and recorded traffic differ, the recordings are right, and a comment says so.
"""

import json
from collections.abc import Callable

import pytest

from tests.clients.mock.callers import CALLERS, PARAMETERS, PICTURE, Asked, Caller, Lighthouse
from tests.clients.mock.process import MockProviders, targets

pytestmark = pytest.mark.process

Speak = Callable[[str, str], Caller]
TARGETS = tuple(targets(""))
MAIN = ("openai", "anthropic", "gemini", "bedrock")
LIGHT = "The light is on. Ünder way, and no ship is lost."
# The mock's Ollama always says 0; and it counts streams only on request, where those recorded of Mistral count unasked.
UNCOUNTED = {("ollama-native", False), ("ollama-native", True), ("mistral", True)}
by_caller = pytest.mark.parametrize("caller", CALLERS)
by_target = pytest.mark.parametrize("alias", TARGETS)
by_main = pytest.mark.parametrize("alias", MAIN)
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@by_caller
@by_target
@streamed_or_not
def test_an_answer_with_its_usage(speak: Speak, mock: MockProviders, caller: str, alias: str, *, streamed: bool) -> None:
    mock.journal()
    talk = speak(caller, alias)
    said = talk.ask("Is the light on?", Asked(streamed=streamed))
    assert (said.text, said.calls, said.end) == (LIGHT, [], talk.ends["stop"])
    if (alias, streamed) not in UNCOUNTED:
        assert said.tokens == (11, 7)
    if streamed:
        assert "".join(said.pieces) == LIGHT and len(said.pieces) > 1
    [heard] = mock.journal()
    target = targets("")[alias]
    own = target.responses if caller == "responses" else None
    assert heard["path"].startswith(own or target.path), heard["path"]


@by_caller
@by_target
@streamed_or_not
def test_a_tool_and_the_turn_with_its_result(
    speak: Speak, mock: MockProviders, caller: str, alias: str, *, streamed: bool
) -> None:
    mock.journal()
    asked = Asked(streamed=streamed, tools=True)
    talk = speak(caller, alias)
    first = talk.ask("Weather in Genoa?", asked)
    assert [(call.name, call.arguments) for call in first.calls] == [("get_weather", {"city": "Genoa"})]
    assert (first.text, first.end) == ("", talk.ends["tools"])
    if (alias, streamed) not in UNCOUNTED:
        assert first.tokens == (30, 9)
    second = talk.tell({first.calls[0].id: "Sunny, 20 degrees"}, asked)
    assert (second.text, second.calls, second.end) == ("It is sunny in Genoa.", [], talk.ends["stop"])
    offered, answered = mock.journal()
    [tool] = offered["body"]["tools"]
    assert tool["function"]["name"] == "get_weather"
    # Of Gemini's two fields for a schema the mock reads `parameters`; recorded requests have `parametersJsonSchema` too.
    if alias not in {"gemini", "vertex"}:
        assert tool["function"]["parameters"]["properties"] == PARAMETERS["properties"]
    user, made, result = answered["body"]["messages"]
    assert (user["content"], result["role"]) == ("Weather in Genoa?", "tool")
    assert "Sunny, 20 degrees" in json.dumps(result["content"])
    [call] = made["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Genoa"}


@by_caller
@by_main
@streamed_or_not
def test_two_calls_at_once_after_a_word(speak: Speak, caller: str, alias: str, *, streamed: bool) -> None:
    asked = Asked(streamed=streamed, tools=True)
    talk = speak(caller, alias)
    first = talk.ask("Weather in Genoa and in Riga?", asked)
    assert (first.text, first.end) == ("I look at both.", talk.ends["tools"])
    assert [call.arguments for call in first.calls] == [{"city": "Genoa"}, {"city": "Rīga"}]
    one, two = first.calls
    assert one.id != two.id
    second = talk.tell({one.id: "Sunny", two.id: "Snow"}, asked)
    assert second.text == "Sunny in Genoa, snow in Riga."
    third = talk.ask("Is the light on?", asked)
    assert third.text == LIGHT


@by_caller
@by_target
def test_what_the_system_says_is_heard_as_such(speak: Speak, mock: MockProviders, caller: str, alias: str) -> None:
    mock.journal()
    assert speak(caller, alias).ask("Is the light on?", Asked(system="Keep the light.")).text == LIGHT
    [heard] = mock.journal()
    told = {message["role"]: json.dumps(message["content"]) for message in heard["body"]["messages"]}
    assert told.keys() == {"system", "user"}
    assert "Keep the light." in told["system"] and "Is the light on?" in told["user"]


@by_caller
@by_main
@streamed_or_not
def test_a_picture(speak: Speak, mock: MockProviders, caller: str, alias: str, *, streamed: bool) -> None:
    mock.journal()
    said = speak(caller, alias).ask("What is in the picture?", Asked(streamed=streamed, picture=True))
    assert said.text == "A lighthouse."
    [heard] = mock.journal()
    assert heard["response"]["status"] == 200
    # The mock keeps what it took for a Chat Completion: pictures in other words are answered, and left out of its journal.
    if heard["path"] == "/v1/chat/completions":
        assert PICTURE in json.dumps(heard["body"])


@by_caller
@by_main
@streamed_or_not
def test_an_answer_in_a_schema(speak: Speak, caller: str, alias: str, *, streamed: bool) -> None:
    said = speak(caller, alias).ask("Which lighthouse was a wonder?", Asked(streamed=streamed, schema=Lighthouse))
    assert Lighthouse.model_validate_json(said.text) == Lighthouse(name="Pharos", height_m=103)


@pytest.mark.parametrize("caller", ["chat", "responses"])
@streamed_or_not
def test_an_answer_in_a_schema_that_a_forced_tool_carries(
    speak: Speak, mock: MockProviders, caller: str, *, streamed: bool
) -> None:
    mock.journal()
    talk = speak(caller, "nova")
    said = talk.ask("Which lighthouse was a wonder?", Asked(streamed=streamed, schema=Lighthouse))
    assert (said.calls, said.end) == ([], talk.ends["stop"])
    assert Lighthouse.model_validate_json(said.text) == Lighthouse(name="Pharos", height_m=103)
    [heard] = mock.journal()
    assert [tool["function"]["name"] for tool in heard["body"]["tools"]] == ["Lighthouse"]


@by_caller
@pytest.mark.parametrize("alias", ["anthropic", "gemini", "vertex", "bedrock", "groq", "vllm"])
@streamed_or_not
def test_a_thought_before_the_answer_that_goes_back_with_the_next_turn(
    speak: Speak, caller: str, alias: str, *, streamed: bool
) -> None:
    """Not Cohere and Ollama: recorded thoughts of theirs are `thinking`, the mock's are texts, or `reasoning_content`."""
    talk = speak(caller, alias)
    said = talk.ask("Think about the tide.", Asked(streamed=streamed))
    assert (said.thought, said.text) == ("The moon pulls at the sea.", "It turns twice a day.")
    assert talk.ask("Is the light on?", Asked(streamed=streamed)).text == LIGHT


@by_caller
@by_main
@streamed_or_not
def test_an_answer_that_met_its_cap(speak: Speak, caller: str, alias: str, *, streamed: bool) -> None:
    talk = speak(caller, alias)
    said = talk.ask("Say more than there is room for.", Asked(streamed=streamed))
    # The mock's own Responses lack the `incomplete_details` that recorded ones have; they pass as they are.
    end = "incomplete" if (caller, alias) == ("responses", "openai") else talk.ends["length"]
    assert (said.text, said.end) == ("Once upon a", end)
