"""A prompt set in German: `team.prompts=german`."""

from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"
"""Holds a folder for each language, named by its tag."""
