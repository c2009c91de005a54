"""Worlds and tasks: the bundled atlas, its builder, invented worlds and the teacher."""

from wideseek_data.datasets import AtlasData, load_atlas

__all__ = ["AtlasData", "load_atlas"]
