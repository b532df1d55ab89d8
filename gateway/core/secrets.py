"""Masks secrets in what is about to be stored: by a field's name, by known and by telling values.

Pure; knows no event and no store. It sees one text at a time: what was encoded (base64, another
alphabet) or cut in two before it came here is not recognised (`seams` mends the cut that is ours).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, cast

from pydantic_core import SchemaValidator, core_schema

from gateway.core import json
from gateway.core.json import JsonObject

MASKED: Final = "[masked]"
VALUE_MIN: Final = 8  # characters; a shorter registered value would mask ordinary words
_BLOCK: Final = 64 * 1024  # characters; of a larger text only the blocks with a hint are searched

# -- by name -------------------------------------------------------------------------------------

_LAST_WORDS: Final = frozenset(
    [
        "authorization",
        "token",
        "secret",
        "password",
        "passwd",
        "passphrase",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "apikey",
    ]
)
_KEYS_OF: Final = frozenset(["api", "private", "access", "secret", "signing", "encryption"])
_ENDINGS: Final = ("token", "secret", "password", "passwd", "passphrase", "apikey", "privatekey")
# Tokens of a page or of a model's alphabet are nobody's secret.
_OPEN_WORDS: Final = frozenset(["page", "next", "sync", "eos", "bos", "pad", "unk", "stop"])
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GAPS: Final = re.compile(r"[\W_]+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for `X-Api-Key`, `clientSecret`, `DB_PASSWORD`; not for `max_tokens`, `token_count`."""
    words = [word for word in _GAPS.split(_HUMP.sub("_", name[-128:]).lower()) if word]
    if not words or _OPEN_WORDS & set(words[:-1]):
        return False
    last = words[-1]
    if last == "key":
        return len(words) > 1 and words[-2] in _KEYS_OF
    return last in _LAST_WORDS or last.endswith(_ENDINGS)


# -- by value ------------------------------------------------------------------------------------

# A literal that such a secret holds (Python finds one in 4 MB in 2 ms), what makes it one, and what
# then stands there.
_TELLING: Final[tuple[tuple[str, re.Pattern[str], str], ...]] = (
    ("sk-", re.compile(r"sk-(?<![A-Za-z0-9]...)(?=[\w-]{0,99}\d)[\w-]{16,}", re.ASCII), MASKED),
    ("gh", re.compile(r"gh[pousr]_(?<![A-Za-z0-9]....)[A-Za-z0-9]{16,}"), MASKED),
    ("github_pat_", re.compile(r"github_pat_[A-Za-z0-9_]{16,}"), MASKED),
    ("IA", re.compile(r"A(?:KI|SI)A(?<![A-Za-z0-9]....)[A-Z0-9]{16}"), MASKED),
    ("xox", re.compile(r"xox[a-z]-[A-Za-z0-9-]{10,}"), MASKED),
    ("eyJ", re.compile(r"eyJ(?<![\w-]...)[\w-]{8,}\.[\w-]{8,}\.[\w-]*", re.ASCII), MASKED),
    (
        "earer",
        re.compile(r"([Bb]earer\s+)(?=[\w.~+/=-]{0,99}\d|[\w.~+/=-]{20})[\w.~+/=-]{8,}", re.ASCII),
        rf"\1{MASKED}",
    ),
    ("://", re.compile(r"://[^\s/?#@:\"']{0,256}:[^\s/?#@\"']{1,1024}@"), f"://{MASKED}@"),
)
_PEM: Final = re.compile(
    r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).*?(-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

# -- by name, inside a text ----------------------------------------------------------------------

_STEMS: Final = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
    "signing_key",
    "encryption_key",
    "authorization",
    "cookie",
    "credential",
]
_NAME_MAX: Final = 64  # characters before a stem that may belong to its name
_NAME_BEFORE: Final = re.compile(r"[\w.-]*\Z", re.ASCII)
_NAME_AFTER: Final = re.compile(r"[\w.-]*", re.ASCII)
_QUOTED: Final = r"""(?:\\?"(?:[^"\\\r\n]|\\[^"])*\\?"|'(?:[^'\\\r\n]|\\.)*')"""
_WORD: Final = r"""[^\s"'`&,;<>(){}\[\]]+"""
# After a name: what follows it, by how sure its place is that this is the value.
_MEMBER: Final = re.compile(rf"""\\?["']\s*(?::|=>|=)\s*({_QUOTED})""")
_ASSIGNED: Final = re.compile(rf"=({_QUOTED}|{_WORD})")
_OPTION: Final = re.compile(rf"[ =]({_QUOTED}|{_WORD})")
_HEADER: Final = re.compile(
    r":\s*((?:basic|bearer|token|digest|negotiate|apikey)\s+[^\s\"',;]+)", re.IGNORECASE
)
_COOKIES: Final = re.compile(r""":\s*([^\s=;"']{1,256}=[^\r\n"']+)""")
_SAID: Final = re.compile(
    rf"""\s*[:=]\s*({_QUOTED}|(?=[^\s"',;]{{0,256}}\d)(?=[^\s"',;]{{0,256}}[A-Za-z])[\w+/=.~-]{{8,}})(?![\w(])""",
    re.ASCII,
)


