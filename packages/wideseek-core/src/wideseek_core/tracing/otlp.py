"""OpenTelemetry traces as JSON lines: one export request a rollout.

Spans carry the attributes of the GenAI conventions and those of OpenInference, so that viewers of
either kind show agents, models and tools; what neither has is under `wideseek.`.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import JsonValue

from wideseek_core.files import write_atomically
from wideseek_core.scores import Score
from wideseek_core.tracing.spans import Span, SpanKind, Traced, spans_of, trace_id

Json = dict[str, JsonValue]
Attributes = dict[str, str | int | float | bool]

_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2
_OPERATIONS = {
    SpanKind.ROLLOUT: "invoke_workflow",
    SpanKind.AGENT: "invoke_agent",
    SpanKind.TURN: "chat",
    SpanKind.TOOL: "execute_tool",
}
_INFERENCE_KINDS = {
    SpanKind.ROLLOUT: "CHAIN",
    SpanKind.AGENT: "AGENT",
    SpanKind.TURN: "LLM",
    SpanKind.TOOL: "TOOL",
}


def write_otlp(path: Path, rollouts: Iterable[Traced], *, content: bool = True) -> None:
    """Writes a file of JSON lines. Without `content`, no text of prompts, answers and pages."""
    lines = (json.dumps(otlp_trace(rollout, content=content)) + "\n" for rollout in rollouts)
    write_atomically(path, "".join(lines))


def otlp_trace(rollout: Traced, *, content: bool = True) -> Json:
    """The trace of a rollout as an `ExportTraceServiceRequest`."""
    episode = rollout.episode
    trace = trace_id(episode)
    spans: list[JsonValue] = []
    for span in spans_of(episode):
        attributes = dict(_attributes(span, rollout, content))
        made: Json = {
            "traceId": trace,
            "spanId": span.id,
            "name": f"{_OPERATIONS[span.kind]} {_subject(span)}",
            "kind": _CLIENT if span.kind is SpanKind.TURN else _INTERNAL,
            "startTimeUnixNano": _nanoseconds(episode.started_at + span.start_s),
            "endTimeUnixNano": _nanoseconds(episode.started_at + span.end_s),
            "attributes": _pairs(attributes),
            "status": _status(span, rollout),
        }
        if span.parent is not None:
            made["parentSpanId"] = span.parent
        elif rollout.score is not None:
            made["events"] = [_evaluation(rollout.score, made["endTimeUnixNano"])]
        spans.append(made)
    resource: Json = {"attributes": _pairs({"service.name": "wideseek"})}
    scopes: list[JsonValue] = [{"scope": {"name": "wideseek"}, "spans": spans}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}


def _subject(span: Span) -> str:
    if span.turn is not None and span.result is None:
        return span.turn.model or "model"
    return "wideseek" if span.kind is SpanKind.ROLLOUT else span.name


def _attributes(
    span: Span, rollout: Traced, content: bool
) -> Iterator[tuple[str, str | int | float | bool]]:
    episode = rollout.episode
    yield "gen_ai.operation.name", _OPERATIONS[span.kind]
    yield "openinference.span.kind", _INFERENCE_KINDS[span.kind]
    yield "gen_ai.conversation.id", f"{rollout.name}/{episode.trial}"
    yield "session.id", f"{rollout.name}/{episode.trial}"
    if span.agent is not None:
        yield "gen_ai.agent.id", str(span.agent.agent)
        yield "gen_ai.agent.name", span.agent.role
    texts = ("", "")
    match span.kind:
        case SpanKind.ROLLOUT:
            texts = (episode.main.prompt, episode.answer)
            yield from _rollout_attributes(rollout)
        case SpanKind.AGENT:
            assert span.agent is not None
            texts = (span.agent.prompt, span.agent.answer)
            yield "wideseek.status", span.agent.status.value
            if span.agent.error:
                yield "error.type", span.agent.error.partition(":")[0]
        case SpanKind.TURN:
            assert span.turn is not None
            texts = (span.new_text, span.turn.text)
            yield from _turn_attributes(span)
        case SpanKind.TOOL:
            assert span.result is not None
            texts = (span.result.request, span.result.text)
            yield "gen_ai.tool.name", span.result.tool
            yield "gen_ai.tool.call.id", span.id
            if content:
                yield "gen_ai.tool.call.arguments", json.dumps({"request": texts[0]})
                yield "gen_ai.tool.call.result", texts[1]
    if content:
        yield "input.value", texts[0]
        yield "output.value", texts[1]


def _rollout_attributes(rollout: Traced) -> Iterator[tuple[str, str | int | float]]:
    yield "wideseek.task.id", rollout.episode.task_id
    yield "wideseek.trial", rollout.episode.trial
    if rollout.step is not None:
        yield "wideseek.step", rollout.step
    if rollout.reward is not None:
        yield "wideseek.reward", rollout.reward


def _turn_attributes(span: Span) -> Iterator[tuple[str, str | int | float | bool]]:
    assert span.turn is not None
    turn = span.turn
    yield "gen_ai.provider.name", "wideseek"
    yield "gen_ai.request.model", turn.model
    yield "llm.model_name", turn.model
    yield "gen_ai.usage.input_tokens", turn.prompt_tokens
    yield "gen_ai.usage.output_tokens", turn.response_tokens
    yield "llm.token_count.prompt", turn.prompt_tokens
    yield "llm.token_count.completion", turn.response_tokens
    yield "llm.token_count.total", turn.prompt_tokens + turn.response_tokens
    yield "gen_ai.response.finish_reasons", turn.finish_reason or turn.finish.value
    yield "wideseek.finish", turn.finish.value
    yield "wideseek.dropped_calls", turn.dropped_calls
    yield "wideseek.policy_version", turn.version


def _status(span: Span, rollout: Traced) -> Json:
    if span.result is not None:
        return {"code": _OK if span.result.ok else _ERROR}
    if span.kind is SpanKind.AGENT and span.agent is not None and span.agent.status.failed:
        return {"code": _ERROR, "message": span.agent.error or span.agent.status.value}
    if span.kind is SpanKind.ROLLOUT and rollout.episode.error:
        return {"code": _ERROR, "message": rollout.episode.error}
    return {"code": _OK}


def _evaluation(score: Score, time: JsonValue) -> Json:
    attributes: Attributes = {
        "gen_ai.evaluation.name": "wideseek",
        "gen_ai.evaluation.score.value": score.value,
        "gen_ai.evaluation.score.label": score.state.value,
        "gen_ai.evaluation.explanation": score.message,
    }
    return {
        "name": "gen_ai.evaluation.result",
        "timeUnixNano": time,
        "attributes": _pairs(attributes),
    }


def _pairs(attributes: Attributes) -> list[JsonValue]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: str | float | bool) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)
