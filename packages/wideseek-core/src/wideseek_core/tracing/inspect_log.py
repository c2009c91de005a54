"""A log that `inspect view` opens: one sample a rollout, with a lane for each agent."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from pydantic import JsonValue
from pydantic_core import to_json as encode_json

from wideseek_core.episodes import Episode, Trajectory, Turn
from wideseek_core.errors import ConfigError
from wideseek_core.files import write_atomically
from wideseek_core.json_text import clean_strings
from wideseek_core.policy import Finish
from wideseek_core.scores import Score
from wideseek_core.tracing.spans import Span, SpanKind, Traced, spans_of

Json = dict[str, JsonValue]

_STOP_REASONS = {
    Finish.STOP: "stop",
    Finish.TRIMMED: "stop",
    Finish.LENGTH: "max_tokens",
    Finish.CONTEXT: "model_length",
    Finish.ABORT: "unknown",
    Finish.ERROR: "unknown",
}


def write_inspect_log(path: Path, rollouts: Sequence[Traced], *, task: str) -> None:
    """Writes a log; `task` is shown as its name.

    The ending says which format: `.eval`, whose rollouts are compressed and read one by one, or
    `.json`. Raises `ConfigError` for another one, which the viewer would not list.
    """
    match path.suffix:
        case ".eval":
            write_atomically(path, _archive(inspect_log(rollouts, task=task)))
        case ".json":
            write_atomically(path, _json(inspect_log(rollouts, task=task)))
        case _:
            raise ConfigError(f"{path}: the name of an Inspect log must end in .eval or .json")


def _archive(log: Json) -> bytes:
    samples = cast(list[Json], log["samples"])
    # What the list of samples shows of each: all but its messages and events.
    left_out = {"messages", "events", "output"}
    summaries = [{k: v for k, v in sample.items() if k not in left_out} for sample in samples]
    for sample in summaries:
        sample["completed"] = True
        if "error" in sample:
            sample["error"] = cast(Json, sample["error"])["message"]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for sample in samples:
            name = f"samples/{sample['id']}_epoch_{sample['epoch']}.json"
            archive.writestr(name, _json(sample))
        archive.writestr("summaries.json", _json(summaries))
        header = {key: value for key, value in log.items() if key != "samples"}
        archive.writestr("header.json", _json(header))
    return data.getvalue()


def _json(value: object) -> bytes:
    return encode_json(clean_strings(value), inf_nan_mode="null")


def inspect_log(rollouts: Sequence[Traced], *, task: str) -> Json:
    """The log of some rollouts."""
    began = min((rollout.episode.started_at for rollout in rollouts), default=0.0)
    ended = max((r.episode.started_at + float(r.episode.seconds) for r in rollouts), default=0.0)
    models = sorted({t.model for r in rollouts for a in r.episode.trajectories for t in a.turns})
    model = next(filter(None, models), "wideseek")
    ids = list(dict.fromkeys(rollout.name for rollout in rollouts))
    name = hashlib.sha256(f"{task}/{began}".encode()).hexdigest()[:22]
    spec: Json = {
        "eval_id": name,
        "run_id": name,
        "created": _time(began),
        "task": task,
        "task_id": name,
        "dataset": {"name": task, "samples": len(ids), "sample_ids": list(ids)},
        "model": model,
        "config": {"epochs": 1 + max((r.episode.trial for r in rollouts), default=0)},
    }
    return {
        "version": 2,
        "status": "success",
        "eval": spec,
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": _results(rollouts),
        "stats": {
            "started_at": _time(began),
            "completed_at": _time(ended),
            "model_usage": _usage_by_model(rollouts),
        },
        "samples": [_sample(rollout) for rollout in rollouts],
    }


def _results(rollouts: Sequence[Traced]) -> Json:
    scores = [rollout.score.value for rollout in rollouts if rollout.score is not None]
    results: Json = {
        "total_samples": len(rollouts),
        "completed_samples": sum(not rollout.episode.error for rollout in rollouts),
        "scores": [],
    }
    if scores:
        mean = sum(scores) / len(scores)
        metric: Json = {"name": "mean", "value": mean, "params": {}}
        results["scores"] = [
            {
                "name": "score",
                "scorer": "wideseek",
                "scored_samples": len(scores),
                "unscored_samples": len(rollouts) - len(scores),
                "metrics": {"mean": metric},
            }
        ]
    return results


def _sample(rollout: Traced) -> Json:
    episode = rollout.episode
    main = episode.main
    sample: Json = {
        "id": rollout.name,
        "epoch": episode.trial + 1,
        "input": main.prompt,
        "target": "",
        "messages": _conversation(main),
        "output": _output(main.turns[-1], episode.answer) if main.turns else {"choices": []},
        "scores": {} if rollout.score is None else {"score": _score(rollout.score, episode)},
        "metadata": {
            "status": main.status.value,
            "error": episode.error,
            "agents": len(episode.trajectories),
        },
        "events": _events(episode),
        "model_usage": _usage_by_model([rollout]),
        "started_at": _time(episode.started_at),
        "completed_at": _time(episode.started_at + float(episode.seconds)),
        "total_time": float(episode.seconds),
    }
    if episode.error:
        sample["error"] = {"message": episode.error, "traceback": "", "traceback_ansi": ""}
    return sample


def _score(score: Score, episode: Episode) -> Json:
    return {
        "value": score.value,
        "answer": episode.answer,
        "explanation": score.message,
        "metadata": {"state": score.state.value, **score.metrics.model_dump(mode="json")},
    }


def _conversation(agent: Trajectory) -> list[JsonValue]:
    messages: list[JsonValue] = [{"role": "user", "content": agent.prompt}]
    for turn in agent.turns:
        messages.append({"role": "assistant", "content": turn.text, "model": _model(turn)})
        shown = "\n\n".join([*(result.text for result in turn.results), *turn.notes])
        if shown:
            messages.append({"role": "user", "content": shown})
    return messages


def _events(episode: Episode) -> list[JsonValue]:
    """Begin and end of each subagent, model calls and tool calls, in order of time.

    The answering agent has no span of its own: it is the viewer's main lane.
    """
    found: list[tuple[float, int, Json]] = []
    spans = spans_of(episode)
    lanes: dict[int, str | None] = {
        span.agent.agent: None if span.agent is episode.main else span.id
        for span in spans
        if span.kind is SpanKind.AGENT and span.agent
    }
    for span in spans:
        if span.agent is None or (span.kind is SpanKind.AGENT and span.agent is episode.main):
            continue
        lane = lanes[span.agent.agent]
        base: Json = {
            "uuid": f"{span.id}-{span.kind}",
            "span_id": lane,
            "timestamp": _time(episode.started_at + span.start_s),
            "working_start": span.start_s,
        }
        match span.kind:
            case SpanKind.AGENT:
                above = span.agent.parent
                begin: Json = {"event": "span_begin", "id": span.id, "type": "agent"}
                begin |= {"parent_id": None if above is None else lanes[above], "name": span.name}
                found.append((span.start_s, 0, base | begin))
                time = _time(episode.started_at + span.end_s)
                end: Json = {"uuid": f"{span.id}-end", "timestamp": time, "event": "span_end"}
                found.append((span.end_s, 3, base | end | {"id": span.id}))
            case SpanKind.TURN:
                found.append((span.start_s, 1, base | _model_event(span, episode)))
            case _:
                found.append((span.start_s, 2, base | _tool_event(span, episode, lanes)))
    return [event for _, _, event in sorted(found, key=lambda item: item[:2])]


def _model_event(span: Span, episode: Episode) -> Json:
    assert span.turn is not None
    return {
        "event": "model",
        "model": _model(span.turn),
        "input": [{"role": "user", "content": span.new_text}],
        "tools": [],
        "tool_choice": "auto",
        "config": {},
        "output": _output(span.turn, span.turn.text),
        "completed": _time(episode.started_at + span.end_s),
        "working_time": span.turn.seconds,
    }


def _tool_event(span: Span, episode: Episode, lanes: Mapping[int, str | None]) -> Json:
    assert span.result is not None
    event: Json = {
        "event": "tool",
        "type": "function",
        "id": span.id,
        "function": span.result.tool,
        "arguments": {"request": span.result.request},
        "result": span.result.text,
        "events": [],
        "completed": _time(episode.started_at + span.end_s),
        "working_time": span.result.seconds,
    }
    if span.result.agent is not None:
        event["agent"] = f"subagent {span.result.agent}"
        event["agent_span_id"] = lanes[span.result.agent]
    if not span.result.ok:
        event["error"] = {"type": "unknown", "message": span.result.text}
    return event


def _output(turn: Turn, text: str) -> Json:
    message: Json = {"role": "assistant", "content": text, "source": "generate"}
    choice: Json = {"message": message, "stop_reason": _STOP_REASONS[turn.finish]}
    return {
        "model": _model(turn),
        "choices": [choice],
        "completion": text,
        "usage": _usage(turn.prompt_tokens, turn.response_tokens),
    }


def _usage_by_model(rollouts: Iterable[Traced]) -> Json:
    tokens: dict[str, tuple[int, int]] = {}
    for rollout in rollouts:
        for agent in rollout.episode.trajectories:
            for turn in agent.turns:
                prompt, response = tokens.get(_model(turn), (0, 0))
                spent = (prompt + turn.prompt_tokens, response + turn.response_tokens)
                tokens[_model(turn)] = spent
    return {model: _usage(*spent) for model, spent in tokens.items()}


def _usage(prompt: int, response: int) -> Json:
    return {"input_tokens": prompt, "output_tokens": response, "total_tokens": prompt + response}


def _model(turn: Turn) -> str:
    return turn.model or "wideseek"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
