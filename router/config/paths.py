"""Where a daemon's own files stand beside its database."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

_WITHOUT_FILE = Path("data/routerd.sock")


def sqlite_file(database_url: str) -> Path | None:
    """The file of `sqlite:///data/router.db` (relative to the working directory) or `sqlite:////abs/x.db`; else None."""
    parts = urlsplit(database_url)
    return Path(unquote(parts.path.removeprefix("/"))) if parts.scheme == "sqlite" else None


def control_socket(database_url: str) -> Path:
    """The unix socket between the command line and the daemon: `<database file>.sock`, else `data/routerd.sock`.

    Relative to the working directory, as the database itself is.
    """
    file = sqlite_file(database_url)
    return _WITHOUT_FILE if file is None else Path(f"{file}.sock")
