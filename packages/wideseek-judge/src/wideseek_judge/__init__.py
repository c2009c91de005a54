"""Scores for wide tables and short answers: deterministic, LLM-judged, explained cell by cell."""

from wideseek_judge.config import EndpointConfig, JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.judge import TableJudge, open_judge
from wideseek_judge.llm.client import Chat, ChatClient
from wideseek_judge.rules.columns import choose_table, column_name
from wideseek_judge.rules.matching import check_gold
from wideseek_judge.rules.short_answers import find_answer

__all__ = [
    "Chat",
    "ChatClient",
    "EndpointConfig",
    "JudgeConfig",
    "JudgeCounts",
    "TableJudge",
    "check_gold",
    "choose_table",
    "column_name",
    "find_answer",
    "open_judge",
]
