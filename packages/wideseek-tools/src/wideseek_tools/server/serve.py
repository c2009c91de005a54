"""Runs the retrieval server until it is told to stop."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

from wideseek_core.errors import ConfigError
from wideseek_core.progress import show
from wideseek_tools.backends.embedded import EmbeddedConfig, open_embedded
from wideseek_tools.backends.qdrant.config import open_qdrant
from wideseek_tools.page_store import STORE, PageStore
from wideseek_tools.server.app import make_app
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.connection import hot_protocol
from wideseek_tools.server.routes import Retriever, Routes


def run(config: ServeConfig, index: Path | None = None) -> None:
    """Blocks until SIGINT or SIGTERM, on the faster event loop."""
    # Uvicorn stops gracefully and then sends itself the signal again, which would skip the rest.
    signal.signal(signal.SIGTERM, _leave)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, index))


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


async def serve(config: ServeConfig, index: Path | None = None) -> None:
    """Serves until SIGINT or SIGTERM; open requests are finished first."""
    async with AsyncExitStack() as stack:
        path = config.pages.path or index
        if path is None:
            raise ConfigError("missing key 'pages.path': name an index folder or a page store")
        pages = stack.enter_context(PageStore(path / STORE if path.is_dir() else path))
        search, about = await _open(config, stack, index)
        routes = Routes(search, pages, config)
        settings = uvicorn.Config(
            make_app(routes, {**about, "pages": len(pages)}),
            host=config.host,
            port=config.port,
            http=hot_protocol(routes),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=config.shutdown_s,
        )
        server = uvicorn.Server(settings)
        if config.port:
            show(f"serving on http://{config.host}:{config.port}")
        await server.serve()
        if not server.started:
            raise ConfigError(f"can't listen on {config.host}:{config.port}")


async def _open(
    config: ServeConfig, stack: AsyncExitStack, index: Path | None
) -> tuple[Retriever, dict[str, str | int]]:
    if isinstance(config.search, EmbeddedConfig):
        settings = config.search
        if settings.path is None:
            settings = settings.model_copy(update={"path": index})
        opened = open_embedded(settings, processes=config.processes, max_waiting=config.max_waiting)
        search = await stack.enter_async_context(opened)
        about: dict[str, str | int] = {
            "passages": search.info.passages,
            "method": search.ranking.method,
            "fingerprint": search.info.fingerprint,
        }
        return search, about
    about = {"collection": config.search.collection, "method": config.search.method}
    return await stack.enter_async_context(open_qdrant(config.search)), about
