"""Scores for wide tables and short answers: deterministic, LLM-judged, explained cell by cell."""