def _places(text: str) -> Iterator[tuple[int, int]]:
    """Where the names of secrets stand in `text`: (start, end), in order."""
    low = text.lower()
    if len(low) != len(text):  # a letter whose lower case is longer would move every place
        low = text
    found: list[int] = []
    for stem in _STEMS:
        at = low.find(stem)
        while at >= 0:
            found.append(at)
            at = low.find(stem, at + len(stem))
    last = 0
    for at in sorted(found):
        if at < last:
            continue
        before = _NAME_BEFORE.search(text, max(last, at - _NAME_MAX), at)
        after = _NAME_AFTER.match(text, at, at + 2 * _NAME_MAX)
        start, last = before.start() if before else at, after.end() if after else at
        if is_secret_name(text[start:last]):
            yield start, last


def _value_after(text: str, start: int, end: int) -> re.Match[str] | None:
    """What follows the name at [start, end): group 1 is the value with its quotes."""
    name, before = text[start:end], text[max(0, start - 1) : start]
    if (found := _MEMBER.match(text, end)) is not None:
        return found
    if before in ("?", "&") or name.isupper():  # a query, a line of an environment
        return _ASSIGNED.match(text, end) or _SAID.match(text, end)
    if name.startswith("--"):
        return _OPTION.match(text, end)
    low = name.lower()
    if low.endswith("authorization") and (found := _HEADER.match(text, end)) is not None:
        return found
    return (_COOKIES if low.endswith("cookie") else _SAID).match(text, end)


def _mask_named(text: str) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in _places(text):
        found = _value_after(text, start, end) if start >= at else None
        if found is None:
            continue
        first, past = found.span(1)
        while first < past and text[first] in "\\\"'":  # the quotes stay
            first += 1
        while past > first and text[past - 1] in "\\\"'":
            past -= 1
        if first < past and MASKED not in text[first:past]:
            pieces += [text[at:first], MASKED]
            at = past
    return "".join([*pieces, text[at:]]) if pieces else text


# What every text with a secret holds. The expression is Rust's, which pydantic brings: it reads
# 4 MB in 7 ms and a 400-byte event in 0.7 us, Python's own takes 100 ms. ASCII classes only: with
# the Unicode ones it is a hundred times slower.
_NAMED: Final = (
    r"(?i:token|secret|passw(?:or)?d|passphrase|authorization|cookies?|credentials?"
    r"|(?:api|private|access|secret|signing|encryption)[ _.-]?key)"
)
_HINT: Final = (
    _NAMED + r"""(?:\\{0,3}["'])?\s{0,8}[:=]|--[A-Za-z0-9-]{0,64}""" + _NAMED + " "
    r"|sk-[A-Za-z0-9_-]{16}|gh[pousr]_[A-Za-z0-9]{16}"
    r"|github_pat_|A(?:KI|SI)A[A-Z0-9]{16}|xox[a-z]-|eyJ[A-Za-z0-9_-]{8}|[Bb]earer[\s\\]"
    r"""|://[^\s/?#@:"']{0,256}:[^\s/?#@"']{1,256}@|PRIVATE KEY-----"""
)


