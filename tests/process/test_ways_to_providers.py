"""How the daemon reaches a provider: through a proxy where its file says so, and trusting what a CA file holds now."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings
from tests.providers.certificates import make_certificate, server_tls
from tests.providers.forwarding import forwarder
from tests.providers.hostile import says, upstream

pytestmark = pytest.mark.process

ANSWER = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


async def status(routerd: Daemon, model: str) -> int:
    async with routerd.client() as http, http.post("/v1/chat/completions", json=chat(model)) as answer:
        return answer.status


async def test_the_environments_proxy_is_used_by_those_providers_that_ask_for_it(folder: Workplace) -> None:
    async with forwarder() as proxy:
        with Simulator(folder) as sim:
            providers = {"far": {**sim.provider, "proxy": "environment"}, "near": sim.provider}
            environ = {"http_proxy": proxy.url.replace("http://", "http://me:canary-of-the-proxy@")}
            with Daemon(folder, settings(providers, {"far": "far", "near": "near"}), environ) as routerd:
                assert await status(routerd, "near") == 200
                assert proxy.connections == 0
                assert await status(routerd, "far") == 200
                stream = chat("far", stream=True)
                async with routerd.client() as http, http.post("/v1/chat/completions", json=stream) as answer:
                    assert (await answer.read()).endswith(b"data: [DONE]\n\n")
                assert len(proxy.heads) == 2
                assert all(head.startswith(f"POST {sim.origin}/v1/chat".encode()) for head in proxy.heads)
                assert "canary" not in routerd.stdout.read_text()


async def test_a_reload_takes_up_what_a_ca_file_holds_now(folder: Workplace) -> None:
    right, wrong = (make_certificate(folder.path / name) for name in ("right.pem", "wrong.pem"))
    ca: Path = folder.path / "ca.pem"
    ca.write_bytes(wrong.read_bytes())
    async with upstream(says(WHOLE), tls=server_tls(right)) as peer:
        base = f"https://{urlsplit(peer.url).netloc}/v1"
        provider = {"type": "openai-compatible", "base_url": base, "ca_file": "ca.pem"}
        config = settings({"tls": provider}, {"a": {"targets": ["tls"], "max_attempts": 1}})
        with Daemon(folder, config) as routerd:
            assert await status(routerd, "a") in {502, 503}
            ca.write_bytes(right.read_bytes())
            assert (await routerd.reload(config))["event"] == "config_reloaded"
            assert await status(routerd, "a") == 200
            ca.write_bytes(wrong.read_bytes())
            assert (await routerd.reload(config))["event"] == "config_reloaded"
            assert await status(routerd, "a") in {502, 503}
