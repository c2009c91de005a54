"""The settings of HTTP services, the same words for every client."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from wideseek_core.config import Config


class RequestLimits(Config):
    """How hard a client may use what it asks, and how patient it is."""

    max_concurrent: int = Field(default=20, ge=1)
    """Requests in flight at once."""
    max_requests_per_s: float | None = Field(default=None, gt=0)
    """Starts per second; null for no limit."""
    max_attempts: int = Field(default=5, ge=1)
    """Attempts of one request, the first included."""
    backoff_s: float = Field(default=1.0, ge=0)
    """First pause between attempts; it doubles. The server's `Retry-After` comes first."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Timeout of one attempt."""
    deadline_s: float = Field(default=300.0, gt=0)
    """Timeout of one request with all its attempts and pauses, from when it starts."""
    queue_timeout_s: float | None = Field(default=None, gt=0)
    """Longest wait for one of the `max_concurrent` slots; null for no limit."""
    max_bytes: int = Field(default=20_000_000, ge=1000)
    """Size limit of an answer, after decompression."""


class EndpointConfig(RequestLimits):
    """Where a service is, which key it takes, and how hard it may be used."""

    base_url: str
    """Address up to and without the path of a request."""
    api_key_env: str = ""
    """Environment variable that holds the key; empty for services without one."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        text = value.strip()
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or any(char in ' "' or not char.isprintable() for char in text):
            raise ValueError("expected an http(s) address")
        return text.rstrip("/")


def _address(value: str) -> str:
    return EndpointConfig(base_url=value).base_url


def _all_different(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{value} is there twice")
    return values


HttpAddress = Annotated[str, AfterValidator(_address)]
"""An http(s) address without a slash at its end."""

HttpAddresses = Annotated[tuple[HttpAddress, ...], AfterValidator(_all_different)]
"""Addresses of different servers."""
