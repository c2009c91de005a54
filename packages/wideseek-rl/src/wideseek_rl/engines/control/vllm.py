"""Control of a vLLM server (0.23 to 0.32) that was started with `VLLM_SERVER_DEV_MODE=1`."""

from wideseek_core import TrainError
from wideseek_rl.engines.control.client import ControlClient
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.protocol import Checksums, Part, ServerFacts, parsed_version

_TAGS: dict[Part, str] = {"weights": "weights", "cache": "kv_cache"}


class VllmControl:
    """One vLLM server; a `ServerControl`."""

    def __init__(self, url: str, config: ControlConfig | None = None) -> None:
        self.client = ControlClient(url, config or ControlConfig())
        self._transfer_s = self.client.config.transfer_timeout_s
        self._facts: ServerFacts | None = None

    async def inspect(self) -> ServerFacts:
        """Asks what the server can do."""
        if self._facts is None:
            version = parsed_version((await self.client.get("/version")).get("version"))
            if await self.client.find("/is_paused") is None:
                raise TrainError(
                    f"{self.client.url} has no control routes: start it with VLLM_SERVER_DEV_MODE=1"
                )
            labels = await self.client.find("/weight_info") is not None
            self._facts = ServerFacts(version=version, spans=labels)
        return self._facts

    async def pause(self, *, keep: bool) -> None:
        """Stops sampling; requests are held, or given up with what they have."""
        await self.client.post("/pause", mode="keep" if keep else "abort")

    async def resume(self) -> None:
        """Samples again."""
        await self.client.post("/resume")

    async def set_version(self, version: int) -> None:
        """Labels the weights; servers before 0.29 keep no label."""
        if (await self.inspect()).spans:
            await self.client.post("/update_weight_version", {"new_version": str(version)})

    async def reset_cache(self) -> None:
        """Empties the prefix cache; held requests compute theirs again."""
        answer = await self.client.post("/reset_prefix_cache", reset_running_requests="true")
        if "success" not in answer:
            raise TrainError(
                f"{self.client.url} does not say whether its prefix cache was reset: this version "
                "of vLLM needs a cache key per weight version"
            )

    async def checksums(self) -> Checksums:
        """Checksums of all tensors, by our worker extension, else by the server's own checker."""
        if (own := await self._extension_checksums()) is not None:
            return own
        answer = await self.client.find(
            "/weight_checker", {"action": "checksum"}, timeout_s=self._transfer_s
        )
        found = answer.get("checksums") if answer is not None else None
        if isinstance(found, dict):
            by_name = {name: str(value) for name, value in found.items()}
            return Checksums(algorithm="sha256", by_name=by_name)
        raise TrainError(
            f"{self.client.url} can't compute checksums: start it through this package, or use "
            "vLLM 0.29 or later"
        )

    async def release(self, *parts: Part) -> None:
        """Gives GPU memory back: of the cache alone with the weights kept in main memory."""
        await self.client.post("/sleep", level="2" if "weights" in parts else "1")

    async def restore(self, *parts: Part) -> None:
        """Takes GPU memory again; what a sleep of level 1 kept comes with the last part."""
        tags = "&tags=".join(_TAGS[part] for part in parts)
        await self.client.post(f"/wake_up?tags={tags}")

    async def _extension_checksums(self) -> Checksums | None:
        """None from a server whose workers do not have our extension."""
        body = {"method": "wideseek_checksums", "args": ["[]"]}
        try:
            answer = await self.client.post("/collective_rpc", body, timeout_s=self._transfer_s)
        except TrainError:
            return None
        results = answer.get("results")
        ranks = (
            [rank for rank in results if isinstance(rank, dict)]
            if isinstance(results, list)
            else []
        )
        if not ranks:
            return None
        by_name = {name: str(value) for name, value in ranks[0].items()}
        return Checksums(algorithm="wideseek", by_name=by_name, ranks=len(ranks))
