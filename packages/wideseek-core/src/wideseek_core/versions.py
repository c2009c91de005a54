"""Which weights sampled which token: spans of versions over a response."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpan:
    """Output tokens `[start, end)` that weights of one version sampled.

    Example: `VersionSpan(version=3, start=0, end=120)`
    """

    version: int
    """Number of updates the weights had seen."""
    start: int
    end: int


VersionSpans = tuple[VersionSpan, ...]
"""Contiguous spans that cover a response from its first token to its last."""


def one_version(version: int, length: int) -> VersionSpans:
    """The spans of a response of `length` tokens that one version sampled."""
    return (VersionSpan(version=version, start=0, end=length),) if length else ()


def join_spans(parts: Iterable[VersionSpans]) -> VersionSpans:
    """The spans of a response that was sampled in several parts, in order."""
    joined: list[VersionSpan] = []
    for part in parts:
        offset = joined[-1].end if joined else 0
        for span in part:
            start = offset + span.start
            if joined and joined[-1].version == span.version:
                start = joined.pop().start
            joined.append(VersionSpan(version=span.version, start=start, end=offset + span.end))
    return tuple(joined)


def first_tokens(spans: Sequence[VersionSpan], length: int) -> VersionSpans:
    """The spans of the first `length` tokens of a response."""
    return tuple(
        VersionSpan(version=span.version, start=span.start, end=min(span.end, length))
        for span in spans
        if span.start < length
    )


def cover(spans: Sequence[VersionSpan], length: int) -> bool:
    """Whether spans are contiguous, without empty ones, and cover `length` tokens."""
    ends = [0, *(span.end for span in spans)]
    contiguous = all(
        span.start == end and span.end > span.start
        for span, end in zip(spans, ends[:-1], strict=True)
    )
    return contiguous and ends[-1] == length


def oldest(spans: Sequence[VersionSpan]) -> int:
    """The smallest version of a response; 0 for one without tokens."""
    return min((span.version for span in spans), default=0)


def token_versions(spans: Sequence[VersionSpan]) -> tuple[int, ...]:
    """The version of every token."""
    return tuple(span.version for span in spans for _ in range(span.start, span.end))
