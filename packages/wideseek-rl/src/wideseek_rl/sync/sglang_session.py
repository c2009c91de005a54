"""The bracket around the tensors of an update of SGLang: 0.5.21 refuses tensors outside of one.

Older servers, such as 0.5.17, have no such routes and need none.
"""

from wideseek_core import TrainError
from wideseek_rl.engines.control.protocol import ServerControl

_OPEN_ALREADY = "already open"
"""What the server says of a session that an update before this one has not ended."""


async def open_session(server: ServerControl) -> None:
    """Has a server expect tensors. Raises `TrainError`.

    An update that was broken off leaves its session open; it is ended here.
    """
    try:
        await _ask(server, "/begin_weight_update")
    except TrainError as error:
        if _OPEN_ALREADY not in str(error):
            raise
        await close_session(server)
        await _ask(server, "/begin_weight_update")


async def close_session(server: ServerControl) -> None:
    """Has a server finish the weights that it was sent. Raises `TrainError`."""
    await _ask(server, "/end_weight_update")


async def _ask(server: ServerControl, path: str) -> None:
    await server.client.find(path, {}, timeout_s=server.client.config.transfer_timeout_s)
