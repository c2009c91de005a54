"""Control requests to one server: bounded, sent once, and with the server named in every error."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from wideseek_core import DataError, ServiceError, TrainError
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.json_text import parse_json
from wideseek_rl.engines.control.config import ControlConfig


class ControlClient:
    """Sends control requests.

    Each has a connection of its own: servers close idle ones, and a control request is never sent
    twice, since half of what it asks for may have been done.
    """

    def __init__(self, url: str, config: ControlConfig) -> None:
        self.url = url.rstrip("/")
        self.config = config

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        **query: str,
    ) -> dict[str, JsonValue]:
        """The answer to a request; empty for one without a body. Raises `TrainError`."""
        return _known(await self._send("POST", path, body, timeout_s, query), self.url, path)

    async def get(self, path: str, **query: str) -> dict[str, JsonValue]:
        """The answer to a question. Raises `TrainError`."""
        return _known(await self._send("GET", path, None, None, query), self.url, path)

    async def find(
        self, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> dict[str, JsonValue] | None:
        """The answer; None from a server without such a route. Posts if there is a body."""
        return await self._send("GET" if body is None else "POST", path, body, timeout_s, {})

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        timeout_s: float | None,
        query: Mapping[str, str],
    ) -> dict[str, JsonValue] | None:
        limit = timeout_s or self.config.call_timeout_s
        endpoint = EndpointConfig(
            base_url=self.url,
            api_key_env=self.config.api_key_env,
            max_attempts=1,
            timeout_s=limit,
            deadline_s=limit,
        )
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else None
        try:
            async with HttpClient(self.url, endpoint) as client:
                response = await client.request(
                    method, path, params=query, headers=headers, content=content, idempotent=False
                )
        except ServiceError as error:
            if error.status == 404:
                return None
            raise TrainError(f"{error} ({method} {path})") from None
        return self._parsed(method, path, response.content)

    def _parsed(self, method: str, path: str, content: bytes) -> dict[str, JsonValue]:
        """A JSON object; empty for an answer that is none, such as a plain text."""
        try:
            answer: JsonValue = parse_json(content) if content else {}
        except DataError:
            return {}
        if isinstance(answer, dict) and answer.get("success", True) is False:
            message = answer.get("message") or "the server reports a failure"
            raise TrainError(f"{self.url}: {message} ({method} {path})")
        return answer if isinstance(answer, dict) else {}


def _known(answer: dict[str, JsonValue] | None, url: str, path: str) -> dict[str, JsonValue]:
    if answer is None:
        raise TrainError(
            f"{url} has no route {path}: it is of another version or was started without it"
        )
    return answer
