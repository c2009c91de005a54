"""A build's rewriting that is killed again and again; the test reads what it leaves in a folder.

Each child process words the same tasks with a paid model that notes every charge in a file, and
ends itself by SIGKILL at its n-th step: before a charge or after it. The last child runs through.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from moons import moons

from wideseek_core import Conversation, Finish, Message, Reply, ToolSpec
from wideseek_core.files import append_text, write_atomically
from wideseek_data.rewriting.ledger import Prices
from wideseek_data.rewriting.model import ModelRewriting, RewritingConfig
from wideseek_data.tasks.make import Amounts, make_tasks

PRICES = Prices(prompt_per_million=Decimal("0.15"), response_per_million=Decimal("0.60"))


class PaidModel:
    """Answers with nonsense, charges for it, and kills its process at a step."""

    def __init__(self, charges: Path, kill_at: int) -> None:
        self.charges = charges
        self.left = kill_at

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        return self

    async def reply(self, messages: Sequence[Message]) -> Reply:
        self.step()
        prompt = messages[0].content
        tokens = len(prompt) // 4
        append_text(
            self.charges, f"{sha256(prompt.encode()).hexdigest()} {PRICES.cost(tokens, 50)}"
        )
        self.step()
        await asyncio.sleep(0)
        return Reply(text="no", finish=Finish.STOP, prompt_tokens=tokens, response_tokens=50)

    async def close(self) -> None:
        return None

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def word(folder: Path, kill_at: int, budget: str) -> None:
    tables = {
        name: moons().model_copy(update={"id": name, "title": f"Moons of {name}"})
        for name in ("Ymir", "Buri", "Ask", "Embla")
    }
    amounts = Amounts(wide_per_table=12, short_per_table=27)
    plans = [plan for table in tables.values() for plan in make_tasks([table], amounts, Counter())]
    config = RewritingConfig(
        model="stub", prices=PRICES, budget=Decimal(budget), max_attempts=2, max_concurrent=3
    )
    rewriting = ModelRewriting(config, PaidModel(folder / "charges", kill_at), folder)
    asyncio.run(rewriting.word_all(plans, tables))
    counts = "\n".join(f"{name}\t{count}" for name, count in sorted(rewriting.counts.items()))
    write_atomically(folder / "counts", f"{counts}\ncommitted\t{rewriting.ledger.committed}\n")


def main() -> None:
    folder, kills, budget = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    killed = 0
    for number in range(kills + 1):
        kill_at = 1 + number % 4 if number < kills else 0
        child = os.fork()
        if child == 0:
            word(folder, kill_at, budget)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    write_atomically(folder / "killed", str(killed))


if __name__ == "__main__":
    main()
