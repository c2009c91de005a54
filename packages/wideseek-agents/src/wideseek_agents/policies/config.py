"""The configuration of a chat endpoint."""

from pydantic import Field, JsonValue

from wideseek_core.endpoint import EndpointConfig


class ChatPolicyConfig(EndpointConfig):
    """An OpenAI-compatible chat endpoint."""

    model: str
    """Name of the model at the endpoint."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Address up to and without `/chat/completions`."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of the probability mass that is sampled from."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens of one turn; null for the server's own limit."""
    context_tokens: int = Field(default=32_000, ge=1)
    """Maximum number of tokens of a whole conversation, by the server's count, or by an estimate
    where the server does not count."""
    native_tools: bool = False
    """Whether tools are sent in the API's `tools` field instead of in the system prompt."""
    send_thinking: bool = False
    """Whether the thinking of earlier turns is sent back: only for models whose chat template
    keeps it."""
    send_seed: bool = True
    """Whether requests carry the agent's seed. Off for servers that refuse the field `seed`."""
    max_concurrent: int = Field(default=64, ge=1)
    """Requests in flight at once."""
    max_attempts: int = Field(default=7, ge=1)
    """Attempts of one request, the first included."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Timeout of one attempt."""
    deadline_s: float = Field(default=1800.0, gt=0)
    """Timeout of one turn with all its attempts and pauses, from when its request starts."""
    queue_timeout_s: float | None = Field(default=7200.0, gt=0)
    """Longest wait for one of the `max_concurrent` slots; null for no limit."""
    extra: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Further fields of the request, e.g. `chat_template_kwargs`."""
