"""Prompt sets: what agents are told, in every language of the set. A set is a folder of texts."""

from wideseek_agents.prompts.messages import Messages
from wideseek_agents.prompts.sets import BUILT_IN, LocalizedPrompts, PromptSet

__all__ = ["BUILT_IN", "LocalizedPrompts", "Messages", "PromptSet"]
