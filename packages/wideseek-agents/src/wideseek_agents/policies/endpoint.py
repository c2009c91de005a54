"""One OpenAI-compatible endpoint: a request in, a checked answer out, faults that pass retried."""

import asyncio
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from wideseek_core import Config, ConfigError, ContextOverflow, PolicyError, PolicyUnavailable
from wideseek_core.config import secret
from wideseek_core.text import one_line

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOO_LONG = ("context_length_exceeded", "context length", "context window", "too many tokens")
_MAX_PAUSE_S = 60.0
_MAX_EXCERPT_CHARS = 300
_OBJECT = TypeAdapter(dict[str, JsonValue])


class ChatPolicyConfig(Config):
    """An OpenAI-compatible chat endpoint."""

    model: str
    """Its name at the endpoint."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Up to and without `/chat/completions`."""
    api_key_env: str = ""
    """The environment variable that holds the key; empty for servers without one."""
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one turn; the server's own limit if null."""
    context_tokens: int = Field(default=32_000, ge=1)
    """Tokens of a whole conversation, by the server's own count."""
    native_tools: bool = False
    """Send the tools as the API's `tools` field instead of in the system prompt."""
    max_concurrent: int = Field(default=16, ge=1)
    """Requests in flight at once."""
    max_attempts: int = Field(default=7, ge=1)
    """Maximum number of attempts, for faults that can pass: timeouts, 429, 5xx."""
    backoff_s: float = Field(default=1.0, ge=0)
    """First pause between attempts; it doubles. The server's `Retry-After` comes first."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Timeout of one attempt."""
    deadline_s: float = Field(default=1800.0, gt=0)
    """Timeout of one turn with all its attempts."""
    extra: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Further fields of the request, e.g. `chat_template_kwargs`."""


def is_local(url: str) -> bool:
    """Whether an address is of this machine."""
    return re.match(r"https?://(?:localhost|127\.|\[::1\])", url) is not None


class Endpoint:
    """Posts chat requests within the limits of its config. Close it after use."""

    def __init__(
        self, config: ChatPolicyConfig, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises `ConfigError` if the key's variable is named but not set."""
        headers: dict[str, str] = {}
        if config.api_key_env:
            key = secret(config.api_key_env)
            if key is None:
                raise ConfigError(f"api_key_env: the variable {config.api_key_env} is not set")
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._config = config
        self._slots = asyncio.Semaphore(config.max_concurrent)
        self._url = f"{config.base_url.rstrip('/')}/chat/completions"
        if not self._url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url: expected an http(s) address (got {config.base_url!r})")
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(config.timeout_s, connect=30.0),
            limits=httpx.Limits(max_connections=config.max_concurrent),
            transport=transport,
            trust_env=not is_local(config.base_url),  # a proxy can't reach this machine
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def post(self, body: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The endpoint's answer. Raises `ContextOverflow` and `PolicyUnavailable`."""
        try:
            async with asyncio.timeout(self._config.deadline_s):
                return await self._post_patiently(body)
        except TimeoutError:
            raise self._unavailable(f"no answer within {self._config.deadline_s:g} s") from None

    async def _post_patiently(self, body: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        for attempt in range(self._config.max_attempts):
            problem, asked_pause = "", None
            try:
                async with self._slots:
                    response = await self._client.post(self._url, json=body)
            except httpx.RequestError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.is_success:
                    try:
                        return _OBJECT.validate_json(response.content)
                    except ValidationError:
                        problem = f"the answer is no JSON object: {_excerpt(response)}"
                else:
                    problem = f"HTTP {response.status_code}: {_excerpt(response)}"
                    if response.status_code not in _PASSING:
                        raise self._refusal(response, problem)
                    asked_pause = _retry_after(response)
            if attempt + 1 == self._config.max_attempts:
                raise self._unavailable(f"{problem} (tried {attempt + 1} times)")
            await self._pause(attempt, asked_pause, problem)
        raise AssertionError("the last attempt returns or raises")

    async def _pause(self, attempt: int, asked: float | None, problem: str) -> None:
        if asked is not None and asked > self._config.deadline_s:
            raise self._unavailable(f"{problem} (asks to wait {asked:g} s)")
        own = min(_MAX_PAUSE_S, self._config.backoff_s * 2**attempt) * random.uniform(0.5, 1)
        await asyncio.sleep(own if asked is None else asked)

    def _refusal(self, response: httpx.Response, problem: str) -> PolicyError:
        too_long = response.status_code in (400, 413, 422) and any(
            sign in response.text.lower() for sign in _TOO_LONG
        )
        if too_long:
            return ContextOverflow(problem)
        if response.status_code in (401, 403) and self._config.api_key_env:
            problem += f" (the key is read from {self._config.api_key_env})"
        return self._unavailable(problem)

    def _unavailable(self, problem: str) -> PolicyUnavailable:
        return PolicyUnavailable(f"{self._url} ({self._config.model}): {problem}")


def _excerpt(response: httpx.Response) -> str:
    return one_line(response.text[:_MAX_EXCERPT_CHARS]) or response.reason_phrase


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return None
