"""`wideseek-index`: build, serve and describe indexes."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wideseek_core.commands import Command, Program
from wideseek_core.config import Config, exit_on_error, load_config
from wideseek_core.counting import counted
from wideseek_core.extras import require_modules
from wideseek_core.progress import ProgressBar, logging_to_console, show
from wideseek_core.redaction import hide_credentials
from wideseek_tools.backends.qdrant.config import require_qdrant
from wideseek_tools.index.config import IndexConfig, require_index
from wideseek_tools.index.manifest import read_index

BUILD = (
    "wideseek-index build PAGES.jsonl [CORPUS.jsonl] to=FOLDER|URL [CONFIG.yaml] [KEY=VALUE ...]"
)
SERVE = "wideseek-index serve [FOLDER|STORE] [CONFIG.yaml ...] [KEY=VALUE ...]"
INFO = "wideseek-index info FOLDER"


class BuildCommand(IndexConfig):
    """What an index is built from, where it goes, and what it holds."""

    pages: Path
    """JSON lines with `url`, `contents` and perhaps `title`."""
    corpus: Path | None = None
    """JSON lines of passages (`id`, `url`, `contents`); null makes one of each page."""
    to: str
    """A folder, or the address of a Qdrant server."""
    collection: str = "wideseek"
    """Collection on a Qdrant server."""
    store: Path | None = None
    """Page store beside a Qdrant server; null puts it beside the pages."""
    grpc: bool = True
    """Load a Qdrant server over gRPC (port 6334), which is faster than HTTP."""


class InfoCommand(Config):
    """An index to describe."""

    index: Path
    """The index folder."""


class Stages:
    """Shows one progress bar after the other, with rates."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._stage = ""
        self._done = 0
        self._started = 0.0

    def step(self, stage: str, done: int, total: int) -> None:
        """Moves the bar of `stage` on, after ending the one before."""
        if stage != self._stage:
            self.close()
            self._stage, self._done, self._started = stage, -done, time.monotonic()
            self._bar = ProgressBar(stage, total or None).__enter__()
        self._done += done
        if self._bar is not None:
            rate = max(0, self._done) / max(1e-3, time.monotonic() - self._started)
            self._bar.advance(done, {"per s": rate})

    def close(self) -> None:
        """Ends the bar that is shown."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = None


def build(arguments: Sequence[str]) -> None:
    """`wideseek-index build`."""
    given = load_config(BuildCommand, arguments, positional=("pages", "corpus"), usage=BUILD)
    config = IndexConfig(**{name: getattr(given, name) for name in IndexConfig.model_fields})
    stages = Stages()
    try:
        if "://" in given.to:
            require_qdrant()
            from wideseek_tools.backends.qdrant.filling import Target, fill_collection

            store = given.store or given.pages.with_suffix(".sqlite")
            target = Target(
                base_url=given.to, collection=given.collection, store=store, grpc=given.grpc
            )
            filled = fill_collection(given.corpus, given.pages, target, config, stages.step)
            count = asyncio.run(filled)
            stages.close()
            place = hide_credentials(given.to)
            passages = counted(count, "passage")
            show(f"{passages} in {given.collection!r} at {place}, pages in {store}")
            return
        require_index()
        from wideseek_tools.index.build import build_index

        to = Path(given.to).expanduser()
        found = build_index(given.corpus, given.pages, to, config, stages.step)
    finally:
        stages.close()
    show(f"{counted(found.passages, 'passage')} and {counted(found.pages, 'page')} in {given.to}")
    show(f"next: wideseek-index serve {given.to}")


def serve(arguments: Sequence[str]) -> None:
    """`wideseek-index serve`."""
    from wideseek_tools.server.config import ServeConfig

    config = load_config(ServeConfig, arguments, positional=("index",), usage=SERVE)
    # after the settings: help and misspelled keys need no server
    server = ("fastapi", "orjson", "prometheus_client", "uvicorn")
    require_modules(*server, feature="the server", install="wideseek-tools[server]")
    from wideseek_tools.server.serve import run

    if config.index is not None and not config.index.is_file():
        read_index(config.index)  # a file is the page store beside a Qdrant server
    run(config)


def info(arguments: Sequence[str]) -> None:
    """`wideseek-index info`."""
    config = load_config(InfoCommand, arguments, positional=("index",), usage=INFO)
    show(read_index(config.index).model_dump_json(indent=2))


PROGRAM = Program(
    name="wideseek-index",
    summary="Indexes of passages and pages.",
    distribution="wideseek-tools",
    commands={
        "build": Command(summary="Build an index folder, or fill a Qdrant collection.", run=build),
        "serve": Command(summary="Serve an index over HTTP.", run=serve),
        "info": Command(summary="Show an index's manifest.", run=info),
    },
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    with exit_on_error(), logging_to_console():
        PROGRAM.run(list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
