"""The files of an event's payloads: their names, their pieces, and the manifest that lists them.

Pure. Each payload has a name of its own whatever its pointer (`/a/b` and `/a.b` are two), on file
systems that do not tell upper case from lower too, and no piece ends inside a character.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.core.characters import cut
from gateway.core.json import JsonObject
from gateway.core.redact import Payload, relpath

MANIFEST: Final = "manifest.json"
_NAME_MAX: Final = 100  # characters; a file's name may have 255 bytes
_PLAIN: Final = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{_NAME_MAX - 1}}}")
_DIGEST: Final = re.compile(r"-[0-9a-f]{12}$")
_SUFFIX: Final = {"text/plain": "txt"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def folder_of(seq: int, type_: str) -> str:
    """The folder of an event's payloads under `artifacts/`."""
    return relpath(seq, type_).split("/")[1]


def file_bases(pointers: Sequence[str]) -> dict[str, str]:
    """Pointer -> file name without number and suffix (`/stdout` -> `stdout`, `/input/content` ->
    `input.content`). Where that would be ambiguous, hidden or long, a digest of the pointer is
    added; so the names do not depend on the order of the pointers."""
    plain = {pointer: _base(pointer) for pointer in pointers}
    users = Counter(base.casefold() for base in plain.values())
    return {
        pointer: base
        if users[base.casefold()] == 1 and _PLAIN.fullmatch(base) and not _DIGEST.search(base)
        else f"{base[:_NAME_MAX].lstrip('.')}-{hashlib.sha256(pointer.encode()).hexdigest()[:12]}"
        for pointer, base in plain.items()
    }


def _base(pointer: str) -> str:
    return _UNSAFE.sub("_", pointer.removeprefix("/").replace("/", "."))


def chunk_files(base: str, payload: Payload) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of a payload's pieces, numbered from 1."""
    suffix = _SUFFIX.get(payload.mime, "json")
    for number, (_, piece) in enumerate(cut(payload.content), start=1):
        yield f"{base}.{number:04d}.{suffix}", piece


def manifest(
    seq: int,
    type_: str,
    refs: Mapping[str, JsonObject],
    chunks: Mapping[str, Sequence[tuple[str, int]]],
) -> JsonObject:
    """`manifest.json`: per pointer its reference and `chunks`, (file name, bytes) in order."""
    path = relpath(seq, type_)
    fields = {
        pointer: {
            **refs[pointer],
            "relpath": path,
            "chunks": [{"file": name, "bytes": size} for name, size in files],
        }
        for pointer, files in chunks.items()
    }
    return {"seq": seq, "event_type": type_, "fields": fields}
