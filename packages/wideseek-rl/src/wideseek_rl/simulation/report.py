"""`wideseek schedule-sim`: the schedules beside each other, and a measured run beside its model."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from wideseek_core import Config, ConfigError
from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_rl.rollout.schedule_config import (
    AsyncScheduleConfig,
    SyncScheduleConfig,
    TailScheduleConfig,
)
from wideseek_rl.simulation.config import ScheduleSimConfig
from wideseek_rl.simulation.engine import Speeds
from wideseek_rl.simulation.lengths import DrawnLengths, MeasuredLengths
from wideseek_rl.simulation.measure import MeasuredRun, measure_run
from wideseek_rl.simulation.schedules import (
    Setting,
    SimulatedRun,
    simulate_schedule,
    staleness_of,
)

DEFAULTS: Mapping[str, float] = {
    "slots": 64,
    "prompts_per_step": 32,
    "group_size": 8,
    "update_s": 60.0,
    "sync_s": 1.0,
}
"""What nothing else says."""


def schedule_report(config: ScheduleSimConfig) -> str:
    """Simulates the schedules; writes `output` if there is one. Raises `DataError`."""
    run = measure_run(config.run) if config.run is not None else None
    chosen = {name: schedule_config(name, config) for name in config.schedules}
    skip = max(map(staleness_of, chosen.values()))
    setting = replace(simulation_setting(config, run), skip=skip)
    found = {name: simulate_schedule(schedule, setting) for name, schedule in chosen.items()}
    own = None
    if run is not None and (schedule := _own_schedule(run)) is not None:
        # What a run's own schedule slowed down is in its measured speeds already.
        own = simulate_schedule(schedule, replace(setting, overlap=1.0))
    if config.output is not None:
        write_atomically(config.output, json.dumps(_values(setting, found, run, own), indent=1))
    return "\n".join([*_setting_lines(setting), "", *_table(found), *_check(run, own)])


def simulation_setting(config: ScheduleSimConfig, run: MeasuredRun | None) -> Setting:
    """What is given, else what was measured, else the defaults."""

    def number(name: str) -> float:
        given = getattr(config, name)
        return given if given is not None else getattr(run, name, DEFAULTS[name])

    speeds = run.speeds if run is not None else None
    total = config.engine_tokens_per_s or (speeds.total if speeds else 0.0)
    sequence = config.sequence_tokens_per_s or (speeds.sequence if speeds else 0.0)
    return Setting(
        lengths=DrawnLengths(config.lengths) if run is None else MeasuredLengths(run.groups),
        speeds=Speeds(total=total, sequence=min(sequence, total)),
        slots=int(number("slots")),
        prompts_per_step=int(number("prompts_per_step")),
        group_size=int(number("group_size")),
        update_s=number("update_s"),
        sync_s=number("sync_s"),
        overlap=config.overlap,
        steps=config.steps,
        seed=config.seed,
    )


def schedule_config(name: str, config: ScheduleSimConfig) -> Config:
    """The schedule of a name."""
    match name:
        case "sync":
            return SyncScheduleConfig()
        case "tail":
            return TailScheduleConfig(extra=config.extra)
        case _:
            return AsyncScheduleConfig(max_staleness=int(name.partition(":")[2]))


def _own_schedule(run: MeasuredRun) -> Config | None:
    """The schedule of a run; None for one that the simulation does not know."""
    kinds = {"sync": SyncScheduleConfig, "tail": TailScheduleConfig, "async": AsyncScheduleConfig}
    kind = run.schedule.get("kind")
    if kind not in kinds:
        return None
    try:
        return kinds[kind].model_validate(run.schedule)
    except ValidationError:
        raise ConfigError(f"the run's schedule can't be read: {dict(run.schedule)}") from None


def _setting_lines(setting: Setting) -> Iterator[str]:
    yield (
        f"{counted(setting.prompts_per_step, 'prompt')} of "
        f"{counted(setting.group_size, 'rollout')} a step, "
        f"{counted(setting.slots, 'rollout')} at a time; update {setting.update_s:.3g} s, "
        f"weights {setting.sync_s:.3g} s"
    )
    yield (
        f"engine {setting.speeds.total:.4g} tokens/s when full, "
        f"{setting.speeds.sequence:.3g} for a sequence; {counted(setting.steps, 'step')} simulated"
    )


def _table(found: Mapping[str, SimulatedRun]) -> Iterator[str]:
    base = found.get("sync")
    yield (
        "schedule   step s   x sync   prompts/h   tokens/s   engine idle  load   trainer idle"
        "  unused   staleness: share of groups"
    )
    for name, run in found.items():
        factor = f"{base.step_s / run.step_s:.2f}" if base else "-"
        ages = " ".join(f"{age}: {share:.2f}" for age, share in run.staleness.items())
        yield (
            f"{name:9}{run.step_s:8.1f}{factor:>9}{run.prompts_per_hour:12.0f}"
            f"{run.tokens_per_s:11.0f}{run.engine_idle:14.0%}{run.engine_load:6.0%}"
            f"{run.trainer_idle:15.0%}{run.wasted:8.0%}   {ages}"
        )


def _check(run: MeasuredRun | None, own: SimulatedRun | None) -> Iterator[str]:
    """The run's own schedule against what was measured."""
    if run is None:
        return
    yield ""
    if own is None:
        yield (
            f"the run itself ({run.schedule.get('kind')}): {run.step_s:.1f} s a step measured; "
            "its schedule is not simulated"
        )
        return
    yield (
        f"the run itself ({run.schedule.get('kind')}): {run.step_s:.1f} s a step measured, "
        f"{own.step_s:.1f} s simulated, ratio {own.step_s / run.step_s:.2f}; "
        f"waiting for rollouts {run.rollouts_s:.1f} s measured, {own.rollouts_s:.1f} s simulated"
    )
    if run.unused is not None and (run.unused or own.wasted):
        yield (
            f"unused tokens {run.unused:.0%} measured in turns that ended, {own.wasted:.0%} "
            "simulated in all"
        )
    if not run.settled:
        yield "measured are steps whose groups began together, which take less time than later ones"


def _values(
    setting: Setting,
    found: Mapping[str, SimulatedRun],
    run: MeasuredRun | None,
    own: SimulatedRun | None,
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "schedules": {name: asdict(simulated) for name, simulated in found.items()},
        "engine": asdict(setting.speeds),
    }
    if run is not None:
        measured = {"step_s": run.step_s, "rollouts_s": run.rollouts_s}
        if run.unused is not None:
            measured["unused"] = run.unused
        values["run"] = {"measured": measured} | ({"simulated": asdict(own)} if own else {})
    return values
