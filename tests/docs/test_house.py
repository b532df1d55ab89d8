"""Rules of the house that no linter knows."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("gateway", "wrappers", "mcp_bridge")
# Started by their path, or as the first thing of a session: an import would cost or fail.
STANDALONE = ("mcp_bridge/stdio.py", "wrappers/processes/guardian.py")


def _modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> set[str]:
    """The modules a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _loaded(path: Path) -> set[str]:
    """The foreign top-level packages that a module needs, through modules of ours as well."""
    todo, done, foreign = [path], set[Path](), set[str]()
    while todo:
        done.add(current := todo.pop())
        for name in _imports(current):
            file = ROOT / f"{name.replace('.', '/')}.py"
            if file.exists() and file not in done:
                todo.append(file)
            elif name.partition(".")[0] not in PACKAGES:
                foreign.add(name.partition(".")[0])
    return foreign


def test_a_module_of_more_than_300_lines_holds_two_nouns() -> None:
    long = {
        _name(path): lines
        for path in _modules(*PACKAGES)
        # A revision of the schema is printed by Alembic, all tables in one function.
        if (lines := len(path.read_text("utf-8").splitlines())) > 300
        and path.parent.name != "versions"
    }
    assert long == {}


def test_init_files_are_empty_and_every_test_folder_has_one() -> None:
    assert [
        _name(p)
        for p in _modules(*PACKAGES, "tests")
        if p.name == "__init__.py" and p.stat().st_size
    ] == []
    folders = {path.parent for path in _modules("tests")}
    assert [_name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_profile_is_no_package_because_it_would_shadow_the_standard_library() -> None:
    assert list((ROOT / "profile").rglob("*.py")) == []


@pytest.mark.parametrize("name", STANDALONE)
def test_a_standalone_module_imports_the_standard_library_only(name: str) -> None:
    assert _loaded(ROOT / name) - set(sys.stdlib_module_names) == set()


def test_nobody_reads_the_environment_but_the_settings() -> None:
    readers = {
        _name(path)
        for path in _modules(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
    }
    settings = {"gateway/settings.py", "gateway/cli/settings.py", "wrappers/settings.py"}
    # The two standalone modules have no settings module to ask.
    assert readers - settings - {*STANDALONE} == set()


def test_no_test_sleeps_to_wait_for_something() -> None:
    sleepers = {
        _name(path)
        for path in _modules("tests")
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
    }
    assert sleepers == set()
