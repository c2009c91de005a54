"""The sub-commands of `wideseek`, one a module."""
