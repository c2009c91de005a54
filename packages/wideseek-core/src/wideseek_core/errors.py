"""Every error WideSeek raises on purpose.

    WideSeekError
    ├── ConfigError           a configuration that can't be used (exit 2 in the apps)
    ├── DataError             a file or record that is not what it should be (exit 2)
    │   └── CorruptFile       something half-written, truncated or of another kind
    ├── PolicyError           the language model did not answer
    │   ├── ContextOverflow   the conversation does not fit the context window
    │   └── PolicyUnavailable an endpoint refused, timed out or can't be reached
    ├── ToolError             a search or a page read did not answer
    │   ├── NoContent         the page exists nowhere, or holds no readable text
    │   ├── ToolRefused       the request is not allowed: bad URL, private address, robots.txt
    │   └── ToolUnavailable   a service failed, timed out, or wants a key it did not get
    ├── JudgeError            no verdict could be had (never a score)
    └── TrainError            training can't go on
        └── CheckpointError   a checkpoint that is corrupt or belongs to another run

What the model does wrong is data, never an exception: see `Status` and `ToolResult`.
"""


class WideSeekError(Exception):
    """Root of the tree; catch it to catch everything WideSeek raises on purpose."""


class ConfigError(WideSeekError):
    """A configuration that can't be used; its message names the key and the value."""


class DataError(WideSeekError):
    """A file or record that is not what it should be; its message names file and line."""


class CorruptFile(DataError):
    """A file that is half-written, truncated, or of another kind than expected."""


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


class JudgeError(WideSeekError):
    """No verdict could be had. It is never turned into a score."""


class TrainError(WideSeekError):
    """Training can't go on."""


class CheckpointError(TrainError):
    """A checkpoint that is corrupt or belongs to another run."""
