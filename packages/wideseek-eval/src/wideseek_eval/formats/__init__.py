"""Readers of task files, one module per format."""
