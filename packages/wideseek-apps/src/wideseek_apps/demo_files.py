"""Demonstration files as training rows: texts become the ids that the loop would have sampled."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from wideseek_agents import ChatTokenizer
from wideseek_agents.policies.dialogue import Dialogue
from wideseek_apps.demos import Demonstrations
from wideseek_core import Language, Message
from wideseek_core.language import detect_language
from wideseek_core.progress import ProgressBar
from wideseek_data.teaching.conversations import Demonstration, read_demonstrations
from wideseek_rl.batch.demonstrations import DemoSet

MAX_CONTEXT = 1_000_000
"""Tokens of a conversation before its length is looked at."""


def read_demo_files(
    paths: Sequence[Path], tokenizer: ChatTokenizer, *, max_tokens: int
) -> Demonstrations:
    """The rows of the files, in order; longer ones are left out and counted by role."""
    rows: list[tuple[list[int], list[bool]]] = []
    kept, left_out, languages = Counter[str](), Counter[str](), Counter[Language]()
    with ProgressBar("demonstrations", None) as bar:
        for demonstration in _all(paths):
            ids, trained = row_of(demonstration.chat(), tokenizer)
            fits = len(ids) <= max_tokens
            (kept if fits else left_out)[demonstration.agent] += 1
            rows += [(ids, trained)] * fits
            asked = next((one for one in demonstration.messages if one.role == "user"), None)
            if fits and asked is not None:
                languages[detect_language(asked.content)] += 1
            bar.advance(1)
    return Demonstrations(
        rows=DemoSet.from_rows(rows), kept=kept, left_out=left_out, languages=languages
    )


def _all(paths: Sequence[Path]) -> Iterable[Demonstration]:
    for path in paths:
        yield from read_demonstrations(path)


def row_of(messages: Sequence[Message], tokenizer: ChatTokenizer) -> tuple[list[int], list[bool]]:
    """The ids of a conversation, and which of them a policy would have sampled."""
    dialogue = Dialogue(tokenizer, context_tokens=MAX_CONTEXT)
    ids: list[int] = []
    trained: list[bool] = []
    waiting: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            waiting.append(message)
            continue
        prompt, response = dialogue.ask(waiting), tokenizer.encode_response(message.content)
        trained += [False] * (len(prompt) - len(trained)) + [True] * len(response)
        ids = [*prompt, *response]
        dialogue.answer(response)
        waiting = []
    return ids, trained
