"""Providers that fail, through real SDKs: what a caller is told, and who answers instead."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.mock.callers import CALLERS, Asked, Caller
from tests.clients.mock.conftest import FAILOVERS, FAULTS, failover
from tests.clients.mock.process import MockProviders, targets
from tests.daemon import AUTH, Daemon

pytestmark = pytest.mark.process

Speak = Callable[[str, str], Caller]
by_caller = pytest.mark.parametrize("caller", CALLERS)
by_target = pytest.mark.parametrize("alias", targets(""))
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
BREAK_OFF = [{"role": "user", "content": "Break off."}]
RAW: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "chat": ("/v1/chat/completions", {"messages": BREAK_OFF}, ("[DONE]", '"finish_reason":"')),
    "responses": ("/v1/responses", {"input": "Break off."}, ("response.completed", "response.incomplete")),
    "messages": ("/v1/messages", {"messages": BREAK_OFF, "max_tokens": 100}, ("message_stop", '"stop_reason":"')),
}


@by_caller
@by_target
@streamed_or_not
def test_a_rate_limit_is_told_with_its_wait(speak: Speak, caller: str, alias: str, *, streamed: bool) -> None:
    talk = speak(caller, alias)
    with pytest.raises(talk.limited) as caught:
        talk.ask("Too often.", Asked(streamed=streamed))
    response: Any = getattr(caught.value, "response", None)
    assert 1 <= int(response.headers["retry-after"]) <= 7


@by_caller
@by_target
@streamed_or_not
def test_a_server_that_fell_over_is_an_error_of_the_gateway(
    speak: Speak, caller: str, alias: str, *, streamed: bool
) -> None:
    talk = speak(caller, alias)
    with pytest.raises(talk.wrong) as caught:
        talk.ask("Fall over.", Asked(streamed=streamed))
    assert getattr(caught.value, "status_code", None) == 502


@by_caller
@by_target
def test_a_stream_that_breaks_off_raises(speak: Speak, caller: str, alias: str) -> None:
    talk = speak(caller, alias)
    with pytest.raises(talk.wrong, match="broke before the answer was whole"):
        talk.ask("Break off.", Asked(streamed=True))


@by_caller
@by_target
def test_a_stream_that_breaks_off_has_an_error_and_no_end(routerd: Daemon, caller: str, alias: str) -> None:
    route, body, ends = RAW[caller]
    asked = json.dumps(body | {"model": alias, "stream": True}).encode()
    request = urllib.request.Request(routerd.url + route, asked, AUTH | {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        told = answer.read().decode()
    assert "This " in told and '"error"' in told, told
    assert not [end for end in ends if end in told], told


@by_caller
@pytest.mark.parametrize("ways", FAILOVERS, ids="-".join)
@pytest.mark.parametrize("fault", FAULTS)
@streamed_or_not
def test_another_type_of_provider_answers_instead(
    speak: Speak, mock: MockProviders, caller: str, ways: tuple[str, str], fault: str, *, streamed: bool
) -> None:
    mock.journal()
    said = speak(caller, failover(ways, fault, caller, streamed)).ask(FAULTS[fault], Asked(streamed=streamed))
    assert said.text == "The second one."
    failed, answered = mock.journal()
    assert (failed["response"]["status"], answered["response"]["status"]) == (int(fault), 200)
    assert "first-choice" in json.dumps([failed["path"], failed["body"]])
    assert "second-choice" in json.dumps([answered["path"], answered["body"]])
