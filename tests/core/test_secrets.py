"""The mask: which names and values are secrets, what stays as it is, and what stands there then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.secrets import MASKED, Mask, is_secret_name

TOKEN = "zQ7-registered-value-of-this-process"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r"
KEY = "sk-proj-Abcdefgh12345678ijkl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def mask() -> Mask:
    return Mask([TOKEN])


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Authorization", "Proxy-Authorization", "token", "access_token"),
        *("authToken", "api_key", "apikey", "apiKey", "X-Api-Key", "password", "passwd"),
        *("DB_PASSWORD", "PGPASSWORD", "cookie", "Set-Cookie", "client_secret", "clientSecret"),
        *("private_key", "PRIVATE-KEY", "aws_secret_access_key", "GITHUB_TOKEN", "credentials"),
    ],
)
def test_a_secrets_name_is_known_however_it_is_written(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("tokens", "max_tokens", "input_tokens", "token_count", "tokenizer", "key", "keys"),
        *("next_page_token", "pageToken", "eos_token", "pwd", "OLDPWD", "secrets", "author"),
        *("request_key", "primary_key", "passed", "compass", "cookie_count", ""),
    ],
)
def test_a_harmless_name_is_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"say {TOKEN}.", f"say {MASKED}."),
        (f"use {KEY} now", f"use {MASKED} now"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", MASKED),
        ("github_pat_11ABCDEFG0_abcdefghijklmnop", MASKED),
        ("AKIAIOSFODNN7EXAMPLE!", f"{MASKED}!"),
        ("xoxb-123456789012-abcdef", MASKED),
        (f"jwt {JWT}", f"jwt {MASKED}"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASKED}"),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: {MASKED}"),
        ("then bearer abcdef123456 went", f"then bearer {MASKED} went"),
        ("git clone https://me:pa%20ss@host/x", f"git clone https://{MASKED}@host/x"),
        ("https://x-token-auth:abc@host", f"https://{MASKED}@host"),
        (f"{PEM}\nrest", f"{PEM[:31]}{MASKED}{PEM[-29:]}\nrest"),
        ("GET /x?a=1&token=abc&b=2", f"GET /x?a=1&token={MASKED}&b=2"),
        ("PATH=/bin\nGITHUB_TOKEN=abc\nHOME=/x", f"PATH=/bin\nGITHUB_TOKEN={MASKED}\nHOME=/x"),
        ('export API_KEY="a b" && ls', f'export API_KEY="{MASKED}" && ls'),
        ('{"password": "hunter"}', f'{{"password": "{MASKED}"}}'),
        (r"{\"password\": \"hunter\"}", rf"{{\"password\": \"{MASKED}\"}}"),
        ("{'api_key': 'x y'}", f"{{'api_key': '{MASKED}'}}"),
        ("Cookie: sid=abc; theme=dark", f"Cookie: {MASKED}"),
        ("login --password hunter2 --now", f"login --password {MASKED} --now"),
        ("password: hunter2secret", f"password: {MASKED}"),
    ],
)
def test_a_secret_in_a_text_is_masked_and_the_rest_stays(
    mask: Mask, text: str, masked: str
) -> None:
    assert mask.text(text) == masked
    assert mask.text(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "def login(token: str, password: str | None = None) -> None: ...",
        "connect(token=token, password=settings.password)",
        "usage: 120 input tokens, max_tokens=4096, token_count: 7",
        "task-abcdefghijklmnopq1, disk-0123456789abcdef01",
        "the bearer certificates are renewed",
        "ssh://git@host/x and http://localhost:8080/a@b",
        "password = getpass()",
        "sk-learn is scikit-learn-with-a-hyphen",
        "a passing test of the secret: none",
    ],
)
def test_ordinary_words_and_code_stay_as_they_are(mask: Mask, text: str) -> None:
    assert mask.text(text) is text


def test_fields_are_masked_by_name_at_any_depth(mask: Mask) -> None:
    data = {
        "headers": [{"Authorization": "x", "Accept": "text/plain"}],
        "auth": {"client_secret": "x", "credentials": {"user": "u", "pin": 1234}},
        "usage": {"input_tokens": 5, "token_count": 6},
        "token": None,
        "password": "",
    }
    assert mask.data(data) == {
        "headers": [{"Authorization": MASKED, "Accept": "text/plain"}],
        "auth": {"client_secret": MASKED, "credentials": {"user": MASKED, "pin": MASKED}},
        "usage": {"input_tokens": 5, "token_count": 6},
        "token": None,
        "password": "",
    }


def test_a_schema_that_describes_a_secret_is_none(mask: Mask) -> None:
    schema = {"properties": {"password": {"type": "string", "title": "The password: any"}}}
    assert mask.data(schema) is schema


def test_a_value_is_masked_in_keys_and_list_items_too(mask: Mask) -> None:
    assert mask.data({"env": [TOKEN, {TOKEN: 1}]}) == {"env": [MASKED, {MASKED: 1}]}


def test_data_without_secrets_is_the_same_object(mask: Mask) -> None:
    data = {"text": "hello", "items": [{"a": 1}], "usage": {"input_tokens": 3}}
    assert mask.data(data) is data


def test_a_registered_value_that_json_writes_otherwise_is_found() -> None:
    value = 'pa"ss\\word\tü'
    assert Mask([value]).data({"x": f"<{value}>"}) == {"x": f"<{MASKED}>"}


def test_a_value_learned_later_is_masked_from_then_on(mask: Mask) -> None:
    assert mask.text("agent-token-0001") == "agent-token-0001"
    mask.add("agent-token-0001")
    mask.add("short")
    assert mask.text("a short agent-token-0001") == f"a short {MASKED}"


def test_a_value_inside_a_longer_one_leaves_no_rest() -> None:
    mask = Mask(["secret-value", "secret-value-with-a-tail"])
    assert mask.text("secret-value-with-a-tail secret-value") == f"{MASKED} {MASKED}"


def test_a_large_text_is_masked_wherever_the_secret_stands(mask: Mask) -> None:
    filler = "an ordinary line of a long output\n" * 4000
    for secret in (TOKEN, KEY, f"API_KEY={TOKEN}x", PEM):
        found = mask.text(filler + secret + "\n" + filler)
        assert MASKED in found
        assert len(found) < 2 * len(filler) + len(PEM)
        assert "MIIEow" not in found
        assert TOKEN not in found


@given(
    st.lists(
        st.sampled_from(
            [
                TOKEN,
                KEY,
                JWT,
                PEM,
                "token",
                "password",
                "Cookie",
                "Bearer ",
                "API_KEY",
                "://",
                MASKED,
                *("--", "=", ":", '"', "'", "\\", " ", "\n", "@", "a1b2c3d4", ";", "İ"),
            ]
        ),
        max_size=24,
    )
)
def test_known_and_telling_values_never_stay_among_whatever_words(words: list[str]) -> None:
    masked = Mask([TOKEN]).text(" ".join(words))
    assert not any(secret in masked for secret in (TOKEN, KEY, JWT, "MIIEow"))


@pytest.mark.parametrize(
    "text",
    [
        *("token=" * 9000, "eyJ" * 20000, "Cookie:" * 9000, "sk-" * 20000, "bearer " * 9000),
        *("://a:" * 12000, "password:'" * 6000, "-----BEGIN PRIVATE KEY-----" * 2000),
    ],
)
def test_a_text_made_to_be_slow_is_not(mask: Mask, text: str) -> None:
    # The quadratic cases of these expressions took minutes; the suite's own time limit is the bound.
    assert len(mask.text(text)) <= len(text)
