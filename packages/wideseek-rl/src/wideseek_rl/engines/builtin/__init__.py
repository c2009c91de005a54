"""Sampling from a model in memory: continuous batching, and caches that live across turns."""
