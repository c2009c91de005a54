"""A helper process for the tests of `wideseek_core.workers`."""

import asyncio
import os
import sys
import time
from typing import Any

from wideseek_core.errors import ContextOverflow
from wideseek_core.frames import JSON, PICKLE
from wideseek_core.helper import serve, serve_concurrently

received: list[object] = []
released = asyncio.Event()


def handle(value: Any) -> object:
    match value:
        case ["die"]:
            os._exit(3)
        case ["sleep", seconds]:
            time.sleep(seconds)
        case ["overflow"]:
            raise ContextOverflow("too long")
        case ["crash"]:
            raise ZeroDivisionError("by hand")
        case ["print"]:
            sys.stdout.write("not a message\n")
            sys.stdout.flush()
            os.write(1, b"nor this\n")
        case ["pid"]:
            return os.getpid()
        case ["received"]:
            return received
        case _:
            received.append(value)
    return value


async def handle_later(value: Any) -> object:
    match value:
        case ["wait", seconds]:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                received.append("cancelled")
                raise
            return value
        case ["wait for release"]:
            await released.wait()
            return value
        case ["release"]:
            released.set()
            return value
        case _:
            return handle(value)


if __name__ == "__main__":
    if "concurrent" in sys.argv:
        serve_concurrently(handle_later)
    else:
        serve(handle, JSON if "json" in sys.argv else PICKLE)
