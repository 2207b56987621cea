"""The shape rules of one Python file as pure functions: source in, breaches out.

Each breach is one line of text that names the place, what was found and what is allowed.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FILE_LINES = 400
FUNCTION_LINES = 50
POSITIONAL = 5
PARAMETERS = 8
NESTING = 4
DOCSTRING_LINES = 5
NAMES_THAT_SAY_NOTHING = frozenset({"utils", "helpers", "common", "base", "manager", "types", "service"})
# The one file whose docstring is a drawing: the error tree.
DRAWN_DOCSTRINGS = frozenset({"router/domain/errors.py"})
# Functions that make statements of the program's own constants, once, at import.
MAKES_CONSTANT_SQL = frozenset({"router/storage/insertions.py:sql"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_SQL = re.compile(
    r"\b(select\s.+?\sfrom|insert\s+(or\s+\w+\s+)?into|update\s+\S+\s+set|delete\s+from|(create|alter|drop)\s+(table|index))\b",
    re.IGNORECASE | re.DOTALL,
)
_CONSTANT = re.compile(r"(?:\w+\.)*_?[A-Z][A-Z0-9_]*(?:\.value)?")
_SILENCED = re.compile(
    r"#\s*(?:type:\s*ignore|no" + r"qa)(?P<codes>\[[^\]]*\]|:\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)?(?P<rest>.*)$"
)
_LEFT_BEHIND = re.compile(r"#.*\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A parsed file; `path` is relative to the project, with forward slashes."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "SourceFile":
        return cls(PurePosixPath(path), text, ast.parse(text))


def breaches_of(file: SourceFile) -> list[str]:
    """Every breach of every rule that applies to `file`."""
    rules = [name_says_something, is_short, has_docstring, functions_are_small, silences_have_reasons, nothing_left_behind]
    if file.path.name == "__init__.py":
        rules.append(init_is_bare)
    if file.path.is_relative_to("router"):
        rules.append(sql_is_constant)
    if file.path.is_relative_to("router/domain"):
        rules += [dataclasses_are_values, domain_stands_alone]
    return [f"{file.path}:{breach}" for rule in rules for breach in rule(file)]


def name_says_something(file: SourceFile) -> Iterator[str]:
    for part in (*file.path.parts[:-1], file.path.stem):
        if part in NAMES_THAT_SAY_NOTHING:
            yield f"1: a module named {part!r} says nothing about what is in it"


def is_short(file: SourceFile) -> Iterator[str]:
    lines = file.text.count("\n")
    if lines > FILE_LINES:
        yield f"{FILE_LINES}: {lines} lines; at most {FILE_LINES}"


def has_docstring(file: SourceFile) -> Iterator[str]:
    docstring = ast.get_docstring(file.tree)
    if docstring is None:
        if file.tree.body:
            yield "1: no docstring that says what the file is for"
        return
    lines = docstring.count("\n") + 1
    if lines > DOCSTRING_LINES and str(file.path) not in DRAWN_DOCSTRINGS:
        yield f"1: a docstring of {lines} lines; at most {DOCSTRING_LINES}"


def init_is_bare(file: SourceFile) -> Iterator[str]:
    rest = file.tree.body[1:] if ast.get_docstring(file.tree) is not None else file.tree.body
    if rest:
        yield f"{rest[0].lineno}: __init__.py is empty or one docstring"


def functions_are_small(file: SourceFile) -> Iterator[str]:
    for function in ast.walk(file.tree):
        if isinstance(function, Function):
            yield from _size_breaches(function)


def _size_breaches(function: Function) -> Iterator[str]:
    place = f"{function.lineno}: {function.name}"
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{place} has {lines} lines; at most {FUNCTION_LINES}"
    depth = nesting_of(function)
    if depth > NESTING:
        yield f"{place} nests {depth} deep; at most {NESTING}"
    arguments = function.args
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    # pytest passes fixtures by name, so those of a test are no positional parameters.
    if len(positional) > POSITIONAL and not function.name.startswith("test_"):
        yield f"{place} takes {len(positional)} positional parameters; at most {POSITIONAL}"
    parameters = len(positional) + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)
    if parameters > PARAMETERS:
        yield f"{place} takes {parameters} parameters; at most {PARAMETERS}"


def nesting_of(function: Function) -> int:
    """How deep blocks stand in one another; `elif` and `case` add nothing, a function inside starts anew."""
    return max((_depth(statement, 0) for statement in function.body), default=0)


def _depth(node: ast.AST, depth: int) -> int:
    if isinstance(node, _SCOPES):
        return depth
    if isinstance(node, _BLOCKS):
        depth += 1
    deepest = depth
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, _depth(child, depth - 1 if is_elif else depth))
    return deepest


def dataclasses_are_values(file: SourceFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if ast.unparse(decorator).split("(")[0] not in ("dataclass", "dataclasses.dataclass"):
                continue
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            given = {k.arg for k in keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
            if missing := {"frozen", "slots"} - given:
                yield f"{node.lineno}: {node.name} is a dataclass of the domain without {' and '.join(sorted(missing))}"


def domain_stands_alone(file: SourceFile) -> Iterator[str]:
    """The domain imports the standard library, msgspec and itself."""
    for line, module in imports_of(file.tree):
        top = module.partition(".")[0]
        is_own = module == "router.domain" or module.startswith("router.domain.")
        if not is_own and top != "msgspec" and top not in sys.stdlib_module_names:
            yield f"{line}: the domain imports {module}"


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of each imported module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "."


def sql_is_constant(file: SourceFile) -> Iterator[str]:
    """A value is bound, never spelled into SQL: only what has a name in capitals (a constant of the program) may be."""
    excused = {
        id(part)
        for function in ast.walk(file.tree)
        if isinstance(function, Function) and f"{file.path}:{function.name}" in MAKES_CONSTANT_SQL
        for part in ast.walk(function)
    }
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.JoinedStr) or id(node) in excused:
            continue
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else " x " for part in node.values)
        spelled = [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
        variable = [name for name in spelled if not _CONSTANT.fullmatch(name)]
        if variable and _SQL.search(text):
            yield f"{node.lineno}: SQL with {', '.join(variable)} spelled into it; bind it"


def silences_have_reasons(file: SourceFile) -> Iterator[str]:
    for number, line in enumerate(file.text.splitlines(), 1):
        found = _SILENCED.search(line)
        if found and (found["codes"] is None or len(found["rest"].strip(" -#:").split()) < 2):
            yield f"{number}: a check is silenced without its code and a reason beside it"


def nothing_left_behind(file: SourceFile) -> Iterator[str]:
    for number, line in enumerate(file.text.splitlines(), 1):
        if _LEFT_BEHIND.search(line):
            yield f"{number}: a note of unfinished work"
