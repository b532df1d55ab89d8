"""The promises of tests/requirements.py against the tests that prove them."""

import ast
from pathlib import Path

from tests.requirements import PROMISES

TESTS = Path(__file__).parent.parent


def _ids(path: Path) -> set[str]:
    """The ids in `pytest.mark.promise("…")` decorators of a test file."""
    calls = (
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
    )
    marks = (
        call
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "promise"
    )
    return {str(arg.value) for mark in marks for arg in mark.args if isinstance(arg, ast.Constant)}


def test_every_promise_is_proved_by_a_test_and_every_test_names_a_promise() -> None:
    proved = {name for path in TESTS.rglob("test_*.py") for name in _ids(path)}
    assert proved == set(PROMISES)


def test_a_promise_is_one_sentence() -> None:
    assert [text for text in PROMISES.values() if not text.endswith(".") or "\n" in text] == []
