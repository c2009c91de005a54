"""`wideseek-index`: build, serve and describe indexes."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wideseek_core.config import exit_on_error, load_config
from wideseek_core.errors import ConfigError
from wideseek_core.progress import ProgressBar, logging_to_console, show
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.manifest import read_index

BUILD = "wideseek-index build [CORPUS.jsonl] PAGES.jsonl --to DIR|QDRANT-URL [CONFIG] [a.b=c ...]"
SERVE = "wideseek-index serve DIR [CONFIG.yaml] [a.b=c ...]"


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="wideseek-index", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser(
        "build", usage=BUILD, help="build an index folder, or fill a Qdrant collection"
    )
    build.add_argument("--to", required=True, help="a folder, or the URL of a Qdrant server")
    build.add_argument("--collection", default="wideseek", help="on a Qdrant server")
    build.add_argument("--store", type=Path, help="page store beside a Qdrant server")
    build.add_argument("--no-grpc", action="store_true", help="load a Qdrant server over HTTP")
    build.add_argument("--fields", action="store_true", help="show the settings and leave")
    serve = commands.add_parser("serve", usage=SERVE, help="serve an index over HTTP")
    info = commands.add_parser("info", help="show an index's manifest")
    for command in (build, serve, info):
        command.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given, more = parser.parse_known_args(arguments)  # it takes no positionals after options
    given.rest += more
    if unknown := [one for one in more if one.startswith("-")]:
        parser.error(f"unknown option {unknown[0]}")
    with exit_on_error(), logging_to_console():
        inputs, settings = _split(given.rest)
        if given.command == "build":
            _build(given, inputs, settings)
        elif given.command == "serve":
            _serve(inputs, settings)
        else:
            for folder in inputs:
                show(read_index(folder).model_dump_json(indent=2))


def _split(rest: list[str]) -> tuple[list[Path], list[str]]:
    """Paths apart from settings: `a.b=c`, a YAML file."""
    settings = [
        one
        for one in rest
        if one.endswith((".yaml", ".yml")) or ("=" in one and not Path(one).exists())
    ]
    return [Path(one) for one in rest if one not in settings], settings


def _build(given: argparse.Namespace, inputs: list[Path], settings: list[str]) -> None:
    config = load_config(IndexConfig, ["--help"] if given.fields else settings)
    if len(inputs) not in (1, 2):
        raise ConfigError(f"usage: {BUILD}")
    corpus, pages = (inputs[0], inputs[1]) if len(inputs) == 2 else (None, inputs[0])
    stages = Stages()
    try:
        if "://" in given.to:
            from wideseek_tools.backends.qdrant.filling import Target, fill_collection

            store = given.store or pages.with_suffix(".sqlite")
            target = Target(
                base_url=given.to, collection=given.collection, store=store, grpc=not given.no_grpc
            )
            count = asyncio.run(fill_collection(corpus, pages, target, config, stages.step))
            stages.close()
            show(f"{count} passages in {given.collection!r} at {given.to}, pages in {store}")
            return
        from wideseek_tools.index.build import build_index

        found = build_index(corpus, pages, Path(given.to), config, stages.step)
    finally:
        stages.close()
    show(f"{found.passages} passages and {found.pages} pages in {given.to}")
    show(f"next: wideseek-index serve {given.to}")


def _serve(inputs: list[Path], settings: list[str]) -> None:
    if len(inputs) > 1:
        raise ConfigError(f"usage: {SERVE}")
    for path in inputs:
        if not path.is_file():  # a file is the page store beside a Qdrant server
            read_index(path)
    try:
        from wideseek_tools.server.config import ServeConfig
        from wideseek_tools.server.serve import run
    except ImportError as error:
        line = f"the server needs: pip install 'wideseek-tools[server]' ({error})"
        raise ConfigError(line) from None
    config = load_config(ServeConfig, settings)
    run(config, inputs[0] if inputs else None)


if __name__ == "__main__":
    main(sys.argv[1:])
