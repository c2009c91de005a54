"""A chat server that is played by a function, on a transport in place of the network."""

import json
from typing import Any

import httpx2

from wideseek_agents import ChatPolicy, ChatPolicyConfig
from wideseek_core import Message, ToolSpec

HELLO = Message(role="user", content="Hi")
SEARCH = ToolSpec(name="search", description="Searches.", parameters={"type": "object"})


def completion(message: dict[str, Any], finish: str = "stop", total: int = 12) -> httpx2.Response:
    usage = {"prompt_tokens": total - 2, "completion_tokens": 2}
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish}
    return httpx2.Response(200, json={"id": "x", "choices": [choice], "usage": usage})


class Server:
    """Gives the answers in turn and keeps the requests; the last answer repeats."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self._answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[httpx2.Request] = []

    def policy(self, **config: Any) -> ChatPolicy:
        settings: dict[str, Any] = {
            "model": "m",
            "base_url": "http://test/v1",
            "backoff_s": 0.0,
            **config,
        }
        return ChatPolicy(ChatPolicyConfig(**settings), transport=httpx2.MockTransport(self._serve))

    def _serve(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.bodies.append(json.loads(request.content))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer
