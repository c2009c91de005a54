"""Pages fetched from the open web, with all guards, and their main text extracted."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wideseek_core.endpoint import RequestLimits
from wideseek_core.extras import require_modules
from wideseek_core.plugins import Plugin

if TYPE_CHECKING:
    from wideseek_tools.fetch.fetcher import Fetcher


class FetchConfig(RequestLimits):
    """Pages fetched from here, with all guards, and their main text extracted."""

    kind: Literal["fetch"] = "fetch"
    user_agent: str = "wideseek/0.1 (research agent; respects robots.txt)"
    robots: bool = True
    """Ask robots.txt first."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that may be connected to."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    max_concurrent: int = 10
    max_per_host: int = Field(default=2, ge=1)
    """Requests in flight to one host."""
    max_requests_per_s: float | None = 50.0
    max_attempts: int = 3
    timeout_s: float = 20.0
    deadline_s: float = 60.0
    max_bytes: int = 5_000_000
    connect_timeout_s: float = Field(default=5.0, gt=0)
    """Timeout of one connection."""
    extract_timeout_s: float = Field(default=20.0, gt=0)
    """Timeout of extraction; a page that takes longer is refused."""
    extract_processes: int = Field(default=2, ge=1)
    """Processes that extract."""
    trust_proxy: bool = False
    """Go through the environment's proxy, whose rules then decide which addresses are reached."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may be private: your own servers, by exact name or address."""


@asynccontextmanager
async def open_fetch(config: FetchConfig) -> "AsyncGenerator[Fetcher]":
    """The page source. Raises `ConfigError`."""
    modules = ("idna", "lxml", "protego", "trafilatura")
    require_modules(*modules, feature="pages.kind=fetch", install="wideseek-tools[web]")
    from wideseek_tools.fetch.fetcher import Fetcher

    async with Fetcher(config) as fetcher:
        yield fetcher


PAGES = Plugin(config=FetchConfig, open=open_fetch)
