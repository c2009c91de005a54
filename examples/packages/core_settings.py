"""wideseek-core alone: typed settings from YAML and the command line, in your own program."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from wideseek_core import Config, load_config
from wideseek_core.config import exit_on_error


class Search(Config):
    """Where the program looks."""

    top_k: int = 5
    """Documents per query."""


class Settings(Config):
    """All settings of the program."""

    name: str = "demo"
    search: Search = Search()


def main(arguments: list[str]) -> None:
    """Shows the settings; a misspelled key is one line, and `--help` lists them all."""
    with exit_on_error():
        settings = load_config(Settings, arguments)
        print(f"{settings.name}: {settings.search.top_k} documents")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mine.yaml"
        file.write_text("name: mine\nsearch: {top_k: 3}\n")
        main([str(file), "search.top_k=10", *sys.argv[1:]])
