"""Traces of rollouts for the viewers of others: a log of Inspect, and OpenTelemetry spans."""

from wideseek_core.tracing.inspect_log import inspect_log, write_inspect_log
from wideseek_core.tracing.otlp import otlp_trace, write_otlp
from wideseek_core.tracing.spans import Span, SpanKind, Traced, spans_of

__all__ = [
    "Span",
    "SpanKind",
    "Traced",
    "inspect_log",
    "otlp_trace",
    "spans_of",
    "write_inspect_log",
    "write_otlp",
]
