"""Embeddings from an endpoint with OpenAI's `/embeddings`."""

import asyncio
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from wideseek_core.config import secret
from wideseek_core.errors import ToolUnavailable
from wideseek_tools.config import Limits
from wideseek_tools.encoders.config import HttpEncoderConfig
from wideseek_tools.encoders.encoder import Vector
from wideseek_tools.http import HttpService, objects

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
        key = secret(self._config.key_variable)
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        limits = Limits(timeout_s=self._config.timeout_s, max_bytes=100_000_000)
        found: list[Vector] = []
        async with HttpService("embeddings", self._config.url, limits, headers) as http:
            for start in range(0, len(texts), BATCH):
                batch = texts[start : start + BATCH]
                body: dict[str, JsonValue] = {
                    "model": self._config.model,
                    "input": [*batch],
                    "encoding_format": "float",
                }
                answer = await http.post("/embeddings", body)
                found += [self._vector(one.get("embedding")) for one in objects(answer, "data")]
        if len(found) != len(texts):
            raise ToolUnavailable(f"embeddings: {len(found)} vectors for {len(texts)} texts")
        return found

    def _vector(self, value: object) -> Vector:
        if not isinstance(value, list) or len(cast(list[object], value)) != self.size:
            raise ToolUnavailable(f"embeddings: expected vectors of {self.size} numbers")
        return [float(number) for number in cast(list[float], value)]
