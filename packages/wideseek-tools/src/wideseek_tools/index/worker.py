"""The process that ranks: reads batches of questions from stdin, writes rankings to stdout.

It runs apart because qdrant-edge holds Python's lock while it searches: a server that searched in
its own process could do nothing else meanwhile, and would use one core.
"""

import pickle
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qdrant_edge import EdgeShard

from wideseek_core.errors import WideSeekError
from wideseek_tools.encoders.encoder import open_encoder
from wideseek_tools.index.manifest import IndexInfo
from wideseek_tools.index.rank import Ranker
from wideseek_tools.index.shard import Ranking, lexical_model, open_shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a process ranks with; the first message it gets."""

    shard: Path
    info: IndexInfo
    ranking: Ranking


def open_ranker(setup: Setup, shard: EdgeShard) -> Ranker:
    """Raises `ConfigError` if the encoder's packages are not installed."""
    config, method = setup.info.config, setup.ranking.method
    encoder = open_encoder(config.encoder) if method != "bm25" else None
    return Ranker(shard, lexical_model(config, setup.info.mean_words), setup.ranking, encoder)


def receive(stream: BinaryIO) -> Any:
    """The next message. Raises `EOFError`. Pickles: both ends are this package."""
    head = stream.read(4)
    if len(head) != 4:
        raise EOFError
    return pickle.loads(stream.read(*struct.unpack("!I", head)))


def message(value: object) -> bytes:
    """A value as `receive` takes it."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return struct.pack("!I", len(data)) + data


def main() -> None:
    """Serves until stdin ends. Every message is answered by one: its result, or an error's text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes stdin
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    ranker: Ranker | None = None
    while True:
        try:
            given = receive(stdin)
        except EOFError:
            return
        try:
            if ranker is None:
                ranker, answer = open_ranker(given, open_shard(given.shard)), []
            else:
                answer = ranker.rank(given)
        except WideSeekError as error:
            answer = str(error)
        stdout.write(message(answer))
        stdout.flush()


if __name__ == "__main__":
    main()
