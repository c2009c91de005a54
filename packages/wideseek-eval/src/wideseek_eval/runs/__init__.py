"""Evaluation runs: rollouts, their results, and the folder they are kept in."""
