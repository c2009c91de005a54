"""What judging has cost and met so far."""

from dataclasses import dataclass


@dataclass(slots=True)
class JudgeCounts:
    """What judging has cost and met so far."""

    calls: int = 0
    """Requests to the model."""
    certain: int = 0
    """Cells, keys and answers settled without it."""
    cached: int = 0
    """Those it had settled before."""
    asked: int = 0
    """Those put to it."""
    parse_failures: int = 0
    """Replies that could not be read, or left something out."""
    unscored: int = 0
    """Answers left without a score."""
