"""Demonstrations on invented worlds: the scripted teacher runs through the real loop and tools.

Every question has a small world of its own, searched in memory. Nothing of the atlas is in it.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context
from typing import TypeVar

from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer, PromptSet, ScriptedPolicy, Team, TeamConfig
from wideseek_agents.policies.scripted import Respond
from wideseek_apps.listing_demos import demonstrate_listing
from wideseek_apps.sft_config import DemosConfig
from wideseek_core import Document, Episode, Language, Message, Page, Policy, ToolSpec
from wideseek_core.progress import ProgressBar
from wideseek_data.atlas.absent import absent
from wideseek_data.atlas.chains import chains
from wideseek_data.atlas.invented import InventedWorld, invent
from wideseek_data.atlas.teacher import Plan, Teacher
from wideseek_data.atlas.wide import questions
from wideseek_data.atlas.world import pages_of
from wideseek_rl import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_tools.backends.memory import MemoryPages, MemorySearch

Made = TypeVar("Made")

CHUNK = 200
"""Worlds of one job."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demonstrations:
    """Demonstrations as training rows, and what is missing from them."""

    rows: DemoSet
    kept: Counter[str]
    """How many rows show each role."""
    left_out: Counter[str]
    """How many rows of each role were too long."""
    languages: Counter[Language] = field(default_factory=Counter[Language])
    """How many rows are in each language."""

    @classmethod
    def join(cls, parts: Sequence["Demonstrations"]) -> "Demonstrations":
        """Several as one, in order."""
        kept, left_out, languages = Counter[str](), Counter[str](), Counter[Language]()
        for part in parts:
            kept.update(part.kept)
            left_out.update(part.left_out)
            languages.update(part.languages)
        rows = DemoSet.join([part.rows for part in parts])
        return cls(rows=rows, kept=kept, left_out=left_out, languages=languages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    first: int
    count: int
    config: DemosConfig
    team: TeamConfig
    vocabulary: str
    """A tokenizer as JSON; empty to get texts instead of rows."""
    max_tokens: int


def demo_set(
    config: DemosConfig, team: TeamConfig, tokenizer: Tokenizer, *, max_tokens: int
) -> Demonstrations:
    """The demonstrations as training rows of at most `max_tokens` tokens; all responses train.

    A role whose conversations are long loses its hardest questions that way: `left_out` tells.
    """
    jobs = _jobs(config, team, tokenizer.to_str(), max_tokens)
    parts: list[Demonstrations] = []
    with ProgressBar("demonstrations", config.worlds) as bar:
        for job, part in zip(jobs, _each(config, _rows, jobs), strict=True):
            bar.advance(job.count)
            parts.append(part)
    return Demonstrations.join(parts)


def demo_texts(config: DemosConfig, team: TeamConfig) -> list[str]:
    """The demonstrations as plain text, to learn a vocabulary from."""
    return [text for texts in _each(config, _texts, _jobs(config, team)) for text in texts]


def _each(
    config: DemosConfig, make: Callable[[_Job], Made], jobs: Sequence[_Job]
) -> Iterator[Made]:
    """What is made of each job, in order; in this process if one is enough."""
    if config.processes == 1 or len(jobs) == 1:
        yield from map(make, jobs)
        return
    with ProcessPoolExecutor(config.processes, mp_context=get_context("spawn")) as pool:
        try:
            with _interrupts_blocked():
                results = pool.map(make, jobs)
            yield from results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


@contextmanager
def _interrupts_blocked() -> Generator[None]:
    """Ctrl-C waits until the end of the block; processes that are started in it never see it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _jobs(
    config: DemosConfig, team: TeamConfig, vocabulary: str = "", max_tokens: int = 0
) -> list[_Job]:
    return [
        _Job(
            first=first,
            count=min(CHUNK, config.worlds - first),
            config=config,
            team=team,
            vocabulary=vocabulary,
            max_tokens=max_tokens,
        )
        for first in range(0, config.worlds, CHUNK)
    ]


def _rows(job: _Job) -> Demonstrations:
    rows: list[TrainingSample] = []
    kept, left_out = Counter[str](), Counter[str]()
    for episode in asyncio.run(_episodes(job)):
        for trajectory in episode.trajectories:
            turns = [TrainedTurn(turn=turn, weight=1.0, advantage=1.0) for turn in trajectory.turns]
            for row in build_samples(turns):
                fits = len(row) <= job.max_tokens
                (kept if fits else left_out)[trajectory.role] += 1
                rows += [row] * fits
    pairs = ((row.ids.tolist(), (row.weights > 0).tolist()) for row in rows)
    languages = Counter[Language](en=len(rows))  # of the atlas and of invented worlds
    return Demonstrations(
        rows=DemoSet.from_rows(pairs), kept=kept, left_out=left_out, languages=languages
    )


def _texts(job: _Job) -> list[str]:
    texts: list[str] = []

    def listen(respond: Respond) -> Respond:
        def answer(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str | Awaitable[str]:
            said = respond(messages, tools)
            last = max(
                (at for at, item in enumerate(messages) if item.role == "assistant"), default=-1
            )
            texts.extend(f"{item.role}\n{item.content}\n" for item in messages[last + 1 :])
            texts.append(f"assistant\n{said}")
            return said

        return answer

    asyncio.run(_episodes(job, listen))
    return texts


async def _episodes(
    job: _Job, listen: Callable[[Respond], Respond] = lambda respond: respond
) -> list[Episode]:
    tokenizer = ChatTokenizer(Tokenizer.from_str(job.vocabulary)) if job.vocabulary else None
    prompts = PromptSet.load(job.team.prompts)
    made: list[Episode] = []
    for number in range(job.first, job.first + job.count):
        seed = job.config.seed * 1_000_003 + number

        def policy_of(respond: Respond) -> Policy:
            return ScriptedPolicy(listen(respond), tokenizer)

        if random.Random(f"kind {seed}").random() < job.config.listing_share:
            episode = await demonstrate_listing(seed, job.config, job.team, prompts, policy_of)
            made.append(_thinned(episode, job.config.subagents_kept, random.Random(seed)))
            continue
        plans = demonstration_plans(seed, job.config)
        policy = policy_of(Teacher(plans).respond)
        teams = _teams(seed, job.team, policy, prompts)
        for episode in await demonstrate(seed, plans, teams, job.config.single_share):
            made.append(_thinned(episode, job.config.subagents_kept, random.Random(seed)))
    return made


def _teams(seed: int, config: TeamConfig, policy: Policy, prompts: PromptSet) -> tuple[Team, Team]:
    """A team with subagents and a single agent in the world of a seed."""
    search, pages = world_tools(invent(seed))
    chosen = [
        config.model_copy(update={"workflow": workflow})
        for workflow in ("multi_agent", "single_agent")
    ]
    teams = [Team(one, policy, search, pages, prompts=prompts) for one in chosen]
    return teams[0], teams[1]


async def demonstrate(
    seed: int, plans: Sequence[Plan], teams: tuple[Team, Team], single_share: float
) -> list[Episode]:
    """The teacher's episodes on the invented world of a seed."""
    rng = random.Random(f"workflow {seed}")
    return [await teams[rng.random() < single_share].run(plan.task) for plan in plans]


def demonstration_plans(seed: int, config: DemosConfig) -> list[Plan]:
    """The questions that are demonstrated on the invented world of a seed."""
    rng, world = random.Random(seed), invent(seed)
    wide = [
        plan
        for domain in (world.things, world.places)
        for plan in questions(domain, rng, per_group=1)
        if len(plan.members) <= config.max_members
    ]
    rng.shuffle(wide)
    plans: list[Plan] = [
        *wide[: config.wide_per_world],
        *chains(world, rng, config.chains_per_world),
    ]
    if config.absent_per_world:
        plans += absent(world, invent(-1 - seed), rng, config.absent_per_world)
    return plans


def world_tools(world: InventedWorld) -> tuple[MemorySearch, MemoryPages]:
    """Search over the leads and pages with lead and body, as the atlas has them."""
    pages = [page for domain in (world.things, world.places) for page in pages_of(domain)]
    documents = [Document(url=page.url, title=page.title, text=page.lead) for page in pages]
    texts = [
        Page(url=page.url, title=page.title, text=f"{page.lead}\n{page.body}".strip())
        for page in pages
    ]
    return MemorySearch(documents), MemoryPages(texts)


def _thinned(episode: Episode, kept: int, rng: random.Random) -> Episode:
    """The episode with the answering agent, its first subagent, and `kept` of the others."""
    first, others = episode.trajectories[:2], list(episode.trajectories[2:])
    chosen: Sequence[object] = others if len(others) <= kept else rng.sample(others, kept)
    keep = (*first, *(item for item in others if item in chosen))
    return Episode(
        task_id=episode.task_id,
        trial=episode.trial,
        trajectories=keep,
        answer=episode.answer,
        error=episode.error,
    )
