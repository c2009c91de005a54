"""Which prompts a step takes, their rollouts, and the scored results. Plain Python."""
