"""Kept responses of one daemon: the rule, on the tables, sealed with the master key where there is one."""

from router.app.idempotency import LazyCipher
from router.app.instruments import Instruments
from router.config.schema import RouterConfig
from router.config.secrets import Purpose, derive
from router.gateway.responses import Responses
from router.storage.database import Database
from router.storage.responses import ResponseRows


def responses_of(
    database: Database, instance: str, instruments: Instruments, secret: bytes, config: RouterConfig
) -> Responses:
    """`instance` is this process in the table of instances; `secret`, the server's, seals where there is no master key."""
    key = derive(config.encryption.master_key.encode() or secret, Purpose.RESPONSES)
    rows = ResponseRows(database, instance, instruments.clock, LazyCipher(key).get)
    return Responses(rows, instruments.clock, instruments.observer, instruments.tasks)
