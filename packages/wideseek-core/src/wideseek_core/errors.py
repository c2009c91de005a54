"""Every error WideSeek raises on purpose.

    WideSeekError
    ├── ConfigError           a configuration that can't be used (exit 2 in the apps)
    ├── DataError             a file or record that is not what it should be (exit 2)
    │   ├── CorruptFile       something half-written, truncated or of another kind
    │   └── BadRequest        a request to a server of ours that can't be served
    ├── PolicyError           the language model did not answer
    │   ├── ContextOverflow   the conversation does not fit the context window
    │   └── PolicyUnavailable an endpoint refused, timed out or can't be reached
    ├── ToolError             a search or a page read did not answer
    │   ├── NoContent         the page exists nowhere, or holds no readable text
    │   ├── ToolRefused       the request is not allowed: bad URL, private address, robots.txt
    │   └── ToolUnavailable   a service failed, timed out, or wants a key it did not get
    │       └── QueueFull     too many calls are waiting
    ├── JudgeError            no verdict can ever be had (never a score)
    │   └── NoVerdict         no verdict could be had on this answer
    ├── ServiceError          an HTTP service failed; packages turn it into an error of their own
    ├── WorkerError           a helper process did not start, died, or failed
    │   └── WorkerLost        its place or host was lost: another one may do
    └── TrainError            training can't continue
        ├── CheckpointError   a checkpoint that is corrupt or belongs to another run
        ├── RanksLost         a process of the trainer ended, and its weights with it
        └── PeerFailed        weights did not arrive because another server of the group failed

What the model does wrong is data, never an exception: see `Status` and `ToolResult`.
"""

from enum import StrEnum

from wideseek_core.redaction import hide_credentials


class WideSeekError(Exception):
    """Root of the tree; catch it to catch everything WideSeek raises on purpose.

    Users and passwords of addresses are left out of its text.
    """

    def __str__(self) -> str:
        return hide_credentials(super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ConfigError(WideSeekError):
    """A configuration that can't be used; its message names the key and the value."""


class DataError(WideSeekError):
    """A file or record that is not what it should be; its message names file and line."""


class CorruptFile(DataError):
    """A file that is half-written, truncated, or of another kind than expected."""


class BadRequest(DataError):
    """A request to a server of ours that can't be served."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        """The HTTP status to answer with."""


class PolicyError(WideSeekError):
    """The language model did not answer."""


class ContextOverflow(PolicyError):
    """The conversation does not fit the context window."""


class PolicyUnavailable(PolicyError):
    """The model's endpoint refused, timed out or can't be reached."""


class ToolError(WideSeekError):
    """A search or a page read did not answer; its message may be shown to the model."""


class NoContent(ToolError):
    """The page exists nowhere, or holds no readable text."""


class ToolRefused(ToolError):
    """The request is not allowed: a bad URL, a private address, robots.txt."""


class ToolUnavailable(ToolError):
    """A service failed, timed out, or wants a key it did not get."""


class QueueFull(ToolUnavailable):
    """Too many calls are waiting; ask again a little later."""


class JudgeError(WideSeekError):
    """No verdict can ever be had. It is never turned into a score."""


class NoVerdict(JudgeError):
    """No verdict could be had on this answer, which stays unscored."""


class ServiceFault(StrEnum):
    """How an HTTP service failed."""

    CONNECT = "connect"
    """It can't be reached, or the connection was lost."""
    TIMEOUT = "timeout"
    """It took too long."""
    REFUSED = "refused"
    """It refused the key or the request (4xx); asking again is useless."""
    STATUS = "status"
    """It answered with another error status."""
    TOO_LARGE = "too_large"
    """Its response is longer than allowed."""
    NOT_JSON = "not_json"
    """Its response is not the JSON that was asked for."""
    QUEUE = "queue"
    """The request waited too long for a free slot."""


class ServiceError(WideSeekError):
    """An HTTP service failed; packages turn it into an error of their own.

    Its fields say how, so that the caller can decide what it means. No key is in any of them.
    The HTTP client raises it, and so may a caller's check of an answer that reports a failure
    inside a 200; such a failure is tried again if `can_pass` is set.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ServiceFault,
        status: int | None = None,
        body: str = "",
        attempts: int = 1,
        can_pass: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        """What failed."""
        self.status = status
        """The HTTP status; None if no response came."""
        self.body = body
        """The beginning of the response's body."""
        self.attempts = attempts
        """Requests made."""
        self.can_pass = can_pass
        """Whether another attempt may help."""
        self.retry_after_s = retry_after_s
        """The pause that the service asks for; None if it asks for none."""


class WorkerError(WideSeekError):
    """A helper process did not start, died, or failed; packages turn it into their own error."""


class WorkerLost(WorkerError):
    """A process or its place was lost through no fault of what runs there: another one may do."""


class TrainError(WideSeekError):
    """Training can't continue."""


class CheckpointError(TrainError):
    """A checkpoint that is corrupt or belongs to another run."""


class RanksLost(TrainError):
    """A process of the trainer ended, and the weights with it: the last checkpoint is left."""


class PeerFailed(TrainError):
    """A server got no weights because another one of its group failed; it is not at fault."""
