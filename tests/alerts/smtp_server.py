"""A mail server on loopback: greets, upgrades, lets log in, takes messages, or is as difficult as a test wants it."""

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Mail:
    sender: str
    recipient: str
    message: EmailMessage
    was_encrypted: bool
    logged_in_as: tuple[str, str] | None


@dataclass
class MailServer:
    """`starttls` None: not offered. `refuse` maps the beginning of a command to its answer; `stalls_on` gets none."""

    starttls: ssl.SSLContext | None = None
    account: tuple[str, str] | None = None
    refuse: dict[str, str] = field(default_factory=dict)
    stalls_on: str = ""
    taken: list[Mail] = field(default_factory=list)
    commands: list[tuple[str, bool]] = field(default_factory=list)
    port: int = 0

    def seen_in_clear(self) -> str:
        return " ".join(command for command, was_encrypted in self.commands if not was_encrypted)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Session(self, reader, writer).run()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class _Session:
    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.sender = self.recipient = ""
        self.account: tuple[str, str] | None = None

    @property
    def is_encrypted(self) -> bool:
        return self.writer.get_extra_info("sslcontext") is not None

    async def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def run(self) -> None:
        await self.say("220 loopback ESMTP")
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            self.server.commands.append((line, self.is_encrypted))
            refusal = next((answer for start, answer in self.server.refuse.items() if line.upper().startswith(start)), "")
            if self.server.stalls_on and line.upper().startswith(self.server.stalls_on):
                await asyncio.Event().wait()
            elif refusal:
                await self.say(refusal)
            elif not await self.obey(line):
                return

    async def obey(self, line: str) -> bool:
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "EHLO":
                offers = ["STARTTLS"] if self.server.starttls and not self.is_encrypted else []
                offers += ["AUTH PLAIN"] if self.server.account else []
                await self.say(*(f"250-{offer}" for offer in ["loopback", *offers]), "250 8BITMIME")
            case "STARTTLS":
                await self.say("220 go on")
                assert self.server.starttls is not None
                await self.writer.start_tls(self.server.starttls)
            case "AUTH":
                _, name, password = b64decode(rest.split()[1]).decode().split("\0")
                self.account = (name, password) if (name, password) == self.server.account else None
                await self.say("235 welcome" if self.account else "535 no")
            case "MAIL":
                self.sender = rest.partition("<")[2].partition(">")[0]
                await self.say("250 ok")
            case "RCPT":
                self.recipient = rest.partition("<")[2].partition(">")[0]
                await self.say("250 ok")
            case "DATA":
                await self.take()
            case "QUIT":
                await self.say("221 bye")
                return False
            case _:
                await self.say("250 ok")
        return True

    async def take(self) -> None:
        await self.say("354 go on")
        raw = (await self.reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
        message = message_from_bytes(raw, policy=policy.default)
        self.server.taken.append(Mail(self.sender, self.recipient, message, self.is_encrypted, self.account))
        await self.say("250 taken")


@asynccontextmanager
async def mail_server(server: MailServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[MailServer]:
    """`tls`: encrypted from the first byte on."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
