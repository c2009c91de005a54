"""Evaluates a policy: `uv run apps/qa [CONFIG.yaml ...] [a.b=c ...]`."""

import asyncio
import sys

from wideseek_apps.evaluation import QaConfig, evaluate
from wideseek_core.config import exit_on_error, load_config
from wideseek_core.progress import logging_to_console, show


def main() -> None:
    """Runs or resumes the evaluation and shows its scores."""
    with exit_on_error(), logging_to_console():
        show(asyncio.run(evaluate(load_config(QaConfig, sys.argv[1:]))))


if __name__ == "__main__":
    main()
