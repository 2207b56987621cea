"""What callers say and show, in Gemini's words: turns, results, signatures and media."""

import json
from typing import Any

from router.domain.chat import ChatQuery, Family, Part, Reasoning, Role, Text, ToolCall, ToolResult, Turn
from router.providers.gemini.codec import GeminiCodec
from router.providers.gemini.content_out import UNSIGNED
from tests.providers.gemini.asking import GEMINI, ON_VERTEX, USER, of_messages, refused, told

# -- turns ----------------------------------------------------------------------------------------------------


def test_system_turns_stand_before_the_conversation() -> None:
    turns = [{"role": "system", "content": "Be brief."}, USER, {"role": "developer", "content": "In Latin."}]
    assert told(messages=turns) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "In Latin."}]},
        "contents": [{"role": "user", "parts": [{"text": "Weather?"}]}],
    }


def test_a_system_turn_alone_is_what_the_user_says() -> None:
    found = told(messages=[{"role": "system", "content": "Say hello."}])
    assert found == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


def conversation(*results: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": '{"city": "Rome"}'}}
        for number, name in enumerate(("weather", "time"), start=1)
    ]
    return [USER, {"role": "assistant", "content": None, "tool_calls": calls} | more, *results]


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_results_are_one_content_in_the_order_of_their_calls_and_by_name() -> None:
    turns = conversation(
        result("c2", "12:00"), result("c1", '{"sky": "blue", "n": 1.0}'), {"role": "user", "content": "And?"}
    )
    contents = told(messages=turns)["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert contents[1]["parts"] == [
        {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "c1"}},
        {"functionCall": {"name": "time", "args": {"city": "Rome"}, "id": "c2"}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"sky": "blue", "n": 1.0}, "id": "c1"}},
        {"functionResponse": {"name": "time", "response": {"output": "12:00"}, "id": "c2"}},
    ]
    assert contents[3]["parts"] == [{"text": "And?"}]


def test_vertex_is_told_ids_of_calls_only_of_models_that_know_them() -> None:
    turns = conversation(result("c1", "x"), result("c2", "y"))
    assert '"id"' not in json.dumps(told("gemini-2.5-pro", ON_VERTEX, messages=turns))
    assert '"id": "c1"' in json.dumps(told("gemini-3-pro-preview", ON_VERTEX, messages=turns))


def test_a_result_that_answers_no_known_call_is_refused() -> None:
    assert refused(messages=[USER, result("c9", "x")]) == "messages"


def test_a_failed_tools_result_is_its_error() -> None:
    turns = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no net", "is_error": True}]},
    ]
    answer = of_messages(messages=turns)["contents"][2]["parts"][0]["functionResponse"]
    assert answer == {"name": "weather", "response": {"error": "no net"}, "id": "t1"}


def test_an_image_in_a_result_is_shown_in_it_or_behind_it() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    seen = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "seen"}, image]}
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    turns = [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [seen]}]
    shown = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    inside = of_messages("gemini-3-pro-preview", messages=turns)["contents"][2]["parts"]
    assert inside[0]["functionResponse"]["parts"] == [shown]
    behind = of_messages("gemini-2.5-flash", messages=turns)["contents"][2:]
    assert "parts" not in behind[0]["parts"][0]["functionResponse"] and behind[1]["parts"] == [shown]


def test_an_earlier_result_keeps_the_name_of_its_own_call_when_ids_come_again() -> None:
    again = [part for name in ("weather", "time") for part in _asked(name)]
    query = ChatQuery(Family.CHAT, (Turn(Role.USER, (Text("x"),)), *again))
    contents = json.loads(GEMINI.encode_query(query, "gemini-2.5-flash", "p/m").body)["contents"]
    answered = [
        part["functionResponse"]["name"]
        for content in contents
        for part in content["parts"]
        if len(part) and "functionResponse" in part
    ]
    assert answered == ["weather", "time"]


def _asked(name: str) -> tuple[Turn, Turn]:
    call, answer = ToolCall("same", name, "{}"), ToolResult("same", (Text("ok"),))
    return Turn(Role.ASSISTANT, (call,)), Turn(Role.USER, (answer,))


