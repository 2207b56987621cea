"""What `docs/` says about the file: every key, its default, the keys without effect, every example, every provider type."""

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from router.config.compile import compile_snapshot
from router.config.fields import Section, key_names
from router.config.load import load
from router.config.provider_types import PROVIDER_TYPES
from router.config.schema_paths import ROOT as SCHEMA
from router.config.schema_paths import Shape, children
from router.config.unbuilt import TABLE
from router.domain.requests import Api
from tests.docs.pages import DOCS, ROOT, fences, page, pages, spans, tables, under

MARKER = "# router.yaml\n"
CONFIGURATION = page("configuration.md")
BUILT = PROVIDER_TYPES
_FILE = re.compile(r"\$\{file:([^}]+)\}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_A_SECRET = "a-value-of-the-tests-that-is-long-enough"


def examples() -> list[tuple[str, str]]:
    """(where it stands, text) of every block that is a whole configuration."""
    return [
        (f"{path.relative_to(DOCS)}#{number}", block)
        for path in pages()
        for number, (language, block) in enumerate(fences(path.read_text(encoding="utf-8")), start=1)
        if language == "yaml" and block.startswith(MARKER)
    ]


@pytest.mark.parametrize(
    ("where", "text"), [*examples(), ("router.example.yaml", (ROOT / "router.example.yaml").read_text())]
)
def test_every_example_loads_without_a_complaint(where: str, text: str, tmp_path: Path) -> None:
    """Files it names are made, variables it needs are set. Raises ConfigError with the places of its problems."""
    for name in _FILE.findall(text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(_A_SECRET)
    (tmp_path / "router.yaml").write_text(text)
    loaded = load(tmp_path / "router.yaml", dict.fromkeys(_VARIABLE.findall(text), _A_SECRET))
    compile_snapshot(loaded)
    assert [warning for warning in loaded.warnings if "can be guessed" not in warning] == [], where


def test_a_block_without_a_marker_is_only_a_part() -> None:
    """A block that could stand alone carries the marker, and so is tried."""
    blocks = [
        block for path in pages() for language, block in fences(path.read_text(encoding="utf-8")) if language == "yaml"
    ]
    assert len(examples()) > 15
    assert not [block for block in blocks if not block.startswith(MARKER) and "model_catalog:" in block]


# -- every key ------------------------------------------------------------------------------------------------------


def sections(shape: Shape, path: str = "") -> dict[str, type[Section]]:
    """Every mapping of the schema with fixed keys: `providers.NAME.api_keys[]` and so on."""
    if shape.section is not None:
        found = {path: shape.section}
        for key, child in children(shape.section).items():
            found |= sections(child, f"{path}.{key}" if path else key)
        return found
    return sections(shape.item, f"{path}[]" if shape.is_list else f"{path}.NAME") if shape.item is not None else {}


def documented() -> dict[str, dict[str, dict[str, str]]]:
    """Path of a mapping -> its keys -> their cells; a heading may name several mappings."""
    return {
        path: {spans(row["key"])[0]: row for row in each.rows}
        for each in tables(CONFIGURATION)
        if each.columns == ("key", "type", "default", "meaning")
        for path in spans(each.heading)
    }


def test_every_key_of_the_schema_stands_in_its_table_and_no_other() -> None:
    expected = {path: set(key_names(section)) - {"locked"} for path, section in sections(SCHEMA).items() if path}
    assert {path: set(rows) for path, rows in documented().items()} == expected
    root = set(spans(CONFIGURATION.partition("### The root")[2].partition("###")[0]))
    assert root == set(children(SCHEMA.section)) - {"locked"} if SCHEMA.section else set()


def test_every_default_is_the_one_that_is_written() -> None:
    wrong = []
    for path, rows in documented().items():
        section = sections(SCHEMA)[path]
        for key, row in rows.items():
            field = section.model_fields[key_names(section)[key]]
            if not is_default(field, row["default"]):
                wrong.append(f"{path}.{key}: {row['default'] or 'nothing'} is written, {field.default!r} is so")
    assert not wrong, "\n".join(wrong)


def is_default(field: FieldInfo, cell: str) -> bool:
    """Whether a cell says what an absent key means: `required`, `not set`, a value, or nothing for a mapping."""
    if field.is_required():
        return cell == "required"
    if not cell:
        return isinstance(field.default, Section)
    if cell == "not set":
        return field.default is None
    written = yaml.load(spans(cell)[0], yaml.BaseLoader)  # texts only, as the daemon reads them
    return bool(as_read(field, written) == field.default)


def as_read(field: FieldInfo, written: object) -> object:
    kind: Any = field.annotation
    if field.metadata:
        kind = Annotated.__class_getitem__((kind, *field.metadata))  # type: ignore[attr-defined]  # a type made at run time
    return TypeAdapter(kind).validate_python(written)


def test_the_keys_without_effect_are_those_that_check_warns_of() -> None:
    rows = under(CONFIGURATION, "Accepted, not in force yet").rows
    written = {spans(row["key"])[0]: row["accepted, not in force yet:"] for row in rows}
    assert written.keys() == {row.path for row in TABLE}
    assert not [row.path for row in TABLE if not written[row.path].startswith(row.means)]


# -- provider types ---------------------------------------------------------------------------------------------------


def test_every_type_has_a_page_and_no_other() -> None:
    assert {path.stem for path in (DOCS / "providers").glob("*.md")} == set(BUILT)


@pytest.mark.parametrize("name", BUILT)
def test_a_providers_page_names_its_keys_and_its_address(name: str) -> None:
    text, kind = page(f"providers/{name}.md"), BUILT[name]
    rows = [row for each in tables(text) if each.columns[0] == "key" for row in each.rows]
    named = {span for row in rows for span in spans(row["key"])}
    assert named == kind.keys - {"type", "locked"}
    assert not kind.base_url or f"`{kind.base_url}`" in text


@pytest.mark.parametrize("name", BUILT)
def test_a_providers_page_names_its_apis(name: str) -> None:
    head = page(f"providers/{name}.md").split("\n\n")[1]
    assert {api for api in Api if re.search(rf"\b{api}\b", head)} == BUILT[name].apis
