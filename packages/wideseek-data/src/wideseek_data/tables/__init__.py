"""Typed tables, and how cells and keys are read."""
