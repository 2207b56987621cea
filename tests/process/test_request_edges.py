"""Requests at the edges of the contract: routes, methods, ids, models, ambiguous JSON, CORS, proxies, /metrics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings
from tests.wire import Wire, head

pytestmark = pytest.mark.process

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    server = {"cors_origins": ["https://app.example.com"]}
    catalog = {
        "m": "sim",
        "any/*": {"targets": [{"provider": "sim"}]},
        "vectors": {"type": "embeddings", "targets": ["sim"]},
    }
    config = settings({"sim": sim.provider}, catalog, server=server, observability={"metrics_token": "token-of-the-scraper"})
    with Daemon(module_folder, config) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/openai/v1/nothing", 404, "not_found"),
        ("GET", "/admin/users", 404, "not_found"),
        ("POST", "/v1/messages/batches", 501, "not_supported"),
        ("POST", "/v1/images/generations", 501, "not_supported"),
        ("GET", "/v1/files/file-1/content", 501, "not_supported"),
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404, "model_not_found"),
    ],
)
async def test_what_is_not_served_says_so_in_our_envelope(
    routerd: Daemon, method: str, path: str, status: int, code: str
) -> None:
    async with routerd.client() as http:
        answer = await http.request(method, path)
        body = await answer.json()
    assert answer.status == status
    assert "X-Request-Id" in answer.headers
    assert path.startswith("/v1/messages") or body["error"]["code"] == code


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz", "/health", "/readyz", "/v1/models", "/openai/v1/models", "/v1/models/m", "/v1/models/any/model-7"],
)
async def test_what_real_clients_try_answers_get_and_head(routerd: Daemon, path: str) -> None:
    async with routerd.client() as http:
        assert (await http.get(path)).status == 200
        answer = await http.head(path)
        assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("sent", ["a", "A-b_c.9", "x" * 128])
async def test_a_well_formed_request_id_comes_back(routerd: Daemon, sent: str) -> None:
    async with routerd.client() as http:
        assert (await http.get("/v1/models", headers={"X-Request-Id": sent})).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "with space", "x" * 129, "<script>", "ключ", "a;b"])
async def test_any_other_request_id_is_replaced_by_ours(routerd: Daemon, sent: str) -> None:
    async with Wire(routerd) as wire:
        wire.send(head("GET", "/v1/models", {}).removesuffix(b"\r\n") + b"X-Request-Id: " + sent.encode() + b"\r\n\r\n")
        answer = await wire.reply()
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != sent


DEEP = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD_JSON: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "not-json": (b"{", None),
    "array": (b"[]", None),
    "number": (b"7", None),
    "deep": (DEEP, None),
    "deep-in-acted-on": (b'{"model":"m","metadata":' + b"[" * 100_000 + b"]" * 100_000 + b',"messages":[]}', None),
    "utf8": (b'{"model":"\xff\xfe"}', None),
    "nan": (b'{"model":"m","max_tokens":NaN}', None),
    "model-number": (b'{"model":7}', "model"),
    "stream-text": (b'{"model":"m","stream":"yes"}', "stream"),
    "negative-cap": (b'{"model":"m","max_tokens":-2}', "max_tokens"),
    "huge-cap": (b'{"model":"m","max_tokens":99999999999999999999}', None),
    "float-cap": (b'{"model":"m","max_tokens":1.5}', "max_tokens"),
    "bool-cap": (b'{"model":"m","max_tokens":true}', "max_tokens"),
    "options-text": (b'{"model":"m","stream":true,"stream_options":"x"}', "stream_options"),
    "two-models": (b'{"model":"m","messages":[],"model":"n"}', "model"),
    "escaped-model": (b'{"model":"m","messages":[],"mod\\u0065l":"n"}', "model"),
    "only-escaped-model": (b'{"\\u006dodel":"m","messages":[]}', "model"),
    "two-streams": (b'{"model":"m","stream":false,"stream":true}', "stream"),
}


@pytest.mark.parametrize("name", BAD_JSON)
async def test_json_that_cannot_be_acted_on_is_a_400_that_names_the_field(
    routerd: Daemon, sim: Simulator, name: str
) -> None:
    received = len(sim.log())
    body, param = BAD_JSON[name]
    async with Wire(routerd) as wire:
        wire.post(PATH, body)
        answer = await wire.reply()
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert (answer.status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_request")
    assert param is None or error["param"] == param
    assert len(sim.log()) == received


@pytest.mark.parametrize(
    "model",
    [
        "no",
        "m ",
        "M",
        "",
        "any/\r\nX-Evil: 1",
        "any/\x00",
        "any/имя",
        "any/" + "x" * 300,
        "\ud83d",
        "../../etc",
        "any/a b",
        "<b>",
    ],
)
async def test_a_model_that_is_none_is_a_404_or_400_and_stays_out_of_headers_and_metrics(
    routerd: Daemon, model: str
) -> None:
    async with Wire(routerd) as wire:
        wire.post(PATH, chat(model))
        answer = await wire.reply()
    assert answer.status in {400, 404}
    assert answer.code in {"model_not_found", "model_required", "invalid_request"}
    assert "x-evil" not in answer.headers
    async with routerd.client() as http:
        text = await (await http.get("/metrics")).text()
    assert len(model) < 4 or model not in text


async def test_an_alias_of_another_kind_is_a_400(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer = await http.post(PATH, json=chat("vectors"))
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "model")


async def test_cors_is_for_listed_origins_only(routerd: Daemon) -> None:
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with routerd.client(None) as http:
        good = await http.options(PATH, headers=ask | {"Origin": "https://app.example.com"})
        assert (good.status, good.headers["Access-Control-Allow-Origin"]) == (204, "https://app.example.com")
        assert "authorization" in good.headers["Access-Control-Allow-Headers"]
        bad = await http.options(PATH, headers=ask | {"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in bad.headers
        refused = await http.post(PATH, json=chat("m"), headers={"Origin": "https://app.example.com"})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://app.example.com")
    async with routerd.client() as http:
        for stream in (False, True):
            answer = await http.post(PATH, json=chat("m", stream=stream), headers={"Origin": "https://app.example.com"})
            await answer.read()
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
            assert answer.headers["Vary"] == "Origin"


async def test_metrics_answer_loopback_or_the_token_and_nobody_behind_a_proxy(routerd: Daemon) -> None:
    async with routerd.client(None) as http:
        assert (await http.get("/metrics")).status == 200
        assert (await http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})).status == 404
        token = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer token-of-the-scraper"}
        assert (await http.get("/metrics", headers=token)).status == 200
        assert (await http.get("/metrics", headers=token | {"Authorization": "Bearer wrong"})).status == 404


async def test_only_a_trusted_proxy_says_who_the_caller_is(folder: Workplace) -> None:
    limits = {"per_address_per_minute": 2}
    config = settings({"sim": {"type": "simulated"}}, {"m": "sim"}, rate_limits=limits)
    with Daemon(folder, config) as routerd:

        async def statuses(prefix: str) -> list[int]:
            found = []
            for number in range(4):
                async with (
                    routerd.client() as http,
                    http.get("/v1/models", headers={"X-Forwarded-For": f"{prefix}{number}"}) as answer,
                ):
                    found.append(answer.status)
            return found

        assert await statuses("203.0.113.") == [200, 200, 429, 429], "a header from anybody counts for nothing"
        trusting = settings(
            {"sim": {"type": "simulated"}}, {"m": "sim"}, rate_limits=limits, server={"trusted_proxies": ["127.0.0.0/8"]}
        )
        assert (await routerd.reload(trusting))["event"] == "config_reloaded"
        assert await statuses("203.0.113.") == [200] * 4
        assert await statuses("198.51.100.7, 127.0.0.") == [200, 200, 429, 429], "the last hop that is no proxy of ours"


async def test_callers_headers_and_cookies_do_not_travel(routerd: Daemon, sim: Simulator) -> None:
    sent = {
        "Cookie": "session=canary",
        "X-Evil": "1",
        "x-api-key": "canary",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    }
    async with routerd.client() as http:
        answer = await http.post(PATH, json=chat("m", case="headers"), headers=sent)
        assert answer.status == 200
        assert "openai-version" not in answer.headers
        assert "Set-Cookie" not in answer.headers
    (received,) = sim.log(event="received", case="headers")
    assert received["request_headers"].keys() <= {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "authorization",
        "traceparent",
    }
    assert "canary" not in json.dumps(received)
    assert received["traceparent"] == sent["traceparent"]
