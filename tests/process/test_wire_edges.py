"""HTTP as attackers and broken clients write it: refused at the edge, never half understood, never a 500."""

import asyncio
import gzip
import json
from collections.abc import Iterator

import pytest

from tests.daemon import AUTH, Daemon, Simulator, Workplace, chat, settings
from tests.wire import Wire, head

pytestmark = pytest.mark.process

PATH = "/v1/chat/completions"
BODY = json.dumps(chat("m", case="smuggled")).encode()
JSON = {"Content-Type": "application/json"}
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def raw(*lines: str, body: bytes = BODY, host: str = "Host: routerd.test", path: str = PATH) -> bytes:
    common = (
        f"POST {path} HTTP/1.1",
        host,
        f"Authorization: {AUTH['Authorization']}",
        "Content-Type: application/json",
        *lines,
    )
    return "\r\n".join(line for line in common if line).encode("latin-1") + b"\r\n\r\n" + body


SIZE = f"Content-Length: {len(BODY)}"
SMUGGLING = {
    "both-lengths": raw(SIZE, "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "two-lengths": raw(SIZE, f"Content-Length: {len(BODY) + len(HIDDEN)}"),
    "xchunked": raw("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunked-identity": raw("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN),
    "two-hosts": raw(SIZE, "Host: other.test"),
    "no-host": raw(SIZE, host=""),
    "bare-lf": raw(SIZE).replace(b"\r\n", b"\n", 3),
    "folded-header": raw(SIZE, "X-Long: a", " b"),
    "space-before-colon": raw(f"Content-Length : {len(BODY)}"),
    "plus-length": raw(f"Content-Length: +{len(BODY)}"),
    "negative-length": raw("Content-Length: -1"),
    "hex-length": raw(f"Content-Length: 0x{len(BODY):x}"),
    "many-headers": raw(SIZE, *(f"X-{n}: {n}" for n in range(200))),
    "long-header": raw(SIZE, "X-Long: " + "a" * 20_000),
    "nul-in-header": raw(SIZE, "X-Nul: a\0b"),
    "bad-chunk-size": raw("Transfer-Encoding: chunked", body=b"zz\r\n" + HIDDEN),
    "chunk-overflow": raw("Transfer-Encoding: chunked", body=b"ffffffffffffffff1\r\nx\r\n"),
    "bad-version": raw(SIZE).replace(b"HTTP/1.1", b"HTTP/1.9x", 1),
    "bad-method": raw(SIZE).replace(b"POST", b"PO ST", 1),
}


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    server = {"body_limit_mb": 1, "cors_origins": ["https://app.example.com"]}
    with Daemon(module_folder, settings({"sim": sim.provider}, {"m": "sim"}, server=server)) as running:
        yield running


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_framing_is_a_400_and_the_connection_ends(routerd: Daemon, sim: Simulator, name: str) -> None:
    async with Wire(routerd) as wire:
        wire.send(SMUGGLING[name])
        answers = await wire.rest()
    assert answers[9:12] == b"400", answers[:200]
    assert answers.count(b"\r\nContent-Length:") == 1, "what is hidden behind it is never read as a request"
    assert b"secret" not in answers
    assert b"aiohttp" not in answers
    assert json.loads(answers.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"
    assert sim.log(event="received", case="smuggled") == []


async def test_an_upgrade_with_a_body_hides_no_second_request(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGVzdA==")
        wire.send(raw(f"Content-Length: {len(HIDDEN)}", *upgrade, body=HIDDEN, path="/v1/realtime"))
        assert (await wire.reply()).status in {400, 501}
        with pytest.raises((TimeoutError, asyncio.IncompleteReadError)):
            await wire.reply(0.3)


async def test_realtime_websockets_are_refused_by_name(routerd: Daemon) -> None:
    async with routerd.client() as http:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGVzdA==",
        }
        answer = await http.get("/v1/realtime?model=m", headers=upgrade)
        assert (answer.status, (await answer.json())["error"]["code"]) == (501, "not_supported")


async def test_two_pipelined_requests_get_two_answers_in_order(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        wire.post(PATH, chat("m"), X_Request_Id="first")
        wire.post(PATH, chat("m"), X_Request_Id="second")
        assert [(await wire.reply()).headers["x-request-id"] for _ in range(2)] == ["first", "second"]


async def test_a_body_that_fills_every_buffer_holds_up_no_request_behind_it(routerd: Daemon) -> None:
    """Reading stops while a large body waits to be read, and must go on for it and for what was sent behind it."""
    async with Wire(routerd) as wire:
        for number in range(3):
            wire.post(PATH, chat("m", padding="x" * 900_000), X_Request_Id=f"large-{number}")
            wire.post(PATH, chat("m"), X_Request_Id=f"small-{number}")
        answers = [await wire.reply() for _ in range(6)]
    assert [a.headers["x-request-id"] for a in answers] == [f"{size}-{n}" for n in range(3) for size in ("large", "small")]
    assert {a.status for a in answers} == {200}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_body_over_the_limit_is_a_413(routerd: Daemon, sim: Simulator, chunked: bool) -> None:
    data = json.dumps(chat("m", case="large", padding="x" * 2**21)).encode()
    async with Wire(routerd) as wire:
        if chunked:
            wire.send(head("POST", PATH, JSON | {"Transfer-Encoding": "chunked"}))
            wire.send(
                b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (data[i : i + 65536] for i in range(0, len(data), 65536)))
            )
            wire.send(b"0\r\n\r\n")
        else:
            wire.post(PATH, data)
        answer = await wire.reply()
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert sim.log(case="large") == []


async def test_a_body_promised_too_large_is_refused_before_it_is_sent(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        wire.send(head("POST", PATH, JSON | {"Content-Length": 2**40}))
        answer = await wire.reply()
    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_a_caller_without_a_key_need_not_send_its_body(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        wire.send(head("POST", PATH, JSON | {"Content-Length": 1000, "Authorization": "Bearer sk-demo.wrong"}))
        assert (await wire.reply()).status == 401


async def test_expect_100_continue_is_answered_only_by_a_final_status_or_continue(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        wire.send(head("POST", PATH, JSON | {"Content-Length": len(BODY), "Expect": "100-continue"}))
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        wire.send(json.dumps(chat("m", case="continued")).encode().ljust(len(BODY)))
        assert (await wire.reply()).status in {200, 400}


async def test_a_compressed_body_is_a_415_and_never_unpacked(routerd: Daemon) -> None:
    before = routerd.rss_bytes
    async with Wire(routerd) as wire:
        wire.post(PATH, gzip.compress(b"0" * 2**26), Content_Encoding="gzip")
        answer = await wire.reply()
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert routerd.rss_bytes - before < 16 * 2**20


async def test_another_content_type_is_a_415(routerd: Daemon) -> None:
    async with routerd.client() as http:
        for kind, status in (
            ("application/xml", 415),
            ("multipart/form-data; boundary=x", 415),
            ("text/plain", 200),
            ("application/json; charset=utf-8", 200),
        ):
            answer = await http.post(PATH, data=json.dumps(chat("m")), headers={"Content-Type": kind})
            assert answer.status == status, kind


async def test_a_client_that_sends_headers_by_the_drop_is_let_go(folder: Workplace) -> None:
    server = {"timeouts": {"keep_alive": "500ms"}}
    with Daemon(folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"}, server=server)) as routerd:
        async with Wire(routerd) as wire, asyncio.timeout(4):
            wire.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
            while not wire.reader.at_eof():
                wire.send(b"X")
                await asyncio.sleep(0.1)
                if wire.reader.at_eof() or wire.writer.transport.is_closing():
                    break


@pytest.mark.torture
async def test_a_body_that_does_not_come_is_a_408_after_30_seconds(routerd: Daemon) -> None:
    async with Wire(routerd) as wire:
        wire.send(head("POST", PATH, JSON | {"Content-Length": 1000}) + b"{")
        answer = await wire.reply(40)
    assert (answer.status, answer.code) == (408, "request_timeout")
