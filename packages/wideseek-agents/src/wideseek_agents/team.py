"""A team answers a task: a lead with subagents (`mas`), or a single agent (`sa`)."""

import hashlib
import time

from wideseek_agents.agents import Agent, Roster
from wideseek_agents.config import TeamConfig
from wideseek_agents.events import OnEvent, ignore
from wideseek_agents.loop import run_agent
from wideseek_agents.prompting import PromptSet
from wideseek_agents.recording import AgentRecord, Recording
from wideseek_core import (
    ConfigError,
    Episode,
    PageSource,
    Policy,
    PolicyError,
    SearchBackend,
    Task,
    Trajectory,
)


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
    ) -> None:
        """`subagent_policy` serves the subagents by a second model. Raises `ConfigError`.

        `prompts` stands in for the set that the configuration names: many teams can share one.
        """
        if config.use_access_summary and summarizer is None:
            raise ConfigError("use_access_summary: needs a model that summarises, got none")
        self._config = config
        self._roster = Roster(
            config=config,
            prompts=prompts or PromptSet.load(config.prompts),
            policy=policy,
            subagent_policy=subagent_policy or policy,
            search=search,
            pages=pages,
            summarizer=summarizer if config.use_access_summary else None,
        )

    async def run(
        self, task: Task, trial: int = 0, seed: int = 0, on_event: OnEvent | None = None
    ) -> Episode:
        """One rollout; `trial` and `seed` tell equal tasks apart.

        A policy that fails ends it with `Episode.error` and what was done so far. Cancelling it
        cancels its agents and closes their conversations.
        """
        started = time.monotonic()
        rollout = _Rollout(self._roster, task, f"{seed}/{task.id}/{trial}", on_event or ignore)
        error = ""
        try:
            if self._config.workflow == "mas":
                await rollout.lead()
            else:
                await rollout.single()
        except PolicyError as problem:
            error = f"{type(problem).__name__}: {problem}"
        trajectories = rollout.recording.trajectories()
        return Episode(
            task_id=task.id,
            trial=trial,
            trajectories=trajectories,
            answer=trajectories[0].answer,
            error=error,
            seconds=time.monotonic() - started,
        )


class _Rollout:
    """The agents of one episode as they come to be."""

    def __init__(self, roster: Roster, task: Task, name: str, on_event: OnEvent) -> None:
        self._roster = roster
        self._task = task
        self._name = name
        self._on_event = on_event
        self.recording = Recording()

    async def lead(self) -> None:
        record = self.recording.begin("lead", self._task.question)
        await self._run(self._roster.lead(self._task, self._subagent), record)

    async def single(self) -> None:
        record = self.recording.begin("single", self._task.question)
        await self._run(self._roster.single(self._task), record)

    async def _subagent(self, subtask: str) -> Trajectory:
        record = self.recording.begin("subagent", subtask)
        return await self._run(self._roster.subagent(self._task), record)

    async def _run(self, agent: Agent, record: AgentRecord) -> Trajectory:
        seed = _seed(f"{self._name}/{record.agent}")
        return await run_agent(agent, record, seed=seed, on_event=self._on_event)


def _seed(name: str) -> int:
    """A number of 63 bits that follows from a name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8]) >> 1
