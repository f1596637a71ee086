"""The rules of the house that no linter knows, read from the source itself."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "rackrate").rglob("*.py"))
IDS = [str(path.relative_to(ROOT / "src")) for path in SOURCES]
FORBIDDEN = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|breakpoint\(|import pdb|\.only\(")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public(node: ast.AST, *, inside: bool = True) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield functions, classes and their methods that have no underscore; not what a function holds."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef) and inside:
                yield from public(child)


def is_overload(node: ast.FunctionDef) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_there_is_source_to_judge() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_no_module_is_longer_than_500_lines_and_each_says_what_it_answers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(tree(path))
    assert not FORBIDDEN.search(text)


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_everything_public_is_documented_and_annotated(path: Path) -> None:
    lacking = []
    for node in public(tree(path)):
        if isinstance(node, ast.FunctionDef) and is_overload(node):
            continue
        inherits = path.parent.name == "cli" and node.name in {"list_commands", "get_command"}
        inherits |= path.parent.name == "cli" and node.name in {"resolve_command", "format_commands"}
        if not inherits and not ast.get_docstring(node):
            lacking.append(f"{node.name} has no docstring")
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                lacking.append(f"{node.name} lacks annotations")
    assert lacking == []


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_nothing_is_asserted_printed_or_swallowed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: an assert is no check of input"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec"), f"line {node.lineno}: {node.func.id}"


def test_what_reaches_a_user_is_never_a_bare_built_in() -> None:
    built_in = {name for name, thing in vars(builtins).items() if isinstance(thing, type)}
    faces = [path for path in SOURCES if path.parent.name in ("rackrate", "cli", "report")]
    for path in faces:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func)
                is_hook = path.name == "__init__.py" and name == "AttributeError"  # what __getattr__ owes
                assert is_hook or name not in built_in, f"{path.name}, line {node.lineno}: {name}"


def test_third_party_packages_are_those_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    declared = {re.split(r"[\[><=~ ]", name)[0].replace("-", "_") for name in wanted}
    declared |= {"vl_convert", "rackrate", "yaml"}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            assert tops <= declared | sys.stdlib_module_names, f"{path.name} imports {tops}"
