"""Demonstrations on tables: the scripted teacher runs through the real loop and tools.

The pages of a world are searched in memory, so nothing but the given pages can be read.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wideseek_agents import PromptSet, ScriptedPolicy, Team, TeamConfig
from wideseek_core import (
    Conversation,
    Document,
    Judge,
    Message,
    Page,
    Policy,
    Reply,
    Status,
    ToolSpec,
)
from wideseek_data.tasks.recipes import PlannedTask
from wideseek_data.teaching.conversations import Demonstration, demonstrated
from wideseek_data.teaching.invented_tables import TableWorld
from wideseek_data.teaching.table_teacher import REFUSAL, TableTeacher, TeacherLimits
from wideseek_tools.backends.memory import MemoryPages, MemorySearch

PASSAGE_WORDS = 100
"""Words of a page that a search result shows, as indexes are built by default."""


@dataclass(slots=True)
class Recorder:
    """A policy that keeps the conversations of another."""

    inner: Policy
    kept: list[tuple[str, list[Message]]] = field(default_factory=list[tuple[str, list[Message]]])
    """Role and messages of each conversation, in the order of their beginnings."""

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A conversation that is kept."""
        messages: list[Message] = []
        self.kept.append((role_of(tools), messages))
        opened = self.inner.open(tools, seed=seed, max_question_tokens=max_question_tokens)
        return _Recorded(opened, messages)


@dataclass(slots=True)
class _Recorded:
    inner: Conversation
    messages: list[Message]

    async def reply(self, messages: Sequence[Message]) -> Reply:
        self.messages += messages
        reply = await self.inner.reply(messages)
        self.messages.append(Message(role="assistant", content=reply.text))
        return reply

    async def close(self) -> None:
        await self.inner.close()


def role_of(tools: Sequence[ToolSpec]) -> str:
    """Which agent has these tools."""
    names = {tool.name for tool in tools}
    if "create_sub_agents" in names:
        return "lead"
    search = next((tool for tool in tools if tool.name == "search"), None)
    return "subagent" if search and "queries" in str(search.parameters) else "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrating:
    """How the teacher works, and what is kept of it."""

    team: TeamConfig
    single_share: float = 0.15
    subagents_kept: int = 3
    """Subagents of a rollout that are kept beside the first: they are much alike."""
    min_score: float = 0.0
    """Rollouts whose answer scores less are dropped."""
    seed: int = 0


class Demonstrator:
    """Makes demonstrations in one world."""

    def __init__(self, world: TableWorld, settings: Demonstrating, judge: Judge | None) -> None:
        self._settings = settings
        self._judge = judge
        self._urls = {page.url for page in world.pages}
        self._search = MemorySearch(map(passage, world.pages))
        self._pages = MemoryPages(world.pages)
        limits = TeacherLimits(
            subagents_per_turn=settings.team.lead.requests_per_call,
            rows_per_subagent=min(4, settings.team.subagent.requests_per_call),
        )
        self._teacher = TableTeacher(world.plans, world.tables, limits)
        self._prompts = PromptSet.load(settings.team.prompts)
        self.counts = Counter[str]()
        """What became of the rollouts."""

    async def demonstrate(self, plan: PlannedTask) -> list[Demonstration]:
        """The conversations of one rollout; none if it is not good enough."""
        rng = random.Random(f"{self._settings.seed} {plan.task.id}")
        single = rng.random() < self._settings.single_share
        workflow = "single_agent" if single else "multi_agent"
        recorder = Recorder(ScriptedPolicy(self._teacher.respond))
        team = Team(
            self._settings.team.model_copy(update={"workflow": workflow}),
            recorder,
            self._search,
            self._pages,
            prompts=self._prompts,
        )
        episode = await team.run(plan.task)
        if episode.error or any(
            item.status is not Status.FINISHED for item in episode.trajectories
        ):
            self.counts["not finished"] += 1
            return []
        if REFUSAL in episode.answer and self._urls.issuperset(plan.pages):
            self.counts["not found"] += 1  # it could have been found, so it is no refusal to learn
            return []
        if self._judge is not None and REFUSAL not in episode.answer:
            score = await self._judge.score(plan.task, episode.answer)
            if score.value < self._settings.min_score:
                self.counts["low score"] += 1
                return []
        self.counts["kept"] += 1
        return list(self._kept(recorder, plan, rng))

    def _kept(
        self, recorder: Recorder, plan: PlannedTask, rng: random.Random
    ) -> Iterator[Demonstration]:
        first, others = recorder.kept[:2], recorder.kept[2:]
        chosen = rng.sample(others, min(len(others), self._settings.subagents_kept))
        for role, messages in (*first, *chosen):
            yield Demonstration.model_validate(
                {
                    "agent": role,
                    "task": plan.task.id,
                    "source": plan.task.source,
                    "messages": demonstrated(messages),
                }
            )


def passage(page: Page) -> Document:
    """What search shows of a page: its first words."""
    words = page.text.split(" ")
    return Document(url=page.url, title=page.title, text=" ".join(words[:PASSAGE_WORDS]))


def demonstrations(
    world: TableWorld,
    plans: Iterable[PlannedTask],
    settings: Demonstrating,
    judge: Judge | None = None,
) -> tuple[list[Demonstration], Counter[str]]:
    """The teacher's conversations on some of a world's tasks, and what became of the rollouts."""
    demonstrator = Demonstrator(world, settings, judge)

    async def run() -> list[Demonstration]:
        return [item for plan in plans for item in await demonstrator.demonstrate(plan)]

    return asyncio.run(run()), demonstrator.counts
