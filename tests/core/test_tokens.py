import stat
from pathlib import Path

import pytest

from gateway.core.face.tokens import TokenError, ensure_token, read_token


def test_a_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"

    token = ensure_token(path)

    assert len(token) >= 43, "256 bits in base64"
    assert ensure_token(path) == token
    assert read_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["token"], "no draft is left"


def test_two_servers_have_two_tokens(tmp_path: Path) -> None:
    assert ensure_token(tmp_path / "a") != ensure_token(tmp_path / "b")


def test_a_missing_token_file_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="start the server that owns it"):
        read_token(tmp_path / "token")


def test_a_token_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    ensure_token(path)
    path.chmod(0o644)

    with pytest.raises(TokenError, match="chmod 600"):
        ensure_token(path)


@pytest.mark.parametrize("content", ["", "short", "two words " * 8, "\u00e9" * 64])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)

    with pytest.raises(TokenError):
        read_token(path)
