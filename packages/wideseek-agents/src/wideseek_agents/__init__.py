"""A lead agent, parallel subagents and a single agent in one loop over any policy."""
