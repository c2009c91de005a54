"""Prompt sets: the instructions of agents, in each language of the set. A set is a folder."""

from wideseek_agents.prompts.messages import Messages
from wideseek_agents.prompts.sets import (
    BUILT_IN,
    LocalizedPrompts,
    PromptSet,
    copy_set,
    lasting_name,
)

__all__ = ["BUILT_IN", "LocalizedPrompts", "Messages", "PromptSet", "copy_set", "lasting_name"]
