"""A team answers a task: a lead with subagents, or a single agent."""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wideseek_agents.budget import Ledger
from wideseek_agents.config import AgentConfig, TeamConfig
from wideseek_agents.events import OnEvent, ignore
from wideseek_agents.factory import Agent, AgentFactory, Services, sends_tools
from wideseek_agents.loop import run_agent
from wideseek_agents.prompts import PromptSet
from wideseek_agents.recording import AgentRecord, Recording
from wideseek_agents.tools import Spawn
from wideseek_core import (
    AgentRole,
    ConfigError,
    Episode,
    PageSource,
    Policy,
    PolicyError,
    SearchBackend,
    Status,
    Task,
    Trajectory,
)
from wideseek_core.usage import report_usage

logger = logging.getLogger(__name__)

_MIN_ANSWER_CHARS = 200
"""An earlier answer that is shorter is not cut, but left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A question that was answered before, and its answer."""

    question: str
    answer: str


class Team:
    """Agents that share policies, a search backend and a page source.

    Holds no state between runs: many tasks may run at once. Who opened the policies and tools
    closes them.
    """

    def __init__(
        self,
        config: TeamConfig,
        policy: Policy,
        search: SearchBackend,
        pages: PageSource,
        *,
        subagent_policy: Policy | None = None,
        summarizer: Policy | None = None,
        prompts: PromptSet | None = None,
        fixed_roles: Collection[AgentRole] = (),
    ) -> None:
        """`subagent_policy` serves the subagents by a second model. Raises `ConfigError`.

        In training, the turns of `fixed_roles` are not trained: their model stays as it is.

        `prompts` stands in for the sets that the configuration names: many teams can share one.
        """
        if config.use_access_summary and summarizer is None:
            raise ConfigError("use_access_summary: needs a model that summarizes, got none")
        self._config = config
        self._fixed_roles = tuple(fixed_roles)
        self._factory = AgentFactory(
            config=config,
            policy=policy,
            subagent_policy=subagent_policy or policy,
            search=search,
            pages=pages,
            summarizer=summarizer if config.use_access_summary else None,
            prompts=_prompts(config, prompts),
            native=tuple(p for p in (policy, subagent_policy) if p is not None and sends_tools(p)),
        )

    async def run(
        self,
        task: Task,
        trial: int = 0,
        seed: int = 0,
        on_event: OnEvent | None = None,
        *,
        earlier: Sequence[Exchange] = (),
    ) -> Episode:
        """One rollout; `trial` and `seed` tell equal tasks apart.

        The question may follow `earlier` ones of the same session, which all agents then know of.
        If they do not fit the window with it, the oldest are left out, and the last is shortened:
        the answering agent then starts anew.

        A policy that fails for the answering agent ends it with `Episode.error` and what was done
        so far; one that fails for a subagent costs that agent's report alone. Cancelling it
        cancels its agents and closes their conversations; what it has spent by then is known to
        those who watch it (`wideseek_core.usage.watched_usage`).
        """
        name = f"{seed}/{task.id}/{trial}"
        rollout = await self._rollout(self._following(task, earlier), name, on_event or ignore)
        while earlier and _overflows(rollout):
            earlier = _less(earlier)
            rollout = await self._rollout(self._following(task, earlier), name, on_event or ignore)
        trajectories = rollout.recording.trajectories()
        main = trajectories[0]
        error = main.error
        if main.status in (Status.ABORTED, Status.ERROR) and not error:
            last = main.turns[-1]
            error = f"PolicyUnavailable: a response ended with {last.finish_reason or last.finish}"
        return Episode(
            task_id=task.id,
            trial=trial,
            trajectories=trajectories,
            answer=main.answer,
            error=error,
            seconds=rollout.recording.clock.now(),
            started_at=rollout.recording.clock.started_at,
            usage=rollout.ledger.usage(),
        )

    async def _rollout(self, task: Task, name: str, on_event: OnEvent) -> "_Rollout":
        recording = Recording(fixed_roles=self._fixed_roles)
        rollout = _Rollout(self._factory, task, name, recording, on_event)
        report_usage(rollout.ledger.usage)
        try:
            if self._config.workflow == "multi_agent":
                await rollout.lead()
            else:
                await rollout.single()
        except PolicyError as problem:
            logger.debug("rollout %s: %s", name, problem)
        return rollout

    def _following(self, task: Task, earlier: Sequence[Exchange]) -> Task:
        if not earlier:
            return task
        role: AgentRole = "lead" if self._config.workflow == "multi_agent" else "single"
        words = self._factory.prompts[role].localized(task.language).messages
        before = [words.exchange.fill(question=e.question, answer=e.answer) for e in earlier]
        text = words.follow_up.fill(earlier="\n\n".join(before), question=task.question)
        return task.model_copy(update={"question": text})


