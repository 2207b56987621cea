"""Virtual keys as text: what is one, what is not, and what is stored of it."""

import time

import pytest

from router.domain.identity import MintedKey, digest_of, mint_key, parse_presented_key


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sk-demo.my-secret", ("demo", "my-secret")),
        ("demo.my-secret", ("demo", "my-secret")),
        ("sk-sk-demo.x", ("sk-demo", "x")),
        ("sk-A_b-9.with.dots.", ("A_b-9", "with.dots.")),
        ("sk-" + "a" * 32 + "." + "s" * 256, ("a" * 32, "s" * 256)),
    ],
)
def test_a_key_is_a_prefix_and_a_secret(text: str, parts: tuple[str, str]) -> None:
    assert parse_presented_key(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "sk-", "sk-.secret", ".secret", "demo", "sk-demo", "sk-demo.", "sk-demo.two words", "sk-demo.x\n"),
        *(" sk-demo.x", "sk-d%m.x", "sk-d\u00e9mo.x", "sk-demo.geh\u00e9im", "sk-demo.x\0", "sk-" + "a" * 33 + ".x"),
        *("sk-demo." + "s" * 257, "Bearer sk-demo.x"),
    ],
)
def test_everything_else_is_no_key(text: str) -> None:
    assert parse_presented_key(text) is None


def test_a_long_text_is_refused_quickly() -> None:
    began = time.perf_counter()
    for text in ("sk-" * 300_000, "a" * 1_000_000, "sk-a." + "s" * 1_000_000):
        assert parse_presented_key(text) is None
    assert time.perf_counter() - began < 0.1


def test_the_digest_is_a_keyed_hash() -> None:
    # HMAC-SHA-256, RFC 4231, test case 2.
    assert (
        digest_of("what do ya want for nothing?", b"Jefe")
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_a_minted_key_uses_every_random_bit_and_can_be_presented() -> None:
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    key = mint_key(random_bytes)
    assert asked == [10, 20]
    assert parse_presented_key(key.presented) == (key.prefix, key.secret)
    assert len(key.secret) * 5 == 160
    assert key.secret not in repr(MintedKey(key.prefix, key.secret))