# -- signatures -----------------------------------------------------------------------------------------------


def with_parts(*parts: Part, model: str = "gemini-2.5-flash") -> list[dict[str, Any]]:
    query = ChatQuery(Family.CHAT, (Turn(Role.USER, (Text("x"),)), Turn(Role.ASSISTANT, parts)))
    contents = json.loads(GEMINI.encode_query(query, model, "p/m").body)["contents"]
    found: list[dict[str, Any]] = contents[1]["parts"] if len(contents) > 1 else []
    return found


def test_what_gemini_signed_goes_back_to_it_where_it_stood() -> None:
    parts = (
        Reasoning("hm", Family.GEMINI, "s0"),
        Text("It is", signature="s1"),
        ToolCall("c1", "weather", "{}", signature="s2", family=Family.GEMINI),
    )
    assert with_parts(*parts) == [
        {"text": "hm", "thought": True, "thoughtSignature": "s0"},
        {"text": "It is", "thoughtSignature": "s1"},
        {"functionCall": {"name": "weather", "args": {}, "id": "c1"}, "thoughtSignature": "s2"},
    ]
    assert with_parts(Text("", signature="s1")) == [{"text": "", "thoughtSignature": "s1"}]


def test_another_familys_thoughts_and_signatures_stay_away() -> None:
    query = ChatQuery(
        Family.ANTHROPIC,
        (
            Turn(Role.USER, (Text("x"),)),
            Turn(
                Role.ASSISTANT,
                (
                    Reasoning("secret", Family.ANTHROPIC, "s"),
                    Reasoning("unsigned", Family.GEMINI),
                    ToolCall("c", "f", "{}", signature="r", family=Family.RESPONSES),
                ),
            ),
        ),
    )
    found = GEMINI.encode_query(query, "gemini-2.5-flash", "p/m")
    assert b"secret" not in found.body and b"unsigned" not in found.body and b"thoughtSignature" not in found.body
    assert found.dropped == ("reasoning",)


def test_gemini_3_is_told_of_a_call_that_it_did_not_sign_as_google_documents() -> None:
    calls = (ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}"))
    signed = [part.get("thoughtSignature") for part in with_parts(*calls, model="gemini-3-flash-preview")]
    assert signed == [UNSIGNED, None]
    assert "thoughtSignature" not in with_parts(*calls)[0]


# -- media ----------------------------------------------------------------------------------------------------


def part_of(part: dict[str, Any], codec: GeminiCodec = GEMINI) -> dict[str, Any]:
    found: dict[str, Any] = told("gemini-2.5-flash", codec, messages=[{"role": "user", "content": [part]}])["contents"][0][
        "parts"
    ][0]
    return found


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_media_are_told_by_content_or_by_address() -> None:
    assert part_of(image("data:image/png;base64,AA==")) == {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    cat = part_of(image("https://x.test/cat.jpg?w=1"))
    assert cat == {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/cat.jpg?w=1"}}
    assert part_of(image("gs://b/cat.webp"))["fileData"]["mimeType"] == "image/webp"
    assert part_of(image("https://x.test/cat")) == {"fileData": {"fileUri": "https://x.test/cat"}}
    sound = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}
    assert part_of(sound) == {"inlineData": {"mimeType": "audio/mp3", "data": "AA=="}}
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
    assert part_of(pdf) == {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}
    film = {"type": "file", "file": {"filename": "a.mp4", "file_data": "data:video/mp4;base64,AA=="}}
    assert part_of(film)["inlineData"]["mimeType"] == "video/mp4"
    kept = "https://generativelanguage.googleapis.com/v1beta/files/x"
    assert part_of({"type": "file", "file": {"file_id": kept}}) == {"fileData": {"fileUri": kept}}


def test_media_that_gemini_cannot_find_are_refused() -> None:
    assert refused(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}])
    assert refused(messages=[{"role": "user", "content": [image("ftp://x.test/a.png")]}])
    assert refused(codec=ON_VERTEX, messages=[{"role": "user", "content": [image("https://x.test/cat")]}])
    assert refused(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA"}}]}])
