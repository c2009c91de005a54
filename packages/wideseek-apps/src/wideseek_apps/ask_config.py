"""Configuration of the command `ask`; reading it loads no model and no judge."""

import sys
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from wideseek_apps.checks import check_team
from wideseek_apps.policy import LocalPolicy, PolicyConfig
from wideseek_apps.team import TeamsConfig
from wideseek_core import ConfigError, Language
from wideseek_rl import BuiltinEngineConfig

MAX_QUESTION_CHARS = 20_000
MAX_REPEATS = 3
"""`policy.max_repeats` where nothing else is said."""


class AskConfig(TeamsConfig):
    """Asks one question, or opens a prompt for several.

    Without a question, a terminal gets a prompt, where each question knows the earlier ones; what
    comes through a pipe is one question. Values that are on no page that the agents opened are
    marked. Ctrl-C shows what was found so far. The exit status is 1 if a value is in nothing that
    they read or if there is no answer, and 2 if the question could not be asked.
    """

    question: str = Field(default="", max_length=MAX_QUESTION_CHARS)
    """The question; on the command line, all words that are neither a file nor `key=value`.
    Everything behind `--` belongs to it."""
    answer: Literal["table", "text"] = "table"
    """Whether a table or a short text is wanted."""
    form: Literal["table", "markdown", "csv", "json"] = "table"
    """What the answer is written as: a drawn table with marks and sources, or plainly in Markdown
    or CSV, or everything that is known of it in JSON. `--markdown`, `--csv` and `--json` are short
    for it."""
    sources: Literal["pages", "rows", "cells"] = "rows"
    """What is shown of where a drawn table is from: the pages alone, or also page, subagent and
    passage of each row or of each cell."""
    history: int = Field(default=3, ge=0)
    """Number of earlier questions and answers of a session that a question knows of; fewer where
    they do not fit the model's window."""
    language: Language | None = None
    """Language of the prompts, such as `en` or `zh`; null for that of the question."""
    quiet: bool = False
    """Shows no progress."""
    # One question keeps one core busy: more processes would only take their time to start.
    policy: PolicyConfig = LocalPolicy(
        temperature=0.0,
        engine=BuiltinEngineConfig(dtype="auto", processes=0),
        max_repeats=MAX_REPEATS,
    )

    @model_validator(mode="before")
    @classmethod
    def _has_broken_calls_written_again(cls, values: Any) -> Any:
        """Whatever rule a model was trained under: no broken call is shown as an answer."""
        if not isinstance(values, dict):
            return values
        raw = cast(dict[str, Any], values)
        team = raw.get("team")
        if team is not None and not isinstance(team, dict):
            return raw
        return raw | {"team": {"calls": "report"} | cast(dict[str, Any], team or {})}

    @model_validator(mode="before")
    @classmethod
    def _has_no_endless_lists(cls, values: Any) -> Any:
        """Small models repeat the end of a list until their turn is over, and lose it."""
        if not isinstance(values, dict):
            return values
        raw = dict(cast(dict[str, Any], values))
        for key in ("policy", "subagent_policy"):
            policy = raw.get(key)
            if isinstance(policy, dict):
                given = cast(dict[str, Any], policy)
                if given.get("kind", "local") != "endpoint":
                    raw[key] = {"max_repeats": MAX_REPEATS} | given
        return raw


def check_ask(config: AskConfig) -> None:
    """Raises `ConfigError` for what can be seen to be wrong before any work."""
    check_team(config)


def checked_question(text: str) -> str:
    """A question that was read. Raises `ConfigError` for none and for one that is too long."""
    question = text.strip()
    if not question:
        raise ConfigError('no question; for example: wideseek ask "List the ..."')
    if len(question) > MAX_QUESTION_CHARS:
        raise ConfigError(f"a question of {len(question)} characters: {MAX_QUESTION_CHARS} at most")
    return question


def is_interactive() -> bool:
    """Whether there is somebody to ask for a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def piped_question() -> str:
    """The question that comes through a pipe. Raises `ConfigError` for none."""
    try:
        text = "" if sys.stdin is None else sys.stdin.read()
        text.encode()  # bytes that are no text may have been read as surrogates
    except UnicodeError:
        raise ConfigError("the question on stdin is not text") from None
    return checked_question(text)
