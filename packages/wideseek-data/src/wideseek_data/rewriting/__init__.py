"""Questions worded by a language model: prompts, checks of replies, and what they may cost."""
