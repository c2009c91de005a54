"""The work of the command `ask`: one question, or a session of them, with progress and answers."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from wideseek_agents import Exchange, Team, ToolAnswered
from wideseek_agents.events import Event
from wideseek_apps.answers import AnswerView, answer_text, terminal_width, view_answer
from wideseek_apps.ask_config import AskConfig, checked_question
from wideseek_apps.evidence import Evidence
from wideseek_apps.live_tree import Agents, watching
from wideseek_apps.profiles import language_warnings
from wideseek_apps.team import open_team
from wideseek_core import Episode, Language, TableGold, Task, TextGold
from wideseek_core.errors import PolicyError
from wideseek_core.language import detect_language
from wideseek_core.progress import show, show_problem
from wideseek_core.redaction import printable

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer as it is shown."""

    text: str
    """For stdout."""
    remark: str = ""
    """For stderr: what a table in Markdown or CSV can't say."""
    supported: bool
    """Whether there is an answer, and every value of it was read by an agent."""
    interrupted: bool = False


async def ask(config: AskConfig) -> Answered:
    """Answers the question. Raises `PolicyError` if no model answers."""
    evidence = Evidence()
    async with open_team(config, evidence) as team:
        return await Session(config, team, evidence).answer(config.question)


async def converse(config: AskConfig, read: Callable[[], str | None]) -> None:
    """Answers the questions that `read` gives until it gives None; each knows the earlier ones."""
    evidence = Evidence()
    async with open_team(config, evidence) as team:
        session = Session(config, team, evidence)
        while (question := read()) is not None:
            if not question.strip():
                continue
            try:
                present(await session.answer(checked_question(question)))
            except PolicyError as problem:
                show_problem(f"{type(problem).__name__}: {problem}")


def present(answered: Answered) -> None:
    """Shows an answer on stdout, and its remark on stderr."""
    if answered.text:
        show(answered.text)
    if answered.remark:
        show_problem(answered.remark)


@dataclass(slots=True)
class Session:
    """Questions that follow one another, to one team."""

    config: AskConfig
    team: Team
    evidence: Evidence
    earlier: list[Exchange] = field(default_factory=list[Exchange])

    async def answer(self, question: str) -> Answered:
        """Answers a question. Raises `PolicyError` if no model answers.

        Ctrl-C ends the question, and what was found so far is its answer.
        """
        task = self._task(question)
        for warning in self._language_warnings(task.language):
            logger.warning("%s", warning)
        agents = Agents(question)
        self.evidence.begin_question()
        with watching(agents, quiet=self.config.quiet) as watch:

            def on_event(event: Event) -> None:
                if isinstance(event, ToolAnswered):
                    self.evidence.add_reader(event)
                watch(event)

            kept = self.earlier[-self.config.history :] if self.config.history else []
            run = self.team.run(task, on_event=on_event, earlier=kept)
            episode = await until_interrupted(run)
        if episode is None:
            return self._partial("Interrupted.", agents, interrupted=True)
        if episode.error:
            return self._broken(episode, agents)
        status, is_for_people = episode.main.status, self.config.form == "table"
        if status.failed and not episode.answer and is_for_people and agents.reports():
            return self._partial(f"No answer: the agent ended with {status}.", agents)
        if episode.answer:
            self.earlier.append(Exchange(question=question, answer=episode.answer))
        return self._shown(view_answer(episode, self.evidence, self.config.answer, question))

    def _task(self, question: str) -> Task:
        """The question; what would be right is unknown, and nothing is scored."""
        gold = (
            TableGold(text="", key_columns=(), required_columns=())
            if self.config.answer == "table"
            else TextGold(answers=("",))
        )
        language = self.config.language or detect_language(question)
        return Task(id="question", question=question, language=language, gold=gold)

    def _language_warnings(self, language: Language) -> list[str]:
        models = {
            "policy": self.config.policy,
            "subagent_policy": self.config.subagent_policy,
        }
        return language_warnings(models, language)

    def _broken(self, episode: Episode, agents: Agents) -> Answered:
        problem = episode.error.removeprefix("PolicyUnavailable: ")
        if not agents.reports() and not self.evidence.opened:
            raise PolicyError(problem)
        return self._partial(f"No answer: {problem}", agents)

    def _partial(self, headline: str, agents: Agents, *, interrupted: bool = False) -> Answered:
        """What subagents have reported, and the pages that were opened."""
        reports = [f"{prompt}\n{answer}" for prompt, answer in agents.reports()]
        parts = [headline, *(["What was found:", *reports] if reports else [])]
        urls = [f"  {number}. {url}" for number, url in enumerate(self.evidence.opened, 1)]
        parts += ["\n".join(["Sources", *urls])] if urls else []
        text = printable("\n\n".join(parts))
        plain = self.config.form == "table" and len(parts) > 1
        return Answered(
            text=text if plain else "",
            remark="" if plain or (interrupted and len(parts) == 1) else text,
            supported=False,
            interrupted=interrupted,
        )

    def _shown(self, view: AnswerView) -> Answered:
        form = self.config.form
        text = answer_text(view, form, self.config.sources, terminal_width())
        if form in ("table", "json") or view.supported:
            return Answered(text=text, supported=view.supported)
        if not view.rows:
            return Answered(text="", remark=printable(view.before), supported=False)
        remark = "not supported: some values are in nothing that the agents read"
        return Answered(text=text, remark=remark, supported=False)


async def until_interrupted(job: Coroutine[Any, Any, T]) -> T | None:
    """The result of a job; None if Ctrl-C ended it. A second Ctrl-C is that of the caller."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(job)
    before = signal.getsignal(signal.SIGINT)
    interrupted = False

    def restore() -> None:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        restore()
        task.cancel()

    # Threads other than the main one, and Windows, have no such handlers.
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        loop.add_signal_handler(signal.SIGINT, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
        return None
    finally:
        restore()


def prompt() -> str | None:
    """The next question of a person at a terminal; None at the end of input."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if sys.stdout.isatty():
            with contextlib.suppress(ImportError):
                import_module("readline")  # gives `input` editing and history
            return input("question> ")
        sys.stderr.write("question> ")
        sys.stderr.flush()
        return sys.stdin.readline() or None
    except EOFError:
        sys.stderr.write("\n")
        return None
    finally:
        signal.signal(signal.SIGINT, before)
