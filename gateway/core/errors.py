"""What the task server refuses, each with a stable code.

    CoreError
      RunNotFoundError        run_not_found
      InvalidInputError       invalid_input        (field names what was wrong)
      RequestConflictError    request_key_conflict
      RunEndedError           run_ended
      NotResumableError       not_resumable
      NotCancelableError      not_cancelable
      NotSteerableError       not_steerable
      AnswerRefusedError      request_gone | already_answered | ambiguous_answer | not_an_answer
      CancelPendingError      cancel_pending
      SessionConflictError    session_conflict
      ReplayError             replay_expired | replay_diverged
      PayloadNotFoundError    payload_not_found
      PushConfigNotFoundError push_config_not_found
      FencedError             fenced               (this process no longer owns the run)
      SecretLostError         secret_lost          (how a run ends, never an answer)
      ServerStoppingError     server_stopping
      StorageError            storage_full | storage_unavailable
      DatabaseUnusableError   database_unusable    (at the start of a server alone)

Each face turns codes into its own errors by one table; nobody branches on texts.
"""


class CoreError(Exception):
    """Something the task server refuses; the text is for callers and says what to do next."""

    code: str = "internal"


class RunNotFoundError(CoreError):
    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no run {run_id!r} here; list_runs (ListTasks) shows what there is")


class InvalidInputError(CoreError):
    """A request that cannot be taken as it is; `field` names the culprit where there is one."""

    code = "invalid_input"

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class RequestConflictError(CoreError):
    code = "request_key_conflict"

    def __init__(self, key: str, id_: str, *, made: str = "run") -> None:
        super().__init__(
            f"request_key {key!r} was used for another request ({made} {id_}); use a new key"
        )


class RunEndedError(CoreError):
    code = "run_ended"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(
            f"run {run_id} is already {status}; send a new message in the same session instead"
        )
        self.status = status


class NotResumableError(CoreError):
    code = "not_resumable"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} was rejected: nothing to go on with; start a new one (spawn_run)"
        )


class NotCancelableError(CoreError):
    code = "not_cancelable"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"run {run_id} is already {status}")
        self.status = status


class NotSteerableError(CoreError):
    code = "not_steerable"

    def __init__(self, run_id: str, why: str) -> None:
        super().__init__(f"run {run_id} takes no message now: {why}")


class AnswerRefusedError(CoreError):
    """The answer fits no pending request; `code` says how."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class CancelPendingError(CoreError):
    code = "cancel_pending"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is being cancelled; it takes no messages any more")


class SessionConflictError(CoreError):
    """The session is bound to something else than the request asks for."""

    code = "session_conflict"


class ReplayError(CoreError):
    """The cursor cannot be served; `code` is replay_expired or replay_diverged."""

    def __init__(self, code: str, text: str, first_seq: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.first_seq = first_seq


def replay_expired(run_id: str, first_seq: int) -> ReplayError:
    """For a cursor before the first event that is kept; with none left that is the next one."""
    return ReplayError(
        "replay_expired",
        f"run {run_id} no longer keeps its events before {first_seq}; read on after "
        f"{first_seq - 1}, and ask for the run itself for its status and result",
        first_seq,
    )


class PayloadNotFoundError(CoreError):
    code = "payload_not_found"

    def __init__(self, seq: int, pointer: str, there: list[str]) -> None:
        paths = ", ".join(there) or "none"
        super().__init__(f"event {seq} has no stored payload at {pointer!r}; it has: {paths}")


class PushConfigNotFoundError(CoreError):
    code = "push_config_not_found"

    def __init__(self, run_id: str, config_id: str) -> None:
        super().__init__(
            f"run {run_id} has no push notification config {config_id!r}; "
            "ListTaskPushNotificationConfigs shows what there is"
        )


class FencedError(CoreError):
    code = "fenced"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is owned by another process")


class ServerStoppingError(CoreError):
    code = "server_stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping; say it again when it is back")


class StorageError(CoreError):
    """The database cannot take or give anything now; `code` says which kind."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class DatabaseUnusableError(CoreError):
    """A server cannot start on this database; the text is for who starts it and names it."""

    code = "database_unusable"


class SecretLostError(CoreError):
    """The run was stored without a secret of its message, and this process never knew that."""

    code = "secret_lost"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id}: its message held a secret, which is never stored, and the server was "
            "restarted before its agent had it; send the message again"
        )
