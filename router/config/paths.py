"""Where a daemon's own files stand beside its database."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

_WITHOUT_FILE = Path("data/routerd.sock")


def control_socket(database_url: str) -> Path:
    """The unix socket between the command line and the daemon: `<database file>.sock`, else `data/routerd.sock`.

    Relative to the working directory, as the database itself is.
    """
    parts = urlsplit(database_url)
    if parts.scheme != "sqlite":
        return _WITHOUT_FILE
    return Path(unquote(parts.path.removeprefix("/")) + ".sock")
