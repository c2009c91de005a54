"""Scores for wide tables and short answers: deterministic, LLM-judged, explained cell by cell."""

from wideseek_judge.config import JudgeConfig, JudgeEndpointConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.judge import TableJudge, open_judge
from wideseek_judge.llm.chat import Chat, PolicyChat, StructuredChat
from wideseek_judge.llm.client import ChatClient
from wideseek_judge.rules.columns import choose_table, column_name
from wideseek_judge.rules.reference import check_gold
from wideseek_judge.rules.short_answers import find_answer

__all__ = [
    "Chat",
    "ChatClient",
    "JudgeConfig",
    "JudgeCounts",
    "JudgeEndpointConfig",
    "PolicyChat",
    "StructuredChat",
    "TableJudge",
    "check_gold",
    "choose_table",
    "column_name",
    "find_answer",
    "open_judge",
]
