"""Scores for wide tables and short answers: deterministic, LLM-judged, explained cell by cell."""

from wideseek_judge.answers import find_answer
from wideseek_judge.chat import Chat, ChatClient
from wideseek_judge.config import EndpointConfig, JudgeConfig
from wideseek_judge.desk import JudgeCounts
from wideseek_judge.judge import TableJudge, open_judge
from wideseek_judge.matching import check_gold
from wideseek_judge.tables import (
    Table,
    choose_table,
    column_name,
    find_tables,
    parse_csv,
    parse_table,
)

__all__ = [
    "Chat",
    "ChatClient",
    "EndpointConfig",
    "JudgeConfig",
    "JudgeCounts",
    "Table",
    "TableJudge",
    "check_gold",
    "choose_table",
    "column_name",
    "find_answer",
    "find_tables",
    "open_judge",
    "parse_csv",
    "parse_table",
]
