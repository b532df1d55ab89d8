"""Tokens that a wrapper makes for a gateway."""

import stat
from pathlib import Path

from wrappers.serving.passes import KEPT, Passes

URL = "https://gateway.example"


def test_a_pass_is_good_for_later_processes_too_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "passes.json"
    first = Passes(path, URL)
    given = first.mint()
    again = Passes(path, URL)
    for passes in (first, again):
        assert passes.holder(given.token.encode()) == first.principal
        assert passes.holder(given.token[:-1].encode()) is None
        assert passes.holder(b"") is None
        assert passes.holder(given.key.encode()) is None
    assert given.token not in path.read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_stays_and_old_passes_go(tmp_path: Path) -> None:
    path = tmp_path / "passes.json"
    given = [Passes(path, URL).mint() for _ in range(KEPT + 1)]
    assert len({one.key for one in given}) == 1
    passes = Passes(path, URL)
    good = [passes.holder(one.token.encode()) is not None for one in given]
    assert good == [False, *[True] * KEPT]


def test_who_no_longer_registers_at_a_gateway_no_longer_lets_it_in(tmp_path: Path) -> None:
    path = tmp_path / "passes.json"
    given = Passes(path, URL).mint()
    assert Passes(path, "https://other.example").holder(given.token.encode()) is None
    assert Passes(path, None).holder(given.token.encode()) is None
    assert not path.exists()
    assert Passes(path, URL).holder(given.token.encode()) is None
