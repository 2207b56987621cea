"""How Google's Vertex is reached, as the file says it: which project, where, and who vouches for us."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from router.config.schema_catalog import ProviderConfig

GLOBAL = "global"
_MULTI_REGIONS = frozenset({"us", "eu"})


@dataclass(frozen=True, slots=True)
class GoogleAccess:
    """`credentials_file` and `credentials` (its content) "" for the default: what GOOGLE_APPLICATION_CREDENTIALS names,
    gcloud's own, or the machine's account. `has_token` False: an API key or a given token goes with the requests instead.

    `digest` is that of the content of `credentials_file`: another content is another access.
    """

    project: str
    location: str
    credentials_file: str = ""
    credentials: str = field(default="", repr=False)
    digest: str = ""
    has_token: bool = True


def google_access(config: ProviderConfig, folder: Path, digest: str) -> GoogleAccess:
    """Relative file names are beside the configuration, in `folder`."""
    return GoogleAccess(
        config.project,
        config.location or GLOBAL,
        str(folder / config.credentials_file) if config.credentials_file else "",
        config.credentials,
        digest,
        has_token=not (config.api_key or config.api_keys),
    )


def vertex_host(location: str) -> str:
    """The address of a location, as Google's own clients have it."""
    if location in ("", GLOBAL):
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def has_google_auth() -> bool:
    """Whether google-auth is installed, without loading it."""
    try:
        return find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False
