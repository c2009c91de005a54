"""Configuration of the command `ask`; reading it loads no model and no judge."""

from typing import Literal

from pydantic import Field

from wideseek_apps.checks import check_team
from wideseek_apps.policy import LocalPolicy, PolicyConfig
from wideseek_apps.team import TeamsConfig
from wideseek_core import ConfigError, Language
from wideseek_rl import BuiltinEngineConfig


class AskConfig(TeamsConfig):
    """Asks one question.

    Values that are on no page that the agents opened are marked. The exit status is 1 if a value is
    in nothing that they read or if there is no answer, and 2 if the question could not be asked.
    """

    question: str = Field(default="", max_length=20_000)
    """The question; on the command line, all words that are neither a file nor `key=value`.
    Everything behind `--` belongs to it."""
    answer: Literal["table", "text"] = "table"
    """Whether a table or a short text is wanted."""
    language: Language | None = None
    """Language of the prompts, such as `en` or `zh`; null for that of the question."""
    quiet: bool = False
    """Shows no progress."""
    # One question keeps one core busy: more processes would only take their time to start.
    policy: PolicyConfig = LocalPolicy(
        temperature=0.0, engine=BuiltinEngineConfig(dtype="auto", processes=0)
    )


def check_ask(config: AskConfig) -> None:
    """Raises `ConfigError` for what can be seen to be wrong before any work."""
    if not config.question.strip():
        raise ConfigError('no question; for example: wideseek ask "List the ..."')
    check_team(config)
