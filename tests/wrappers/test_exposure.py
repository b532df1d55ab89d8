"""Which addresses are served, and under which URLs."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wrappers.serving.exposure import ExposureError, check_exposure
from wrappers.settings import WrapperSettings

ROOTS = (Path("/work"),)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "0.0.0.0"}, "--root"),
        ({"host": "192.168.1.2", "roots": ROOTS}, "--insecure-bind"),
        ({"host": "192.168.1.2", "insecure_bind": True}, "--root"),
        ({"host": "a.example", "roots": ROOTS, "insecure_bind": True, "no_auth": True}, "token"),
        ({"host": "0.0.0.0", "roots": ROOTS, "insecure_bind": True}, "--public-url"),
        ({"host": "::", "roots": ROOTS, "insecure_bind": True}, "--public-url"),
        # A proxy beside it lets others in as well as an open port does.
        ({"public_url": "https://a.example"}, "--root"),
        ({"public_url": "https://a.example", "roots": ROOTS, "no_auth": True}, "token"),
        ({"public_url": "http://a.example", "roots": ROOTS}, "https"),
        ({"register_at": "http://127.0.0.1:1", "no_auth": True}, "--no-auth"),
    ],
)
def test_what_offers_this_machine_to_others_takes_protection(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ExposureError, match=says):
        check_exposure(WrapperSettings(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"host": "::1", "no_auth": True},
        {"host": "127.0.0.2"},
        {"host": "192.168.1.2", "roots": ROOTS, "insecure_bind": True},
        {"public_url": "https://a.example/x", "roots": ROOTS},
        {"public_url": "http://localhost:9"},
        {
            "host": "0.0.0.0",
            "roots": ROOTS,
            "insecure_bind": True,
            "public_url": "https://a.example",
        },
    ],
)
def test_what_is_loopback_or_protected_is_served(settings: dict[str, Any]) -> None:
    check_exposure(WrapperSettings(**settings))


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("public_url", "a.example"),
        ("public_url", "ftp://a.example"),
        ("public_url", "https://user:secret@a.example"),
        ("public_url", "https://a.example/?x=1"),
        ("public_url", "https://a.example:99999"),
        ("public_url", "https://a.example/a b"),
        ("register_at", "http://gateway.example"),
        ("register_at", "http://10.0.0.1:4711"),
        ("register_at", "http://127.0.0.1.evil.example"),
    ],
)
def test_a_url_that_is_none_or_would_show_a_token_is_refused(field: str, url: str) -> None:
    with pytest.raises(ValidationError, match=field):
        WrapperSettings(**{field: url})  # pyright: ignore[reportArgumentType]


def test_a_slash_behind_a_url_is_dropped() -> None:
    settings = WrapperSettings(
        public_url="https://a.example/x/", register_at="http://localhost:4711/"
    )
    assert settings.public_url == "https://a.example/x"
    assert settings.register_at == "http://localhost:4711"
