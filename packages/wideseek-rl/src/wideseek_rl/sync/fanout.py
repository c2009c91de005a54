"""The same step on several servers at once; what fails is collected by server."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

from wideseek_core import TrainError, WideSeekError
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.native_errors import reason

T = TypeVar("T")

Failures = dict[str, TrainError]
"""Why a server failed, by its address."""


async def on_each(
    servers: Sequence[ServerControl],
    step: Callable[[ServerControl], Awaitable[object]],
    failures: Failures,
) -> list[ServerControl]:
    """Takes a step on every server that has not failed yet; returns those that succeeded."""
    going = [server for server in servers if server.client.url not in failures]
    results = await asyncio.gather(*(step(server) for server in going), return_exceptions=True)
    succeeded: list[ServerControl] = []
    for server, result in zip(going, results, strict=True):
        if isinstance(result, TrainError):
            failures[server.client.url] = result
        elif isinstance(result, BaseException):
            raise result
        else:
            succeeded.append(server)
    return succeeded


async def in_thread(work: Callable[[], T], timeout_s: float, name: str) -> T:
    """Runs blocking work within a time limit. Raises `TrainError` when it takes longer.

    The thread is abandoned then: a collective operation that waits for a dead process never ends,
    and must not keep this process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, result))

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiter gets it
            answer = settle, None, error
        else:
            answer = settle, result, None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(*answer)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await asyncio.wait_for(future, timeout_s)
    except TimeoutError:
        raise TrainError(f"{name} took longer than {timeout_s:g} s") from None
    except WideSeekError:
        raise
    except Exception as error:
        raise TrainError(f"{name} failed: {type(error).__name__}: {reason(error)}") from error
