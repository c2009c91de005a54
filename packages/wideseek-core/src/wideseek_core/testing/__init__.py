"""Stand-ins for servers that tests can't have: vLLM and SGLang without a GPU, on loopback."""

from wideseek_core.testing.fake_engine import FakeEngine, draw
from wideseek_core.testing.fake_sglang import FakeSglang
from wideseek_core.testing.fake_vllm import FakeVllm
from wideseek_core.testing.http_server import HttpServer, Request, Response

__all__ = [
    "FakeEngine",
    "FakeSglang",
    "FakeVllm",
    "HttpServer",
    "Request",
    "Response",
    "draw",
]
