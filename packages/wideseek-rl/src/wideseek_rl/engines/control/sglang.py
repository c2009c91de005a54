"""Control of an SGLang server (0.5.17 to 0.5.21)."""

from wideseek_core import TrainError
from wideseek_rl.engines.control.client import ControlClient
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.protocol import Checksums, Part, ServerFacts, parsed_version

_TAGS: dict[Part, str] = {"weights": "weights", "cache": "kv_cache"}
_SPANS_SINCE = (0, 5, 21)


class SglangControl:
    """One SGLang server; a `ServerControl`."""

    def __init__(self, url: str, config: ControlConfig | None = None) -> None:
        self.client = ControlClient(url, config or ControlConfig())
        self._facts: ServerFacts | None = None

    async def inspect(self) -> ServerFacts:
        """Asks what the server can do."""
        if self._facts is None:
            version = parsed_version((await self.client.get("/server_info")).get("version"))
            self._facts = ServerFacts(version=version, spans=version >= _SPANS_SINCE)
        return self._facts

    async def pause(self, *, keep: bool) -> None:
        """Stops sampling; requests are held with their cache, or given up with what they have."""
        await self.client.post("/pause_generation", {"mode": "in_place" if keep else "abort"})

    async def resume(self) -> None:
        """Samples again."""
        await self.client.post("/continue_generation", {})

    async def set_version(self, version: int) -> None:
        """Labels the weights. An update does so too, which is the better way: this is for none."""
        body = {"new_version": str(version), "abort_all_requests": False}
        await self.client.post("/update_weight_version", body)

    async def reset_cache(self) -> None:
        """Empties the prefix cache, which fails while any request is held."""
        await self.client.post("/flush_cache")

    async def checksums(self) -> Checksums:
        """The server's checksums of all its tensors."""
        answer = await self.client.post(
            "/weights_checker",
            {"action": "checksum"},
            timeout_s=self.client.config.transfer_timeout_s,
        )
        ranks = answer.get("ranks")
        first = ranks[0] if isinstance(ranks, list) and ranks else None
        found = first.get("checksums") if isinstance(first, dict) else None
        if not isinstance(ranks, list) or not isinstance(found, dict):
            raise TrainError(f"{self.client.url} returned no checksums")
        by_name = {name: str(value) for name, value in found.items()}
        return Checksums(algorithm="sglang", by_name=by_name, ranks=len(ranks))

    async def release(self, *parts: Part) -> None:
        """Gives GPU memory back. There is no copy of the weights elsewhere."""
        await self.client.post("/release_memory_occupation", {"tags": [_TAGS[p] for p in parts]})

    async def restore(self, *parts: Part) -> None:
        """Takes GPU memory again."""
        await self.client.post("/resume_memory_occupation", {"tags": [_TAGS[p] for p in parts]})
