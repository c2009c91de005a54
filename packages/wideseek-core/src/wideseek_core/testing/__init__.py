"""What tests of all packages share: ways to wait, and stand-ins for servers that they can't have.

vLLM and SGLang without a GPU, on loopback.
"""

from wideseek_core.testing.fake_engine import FakeEngine, draw
from wideseek_core.testing.fake_sglang import FakeSglang
from wideseek_core.testing.fake_vllm import FakeVllm
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_core.testing.waiting import (
    in_movable_time,
    in_simulated_time,
    let_pass,
    until,
    wait_until,
)

__all__ = [
    "FakeEngine",
    "FakeSglang",
    "FakeVllm",
    "HttpServer",
    "Request",
    "Response",
    "draw",
    "in_movable_time",
    "in_simulated_time",
    "let_pass",
    "until",
    "wait_until",
]
