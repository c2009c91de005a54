"""Processes on the nodes of a Ray cluster."""

from wideseek_core.config import set_environment_default

# Ray reads it when it is imported. Where a node is lost, it would print dozens of lines of that
# node's log; what is lost with it has a line each anyway.
set_environment_default("RAY_DEDUP_LOGS_SKIP_REGEX", "Raylet is terminated")
