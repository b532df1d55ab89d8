"""Idempotency keys as rows: a key leads to what was made with it, as long as that lives.

Statements like those of `statements`.
"""

from typing import Any, Final

import sqlalchemy as sa

from gateway.core.errors import RequestConflictError
from gateway.core.store.entry import RequestKey
from gateway.core.store.many import Look
from gateway.core.store.schema import request_keys

_USED: Final = Look(
    sa.select(request_keys.c.digest, request_keys.c.run_id).where(
        request_keys.c.scope == sa.bindparam("b_scope"),
        request_keys.c.key == sa.bindparam("b_key"),
    )
)


def run_of_key(connection: sa.Connection, key: RequestKey) -> str | None:
    """The run that `key` was used for, None when it is new.

    Raises: RequestConflictError when it was used with other content.
    """
    found = _USED.first(connection, b_scope=key.scope, b_key=key.key)
    if found is None:
        return None
    if found["digest"] != key.digest:
        raise RequestConflictError(key.key, found["run_id"])
    return found["run_id"]


def key_row(key: RequestKey, run_id: str) -> dict[str, Any]:
    return {"scope": key.scope, "key": key.key, "digest": key.digest, "run_id": run_id}


def keep_key(connection: sa.Connection, key: RequestKey, run_id: str) -> bool:
    """Note a follow-up's key; False when it was used before with the same content.

    Raises: RequestConflictError.
    """
    if run_of_key(connection, key) is not None:
        return False
    connection.execute(sa.insert(request_keys), key_row(key, run_id))
    return True
