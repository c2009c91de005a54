"""The commands of `wideseek-eval`, one module each: its settings, and what it does with them."""
