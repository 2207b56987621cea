"""The same request twice, as the first users type it."""

import pytest

from tests.acceptance.conftest import curl
from tests.daemon import Daemon

pytestmark = pytest.mark.process


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_16_the_same_idempotency_key_twice_is_one_call_one_charge_and_the_same_bytes(
    routerd: Daemon, stream: str
) -> None:
    words = ["-H", "Authorization: Bearer KEY", "-H", "Content-Type: application/json"]
    words += ["-H", f"Idempotency-Key: order-4711-{stream}", "-H", f"X-Request-Id: once-{stream}"]
    words += ["-d", f'{{"messages":[{{"role":"user","content":"hello from fast"}}],"stream":{stream}}}']
    first, again = [curl(routerd, "/v1/chat/completions", *words) for _ in range(2)]
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (200, 200, "true")
    assert "idempotent-replayed" not in first.headers
    assert again.body == first.body
    entry = await routerd.entry(f"once-{stream}")
    assert (len(entry["tries"]), entry["cost_nano"] > 0) == (1, True)
