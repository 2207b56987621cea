"""Values from outside the file: the `.env` beside it, and `${NAME}`, `${NAME:-default}`, `${file:PATH}` in scalars.

Expansion happens after parsing, so what a variable holds can never become YAML. `$${` stands for a literal `${`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.config.document import Listing, Node, Scalar
from router.config.problems import Mark, Problem, did_you_mean

MAX_FILE_VALUE = 64 * 1024
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_FORMS = "${NAME}, ${NAME:-default} or ${file:PATH}"


def read_dotenv(text: str, file: str) -> tuple[dict[str, str], list[Problem]]:
    """`NAME=value` lines: quotes are taken off, `#` after a space begins a comment, nothing is expanded."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line)
        if match is None:
            problems.append(Problem(Mark(file, number, 1), "", "a line that sets nothing", "NAME=value"))
            continue
        values[match[1]] = _unquoted(match[2])
    return values, problems


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"'):
        end = value.find(value[0], 1)
        if end > 0:
            return value[1:end]
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


class Expander:
    """Expands the scalars of a tree in place; `files` collects what `${file:}` read."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self._environ = environ
        self._folder = folder

    def expand(self, node: Node, key: str = "") -> None:
        for path, scalar in scalars(node, key):
            if scalar.text is not None and "${" in scalar.text:
                self._expand_scalar(path, scalar)

    def _expand_scalar(self, key: str, scalar: Scalar) -> None:
        def value_of(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            value = self._resolve(match[1], key, scalar.mark)
            # What cannot be resolved stays as written: an empty value would look like a second mistake.
            return match[0] if value is None else value

        scalar.text = _REFERENCE.sub(value_of, scalar.written)

    def _resolve(self, inner: str | None, key: str, mark: Mark) -> str | None:
        if inner is not None and inner.startswith("file:"):
            return self._read(inner[5:], key, mark)
        name, has_default, default = (inner or "").partition(":-")
        if not _NAME.fullmatch(name):
            self.problems.append(Problem(mark, key, "a malformed ${...}", _FORMS, "Write $${ for a literal ${."))
            return None
        value = self._environ.get(name)
        if has_default:
            return value or default
        if value is None:
            hint = did_you_mean(name, self._environ) or f"Set it, or write ${{{name}:-default}}."
            self.problems.append(Problem(mark, key, f"${{{name}}}, which is not set", "a variable of the environment", hint))
            return None
        return value

    def _read(self, path: str, key: str, mark: Mark) -> str | None:
        target = self._folder / path
        self.files.append(target)
        try:
            content = read_bounded(target, MAX_FILE_VALUE).decode()
        except (OSError, ValueError) as error:
            why = why_unreadable(error)
            self.problems.append(Problem(mark, key, f"${{file:{path}}}: {why}", "a readable text file"))
            return None
        return content.rstrip("\r\n")


def scalars(node: Node, key: str = "") -> Iterator[tuple[str, Scalar]]:
    """Every scalar below `node` with its key path. Depth is bounded by the reader."""
    if isinstance(node, Scalar):
        yield key, node
    elif isinstance(node, Listing):
        for index, item in enumerate(node.items):
            yield from scalars(item, f"{key}[{index}]")
    else:
        for name, child in node.entries.items():
            yield from scalars(child, f"{key}.{name}" if key else name)


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError or ValueError."""
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file" if not path.exists() else "it is not a regular file")
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return content


def why_unreadable(error: OSError | ValueError) -> str:
    """A few words without the content: a UnicodeDecodeError would quote the bytes."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, OSError):
        return (error.strerror or "it cannot be read").lower()
    return str(error) if "\0" not in str(error) and "null" not in str(error) else "it is no path"
