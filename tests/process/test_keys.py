"""Who may call: keys that are revoked, removed, expired or narrowed, as a running daemon notices it."""

import asyncio
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.daemon import KEY, Daemon, Workplace, chat, settings, until

pytestmark = pytest.mark.process

PROVIDERS = {"sim": {"type": "simulated"}}


def key(name: str, **more: object) -> dict[str, object]:
    return {"tenant": "demo", "name": name, "prefix": name, "secret": f"the-secret-of-the-key-{name}", **more}


def config(*keys: dict[str, object], **sections: object) -> dict[str, object]:
    base = settings(PROVIDERS, {"m": "sim", "n": "sim"}, **sections)
    base["bootstrap"]["api_keys"] += keys
    return base


async def status_of(routerd: Daemon, name: str, model: str = "m") -> int:
    async with routerd.client(f"sk-{name}.the-secret-of-the-key-{name}") as http:
        answer = await http.post("/v1/chat/completions", json=chat(model, "tokens_per_second=0"))
        return answer.status


async def test_a_key_disabled_by_another_process_is_refused_within_5_seconds(folder: Workplace) -> None:
    with Daemon(folder, config(key("a"))) as routerd:
        assert await status_of(routerd, "a") == 200
        with sqlite3.connect(folder.path / "data/router.db", timeout=5) as database:
            assert database.execute("UPDATE api_keys SET disabled = 1 WHERE prefix = 'a'").rowcount == 1
        database.close()
        began = time.monotonic()
        while await status_of(routerd, "a") != 401:
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.05)


async def test_a_key_revoked_on_the_command_line_is_refused_within_5_seconds(folder: Workplace) -> None:
    with Daemon(folder, config(key("a"))) as routerd:
        assert await status_of(routerd, "a") == 200
        routerd.command("keys", "revoke", "a", "--yes", "--config", str(routerd.file))
        began = time.monotonic()
        while await status_of(routerd, "a") != 401:
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.05)


async def test_a_key_taken_out_of_the_file_is_refused_and_one_put_in_is_served(folder: Workplace) -> None:
    with Daemon(folder, config(key("old"))) as routerd:
        assert (await status_of(routerd, "old"), await status_of(routerd, "new")) == (200, 401)
        await routerd.reload(config(key("new")))
        await _becomes(routerd, "old", 401)
        await _becomes(routerd, "new", 200)
        await routerd.reload(config(key("new"), key("old")))
        await _becomes(routerd, "old", 200)


async def _becomes(routerd: Daemon, name: str, status: int) -> None:
    began = time.monotonic()
    while (found := await status_of(routerd, name)) != status:
        assert time.monotonic() - began < 5, found
        await asyncio.sleep(0.02)


async def test_unknown_wrong_expired_and_disabled_keys_are_answered_alike(folder: Workplace) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    past = "2020-01-01T00:00:00Z"
    with Daemon(folder, config(key("expired", expires=past), key("soon", expires=soon), key("gone"))) as routerd:
        assert await status_of(routerd, "soon") == 200
        await routerd.reload(config(key("expired", expires=past), key("soon", expires=soon)))
        answers = set()
        wrong = (
            "sk-demo.wrong-secret-of-this-key",
            "sk-nobody.some-secret-of-nobody",
            "sk-expired.the-secret-of-the-key-expired",
            "sk-gone.the-secret-of-the-key-gone",
            "nonsense",
            "sk-' OR 1=1 --.x",
        )
        await _becomes(routerd, "gone", 401)
        for presented in wrong:
            async with routerd.client(presented) as http, http.post("/v1/chat/completions", json=chat("m")) as answer:
                answers.add((answer.status, await answer.text(), answer.headers.get("WWW-Authenticate")))
        assert len(answers) == 1, answers
        assert next(iter(answers))[0] == 401
        await _becomes(routerd, "soon", 401)
        assert await status_of(routerd, "soon") == 401
        text = routerd.stdout.read_text()
        assert "wrong-secret" not in text
        assert KEY not in text


async def test_a_key_sees_and_uses_only_its_models_and_scopes(folder: Workplace) -> None:
    with Daemon(folder, config(key("narrow", models=["m"], scopes=["chat"]))) as routerd:
        assert (await status_of(routerd, "narrow"), await status_of(routerd, "narrow", "n")) == (200, 404)
        async with routerd.client("sk-narrow.the-secret-of-the-key-narrow") as http:
            hidden, absent = [await (await http.post("/v1/chat/completions", json=chat(m))).text() for m in ("n", "x")]
            assert hidden.replace("'n'", "'x'") == absent
            for path in ("/v1/models", "/v1/embeddings"):
                answer = await (
                    http.get(path) if path.endswith("models") else http.post(path, json={"model": "m", "input": "x"})
                )
                assert (answer.status, (await answer.json())["error"]["code"]) == (403, "scope_missing")


async def test_nothing_secret_is_in_log_database_or_metrics(folder: Workplace) -> None:
    providers = {
        "up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-upstream-canary-000111222"}
    }
    with Daemon(folder, settings(providers, {"m": "up"})) as routerd:
        async with routerd.client() as http:
            body = chat("m", user="u", tools=[])
            answer = await http.post("/v1/chat/completions?api_key=query-canary-333", json=body)
            assert answer.status in {502, 503}
            told = await answer.text() + str(answer.headers)
            metrics = await (await http.get("/metrics")).text()
        await until(lambda: routerd.ledger() or None)
    stored = b"".join(path.read_bytes() for path in folder.path.glob("data/*") if path.is_file())
    said = routerd.stdout.read_bytes() + told.encode() + metrics.encode()
    for canary in (b"upstream-canary", KEY.encode(), KEY.partition(".")[2].encode(), b"query-canary"):
        assert canary not in said
        assert canary not in stored
