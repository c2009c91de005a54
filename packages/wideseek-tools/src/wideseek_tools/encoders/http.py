"""Embeddings from an endpoint with OpenAI's `/embeddings`."""

import asyncio
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from wideseek_core.counting import counted
from wideseek_core.errors import ToolUnavailable
from wideseek_tools.encoders.config import HttpEncoderConfig
from wideseek_tools.encoders.encoder import Vector
from wideseek_tools.service import objects, open_service, results_at

BATCH = 128


class HttpEncoder:
    """Asks for vectors over HTTP, from whichever thread it is called in."""

    def __init__(self, config: HttpEncoderConfig) -> None:
        self._config = config
        self.size = config.size

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[Vector]:
        """One vector per text. Raises `ToolUnavailable`."""
        prefix = self._config.query_prefix if queries else self._config.passage_prefix
        return asyncio.run(self._encode([prefix + text for text in texts]))

    async def _encode(self, texts: list[str]) -> list[Vector]:
        found: list[Vector] = []
        async with open_service("embeddings", self._config, key_required=False) as service:
            for start in range(0, len(texts), BATCH):
                body: dict[str, JsonValue] = {
                    "model": self._config.model,
                    "input": [*texts[start : start + BATCH]],
                    "encoding_format": "float",
                }
                answer = await service.post("/embeddings", body, results_at("data"))
                found += [self._vector(item.get("embedding")) for item in objects(answer, "data")]
        if len(found) != len(texts):
            raise ToolUnavailable(
                f"embeddings: {counted(len(found), 'vector')} for {counted(len(texts), 'text')}"
            )
        return found

    def _vector(self, value: object) -> Vector:
        if not isinstance(value, list) or len(cast(list[object], value)) != self.size:
            raise ToolUnavailable(f"embeddings: expected vectors of {self.size} numbers")
        return [float(number) for number in cast(list[float], value)]
