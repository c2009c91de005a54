"""Runs the retrieval server until it is stopped."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from types import FrameType

import uvicorn
import uvloop

from wideseek_core.errors import ConfigError
from wideseek_core.progress import show
from wideseek_tools.addresses import announced, reachable_address
from wideseek_tools.backends.embedded import EmbeddedConfig, open_embedded
from wideseek_tools.backends.qdrant.config import open_qdrant
from wideseek_tools.page_store import STORE, PageStore
from wideseek_tools.server.app import make_app
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.routes import Retriever, Routes


def run(config: ServeConfig) -> None:
    """Blocks until SIGINT or SIGTERM, on the faster event loop."""
    # Uvicorn stops gracefully and then sends itself the signal again, which would skip the rest.
    signal.signal(signal.SIGTERM, _leave)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config))


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


async def serve(config: ServeConfig) -> None:
    """Serves until SIGINT or SIGTERM; open requests are finished first."""
    async with AsyncExitStack() as stack:
        path = config.pages.path or config.index
        if path is None:
            raise ConfigError("missing key 'pages.path': name an index folder or a page store")
        pages = stack.enter_context(PageStore(path / STORE if path.is_dir() else path))
        search, about = await _open(config, stack)
        routes = Routes(search, pages, config)
        settings = uvicorn.Config(
            make_app(routes, {**about, "pages": len(pages)}),
            host=config.host,
            port=config.port,
            http="httptools",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=config.shutdown_s,
        )
        server = AnnouncingServer(settings, config, stack)
        await server.serve()
        if not server.started:
            raise ConfigError(f"can't listen on {config.host}:{config.port}")


class AnnouncingServer(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(
        self, settings: uvicorn.Config, config: ServeConfig, stack: AsyncExitStack
    ) -> None:
        super().__init__(settings)
        self._announced, self._stack = config, stack

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().startup(sockets)
        if not self.started:
            return
        port = int(self.servers[0].sockets[0].getsockname()[1])
        if (path := self._announced.address_file) is not None:
            address = reachable_address(self._announced.host, port)
            self._stack.enter_context(announced(address, path))
        show(f"serving on http://{self._announced.host}:{port}")


async def _open(
    config: ServeConfig, stack: AsyncExitStack
) -> tuple[Retriever, dict[str, str | int]]:
    if isinstance(config.search, EmbeddedConfig):
        settings = config.search
        if settings.path is None:
            settings = settings.model_copy(update={"path": config.index})
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