class _Rollout:
    """The agents of one episode as they come to be."""

    def __init__(
        self,
        factory: AgentFactory,
        task: Task,
        name: str,
        recording: Recording,
        on_event: OnEvent,
    ) -> None:
        self._factory = factory
        self._task = task
        self._name = name
        self._on_event = on_event
        self.recording = recording
        self.ledger = Ledger(factory.config.budget)

    async def lead(self) -> None:
        record = self.recording.begin("lead", self._task.question)
        await self._run(self._factory.lead(self._task, self._services(record)), record)

    async def single(self) -> None:
        record = self.recording.begin("single", self._task.question)
        await self._run(self._factory.single(self._task, self._services(record)), record)

    def _services(self, record: AgentRecord) -> Services:
        return Services(spawn=self._spawner(record), spend=self.ledger.spend)

    def _spawner(self, parent: AgentRecord) -> Spawn:
        """Runs subagents of `parent`. One whose policy fails has failed by itself."""

        async def spawn(subtask: str) -> Trajectory:
            record = self.recording.begin("subagent", subtask, parent)
            try:
                agent = self._factory.subagent(self._task, self._services(record))
                return await self._run(agent, record)
            except PolicyError as problem:
                logger.warning("agent %d of %s failed: %s", record.agent, self._name, problem)
                return record.trajectory()

        return spawn

    async def _run(self, agent: Agent, record: AgentRecord) -> Trajectory:
        seed = _seed(f"{self._name}/{record.agent}")
        return await run_agent(agent, record, self.ledger, seed=seed, on_event=self._on_event)


def _overflows(rollout: _Rollout) -> bool:
    """Whether not even the question fitted the window."""
    main = rollout.recording.agents[0]
    return main.status is Status.CONTEXT_OVERFLOW and not main.turns


def _less(earlier: Sequence[Exchange]) -> Sequence[Exchange]:
    """Fewer earlier exchanges, or half of the answer of the only one."""
    last = earlier[-1]
    if len(earlier) > 1 or len(last.answer) < _MIN_ANSWER_CHARS:
        return earlier[1:]
    half = (
        last.answer[: len(last.answer) // 2].rpartition("\n")[0] or last.answer[:_MIN_ANSWER_CHARS]
    )
    return [Exchange(question=last.question, answer=f"{half}\n…")]


def _prompts(config: TeamConfig, given: PromptSet | None) -> dict[AgentRole, PromptSet]:
    """The prompt set of each role, loaded once."""
    loaded: dict[str, PromptSet] = {}
    sets: dict[AgentRole, PromptSet] = {}
    roles: dict[AgentRole, AgentConfig] = {
        "lead": config.lead,
        "subagent": config.subagent,
        "single": config.single,
    }
    for role, agent in roles.items():
        if given is not None and not agent.prompts:
            sets[role] = given
            continue
        name = agent.prompts or config.prompts
        if name not in loaded:
            loaded[name] = PromptSet.load(name)
        sets[role] = loaded[name]
    return sets


def _seed(name: str) -> int:
    """A number of 63 bits that follows from a name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8]) >> 1
