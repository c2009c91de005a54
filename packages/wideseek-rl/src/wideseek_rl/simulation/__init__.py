"""Schedules on simulated rollouts: how long steps take, what is idle, how stale rollouts get."""