def _hint(values: Iterable[str]) -> SchemaValidator:
    known = "".join(f"|{re.escape(value)}" for value in values)
    return SchemaValidator(core_schema.str_schema(pattern=_HINT + known, regex_engine="rust-regex"))


class Mask:
    """Masks secrets. `values` are those this process knows: its tokens, its agents' tokens.

    `suspects(text)` is false for a text (JSON or plain) without any, at a hundredth of the price.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values: tuple[str, ...] = ()
        self.suspects: Callable[[str], bool] = _hint(()).isinstance_python
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask this value from now on, wherever it stands; not one too short to be a secret."""
        if len(value) < VALUE_MIN or value in self.values or value in MASKED:
            return
        # The longest first: a value may hold another. Inside JSON text it may be written otherwise.
        self.values = tuple(sorted((*self.values, value), key=len, reverse=True))
        written = {json.encode(known)[1:-1] for known in self.values}
        self.suspects = _hint({*self.values, *written}).isinstance_python

    def data(self, data: JsonObject) -> JsonObject:
        """`data` without secrets; the very same object where there are none."""
        if json.texts_of(data) <= _BLOCK and not self.suspects(json.encode(data)):
            return data
        return cast("JsonObject", self._walk(data))

    def text(self, text: str) -> str:
        """`text` without secrets; the very same string where there are none."""
        large = len(text) > _BLOCK
        if not large and not self.suspects(text):
            return text
        for value in self.values:
            if value in text:
                text = text.replace(value, MASKED)
        if "PRIVATE KEY-----" in text:
            text = _PEM.sub(rf"\1{MASKED}\2", text)
        if not large:
            return _mask_block(text)
        # Block by block: one look at 10 MB would keep every other thread waiting for 18 ms.
        made = [_mask_block(block) if self.suspects(block) else None for block in _blocks(text)]
        if not any(made):
            return text
        return "".join(new or old for new, old in zip(made, _blocks(text), strict=True))

    def _walk(self, value: Any) -> Any:
        """`value` masked; the parts in which nothing was found are the same objects."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._object(cast("JsonObject", value))
        if isinstance(value, list):
            items = cast("list[Any]", value)
            made = [self._walk(item) for item in items]
            same = all(new is old for new, old in zip(made, items, strict=True))
            return items if same else made
        return value

    def _object(self, value: JsonObject) -> JsonObject:
        made: JsonObject = {}
        same = True
        for key, item in value.items():
            hide = is_secret_name(key) and not _is_schema(item)
            new_key, new = self.text(key), _hidden(item) if hide else self._walk(item)
            made[new_key] = new
            same = same and new is item and new_key is key
        return value if same else made


def _mask_block(text: str) -> str:
    for literal, pattern, masked in _TELLING:
        if literal in text:
            text = pattern.sub(masked, text)
    return _mask_named(text)


def _blocks(text: str) -> Iterator[str]:
    """`text` in blocks of whole lines: no secret but a PEM key spans lines."""
    at = 0
    while at < len(text):
        end = text.find("\n", min(at + _BLOCK, len(text))) + 1 or len(text)
        yield text[at:end]
        at = end


_SCHEMA_WORDS: Final = frozenset({"type", "$ref", "anyOf", "const"})


def _is_schema(value: Any) -> bool:
    """True for what describes a secret's shape (a JSON Schema's property) and is none."""
    return not _SCHEMA_WORDS.isdisjoint(json.as_object(value))


def _hidden(value: Any) -> Any:
    """A secret's value with every text and number in it masked."""
    if isinstance(value, str):
        return MASKED if value not in ("", MASKED) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return MASKED
    if isinstance(value, list):
        return [_hidden(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in cast("JsonObject", value).items()}
    return value
