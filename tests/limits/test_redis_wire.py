"""Commands and answers as Redis speaks them, whole or in pieces."""

import pytest

from router.limits.redis_wire import Refused, Reply, command, reply, words


def test_a_command_tells_the_length_of_each_of_its_words() -> None:
    assert command(words("EVALSHA", 2, b"\r\n\xff")) == b"*3\r\n$7\r\nEVALSHA\r\n$1\r\n2\r\n$3\r\n\r\n\xff\r\n"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"+PONG\r\n", b"PONG"),
        (b":-7\r\n", -7),
        (b"$5\r\na\r\nb\x00\r\n", b"a\r\nb\x00"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"-ERR unknown command\r\n", Refused("ERR unknown command")),
    ],
)
def test_an_answer_is_understood_once_it_is_whole(sent: bytes, meant: Reply) -> None:
    assert reply(sent) == (meant, len(sent))
    assert reply(sent + b"+more") == (meant, len(sent))
    assert [reply(sent[:size]) for size in range(len(sent))] == [None] * len(sent)


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\n", b"$many\r\n", b":\r\n", b"*1\r\n:1\r\n"])
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        reply(sent)
