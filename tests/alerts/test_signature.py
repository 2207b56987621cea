"""Signatures are those of the Standard Webhooks specification, and nothing that was touched passes."""

from base64 import b64encode
from dataclasses import replace

import pytest

from router.alerts.signature import shown_secret, signed_headers, signing_key
from tests.alerts.receiver import Post, is_authentic

KEY = bytes(range(32))
SECRET = "whsec_" + b64encode(KEY).decode()
BODY = b'{"type":"target.down","data":{"target":"a/b"}}'
AT = 1_674_087_231


def post(at: int = AT, key: bytes = KEY) -> Post:
    return Post("/", signed_headers("0" * 32, BODY, key, at * 1_000_000 + 999_999), BODY)


def is_good(given: Post, now: float = AT) -> bool:
    return is_authentic(given, SECRET, lambda: now)


def test_a_signature_is_what_the_specification_says() -> None:
    given = post()
    assert is_good(given)
    assert given.headers["webhook-id"] == "msg_" + "0" * 32
    assert given.headers["webhook-timestamp"] == str(AT)
    assert given.headers["webhook-signature"].startswith("v1,")


def test_the_vector_that_receivers_libraries_test_themselves_with_is_met() -> None:
    given = Post(
        "/",
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
    )
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert is_authentic(given, secret, lambda: 1_614_265_330)
    made = signed_headers("p5jXN8AQM9LWM0D4loKWxJek", given.body, signing_key(secret), 1_614_265_330_000_000)
    assert made == given.headers


@pytest.mark.parametrize("position", range(0, len(BODY), 7))
def test_a_touched_body_does_not_pass(position: int) -> None:
    touched = bytearray(BODY)
    touched[position] ^= 1
    assert not is_good(replace(post(), body=bytes(touched)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "msg_" + "0" * 31 + "1"),
        ("webhook-timestamp", str(AT + 1)),
        ("webhook-signature", "v1," + b64encode(bytes(32)).decode()),
        ("webhook-signature", "v2," + post().headers["webhook-signature"][3:]),
    ],
)
def test_a_touched_header_does_not_pass(name: str, value: str) -> None:
    given = post()
    given.headers[name] = value
    assert not is_good(given)


def test_another_secret_does_not_pass() -> None:
    assert not is_good(post(key=bytes(32)))


def test_an_old_letter_played_again_does_not_pass() -> None:
    assert is_good(post(), now=AT + 299)
    assert not is_good(post(), now=AT + 301)


def test_a_secret_is_read_from_its_encoded_form_or_as_text() -> None:
    assert signing_key(SECRET) == KEY
    assert shown_secret(KEY) == SECRET
    assert signing_key("a plain text of the operator") == b"a plain text of the operator"
