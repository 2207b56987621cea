"""Files the configuration names are read once, so that a bad one is found before it is needed."""

import ssl
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from router.config.document import Node, Scalar, node_at, quoted, text_of
from router.config.environment import read_bounded, why_unreadable
from router.config.problems import Findings

_MOST_BYTES = 4 * 2**20


def check_ca_file(node: Node | None, key: str, folder: Path, findings: Findings) -> None:
    """Authority certificates in PEM; an unreadable file would only show at the first request."""
    if not isinstance(node, Scalar) or not node.text:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_pem(folder / node.text))
    except (OSError, ValueError) as error:
        found = f"{quoted(node)}: {_why(error)}"
        findings.wrong(node.mark, key, found, "a readable file of certificates in PEM")


def digests_of(names: Iterable[str], folder: Path) -> dict[str, str]:
    """By name, of what the files hold now; "" for one that has just become unreadable."""
    found = {}
    for name in names:
        try:
            found[name] = sha256(read_bounded(folder / name, _MOST_BYTES)).hexdigest()
        except (OSError, ValueError):
            found[name] = ""
    return found


def check_tls(tree: Node, folder: Path, findings: Findings) -> None:
    """Certificate and key must be readable and belong together; a passphrase is never asked for."""
    cert, key = node_at(tree, "server", "tls", "cert"), node_at(tree, "server", "tls", "key")
    if not text_of(cert) and not text_of(key):
        return
    for given, other, name in ((cert, key, "key"), (key, cert, "cert")):
        if isinstance(given, Scalar) and text_of(given) and not text_of(other):
            findings.wrong(given.mark, f"server.tls.{name}", "nothing", "a file: cert and key go together")
            return
    if not isinstance(cert, Scalar) or not isinstance(key, Scalar):
        return
    for node, name in ((cert, "cert"), (key, "key")):
        try:
            _pem(folder / text_of(node))
        except (OSError, ValueError) as error:
            found = f"{quoted(node)}: {_why(error)}"
            findings.wrong(node.mark, f"server.tls.{name}", found, "a readable PEM file")
            return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / text_of(cert), folder / text_of(key), password=lambda: b"")
    except (OSError, ValueError):
        findings.wrong(
            cert.mark, "server.tls", "files that are no pair", "a certificate chain and its key, without a passphrase"
        )


def _pem(path: Path) -> str:
    return read_bounded(path, _MOST_BYTES).decode("ascii")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate"
    return why_unreadable(error)
