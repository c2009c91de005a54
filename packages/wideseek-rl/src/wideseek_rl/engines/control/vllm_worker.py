"""What vLLM's workers get from us: checksums of chosen tensors, for any version of vLLM.

vLLM mixes the class into its own worker (`--worker-extension-cls`) and calls its methods by name.
"""

import json
from typing import Any

from wideseek_rl.sync.digest import digests


class ChecksumExtension:
    """Methods that a worker gains."""

    def wideseek_checksums(self, names: str) -> dict[str, str]:
        """Checksums of the tensors in a JSON list of names, all for an empty one."""
        worker: Any = self
        model = worker.model_runner.get_model()
        wanted = set(json.loads(names))
        return digests(
            (name, parameter.detach())
            for name, parameter in model.named_parameters()
            if not wanted or name in wanted
        )
