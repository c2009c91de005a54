"""A client for OpenAI-compatible chat endpoints: limits, pace, retries, errors."""

import asyncio
import random
import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import httpx

from wideseek_core import JudgeError, Message
from wideseek_core.config import secret
from wideseek_core.errors import NoVerdict
from wideseek_judge.config import EndpointConfig

_HOPELESS = {
    401: "the key was refused",
    403: "access was refused",
    404: "no such address or model",
    405: "no chat endpoint there",
}
_LOCAL = re.compile(r"https?://(?:localhost|127\.|\[::1\])")
_MAX_WAIT_S = 60.0


class Chat(Protocol):
    """Any language model that answers messages with text: an endpoint, or a rollout engine."""

    async def __call__(self, messages: Sequence[Message]) -> str:
        """The reply, sampled greedily. Raises `NoVerdict` or `JudgeError`."""
        ...


class ChatClient:
    """Asks one endpoint. Use as an async context manager.

    A fault that can pass (timeouts, 429, 5xx, lost connections) is retried and ends as
    `NoVerdict`; a refused key, an unknown model or a server that never answered is a `JudgeError`.
    """

    def __init__(
        self, config: EndpointConfig, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        key = secret(config.api_key_env)
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = httpx.AsyncClient(
            base_url=f"{config.base_url.rstrip('/')}/",
            headers=headers,
            timeout=config.timeout_s,
            limits=httpx.Limits(max_connections=config.max_concurrent),
            transport=transport,
            trust_env=not _LOCAL.match(config.base_url),  # a proxy can't reach this machine
        )
        self._slots = asyncio.Semaphore(config.max_concurrent)
        self._next_start = 0.0
        self._reached = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def __call__(self, messages: Sequence[Message]) -> str:
        """The model's reply at temperature 0, what it thought left out."""
        body = {
            "model": self._config.model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "temperature": 0,
            "max_tokens": self._config.max_tokens,
        }
        async with self._slots:
            fault = ""
            for attempt in range(self._config.max_attempts):
                await self._pace()
                try:
                    response = await self._http.post("chat/completions", json=body)
                except (httpx.TransportError, httpx.InvalidURL) as error:
                    fault = f"{type(error).__name__}: {error}".rstrip(": ")
                    wait = None
                else:
                    self._reached = True
                    reply = self._read(response)
                    if reply is not None:
                        return reply
                    fault = _describe(response)
                    wait = response.headers.get("retry-after")
                if attempt + 1 < self._config.max_attempts:
                    await asyncio.sleep(self._wait_s(attempt, wait))
        kind = NoVerdict if self._reached else JudgeError
        raise kind(f"{self._config.base_url}: {fault} (after {self._config.max_attempts} attempts)")

    def _read(self, response: httpx.Response) -> str | None:
        """The reply in a response; None if asking again may help."""
        status = response.status_code
        where = f"{self._config.base_url}, model {self._config.model!r}"
        if status in _HOPELESS:
            raise JudgeError(f"{where}: {_HOPELESS[status]} ({_describe(response)})")
        if status in (408, 409, 425, 429) or status >= 500:
            return None
        if status != 200:
            raise NoVerdict(f"{where}: {_describe(response)}")
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return None
        return str(content or "").rpartition("</think>")[2].strip()

    async def _pace(self) -> None:
        """Waits for the next free start when requests per minute are limited."""
        if self._config.requests_per_minute is None:
            return
        now = time.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + 60.0 / self._config.requests_per_minute
        await asyncio.sleep(start - now)

    def _wait_s(self, attempt: int, asked: str | None) -> float:
        """Seconds until the next try: what the server asks for, else doubling with jitter."""
        if asked is not None and asked.strip().isdecimal():
            return min(float(asked), _MAX_WAIT_S)
        doubled = self._config.backoff_s * 2**attempt
        return min(doubled, _MAX_WAIT_S) * random.uniform(0.8, 1.2)


def _describe(response: httpx.Response) -> str:
    """Status and the beginning of the body, in one line."""
    text = " ".join(response.text[:300].split())
    return f"HTTP {response.status_code}: {text}" if text else f"HTTP {response.status_code}"
