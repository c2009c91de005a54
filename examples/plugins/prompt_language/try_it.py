"""Shows the languages of the set, and its first hint."""

from wideseek_agents import PromptSet

prompts = PromptSet.load("german")
print(prompts.languages, prompts.localized("de").messages.hint(1, 10))
