"""The trace viewer: all rollouts of a run as one self-contained HTML page."""
