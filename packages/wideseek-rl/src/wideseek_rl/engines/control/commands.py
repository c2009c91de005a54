"""The command lines of vLLM and SGLang servers."""

import json
import sys

from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement

WORKER_EXTENSION = "wideseek_rl.engines.control.vllm_worker.ChecksumExtension"
FLOAT32_HEAD_EXTENSION = "wideseek_rl.engines.control.vllm_float32_head.Float32HeadExtension"
"""The same with logits in float32, for versions that can't compute them so by themselves."""
ARRAY_ROUTE = "wideseek_rl.engines.control.vllm_route.ArrayRoute"
OUTPUTS_AT_END = "wideseek_rl.engines.control.vllm_scheduler.scheduler"
_LABELS_SINCE = (0, 29)
_SCALE_OUT_SINCE = (0, 30)
_FLOAT32_HEAD_SINCE = (0, 32)


def vllm_command(
    config: LaunchConfig, placement: ServerPlacement, version: tuple[int, ...]
) -> tuple[str, ...]:
    """The command of a vLLM server of a version."""
    options = [
        *("serve", str(placement.model)),
        *("--served-model-name", placement.name),
        *("--host", config.host, "--port", str(placement.port)),
        *("--seed", str(placement.seed)),
        *("--dtype", config.dtype),
        *("--tensor-parallel-size", str(config.tensor_parallel)),
        *("--pipeline-parallel-size", str(config.pipeline_parallel)),
        *("--gpu-memory-utilization", str(config.memory_share)),
        *("--max-num-seqs", str(config.max_running)),
        "--enable-prefix-caching",
        *("--logprobs-mode", "processed_logprobs"),
        *("--generation-config", "vllm"),
        *("--weight-transfer-config", json.dumps({"backend": placement.transfer})),
        "--disable-uvicorn-access-log",
    ]
    if not config.program:  # another program may not have this package beside its vLLM
        old = () < version < _FLOAT32_HEAD_SINCE
        extension = FLOAT32_HEAD_EXTENSION if config.float32_head and old else WORKER_EXTENSION
        options += ["--worker-extension-cls", extension, "--middleware", ARRAY_ROUTE]
        if config.outputs_at_end and () < version < _LABELS_SINCE:
            options += ["--scheduler-cls", OUTPUTS_AT_END]
    if config.context_tokens is not None:
        options += ["--max-model-len", str(config.context_tokens)]
    if not config.cuda_graphs:
        options.append("--enforce-eager")
    if config.sleep:
        options.append("--enable-sleep-mode")
    if config.float32_head and version >= _FLOAT32_HEAD_SINCE:
        options += ["--hf-overrides", json.dumps({"head_dtype": "float32"})]
    if config.api_processes > 1:
        options += ["--api-server-count", str(config.api_processes)]
    if version >= _SCALE_OUT_SINCE:
        options.append("--enable-scale-out")
    program = config.program or (_python(config), "-m", "vllm.entrypoints.cli.main")
    environment = {
        "VLLM_SERVER_DEV_MODE": "1",  # control routes
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # IPC handles come as pickles
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    return _command(environment, config, placement, (*program, *options))


def sglang_command(config: LaunchConfig, placement: ServerPlacement) -> tuple[str, ...]:
    """The command of an SGLang server."""
    options = [
        *("--model-path", str(placement.model)),
        *("--served-model-name", placement.name),
        *("--host", config.host, "--port", str(placement.port)),
        *("--random-seed", str(placement.seed)),
        *("--dtype", config.dtype),
        *("--tp-size", str(config.tensor_parallel)),
        *("--pp-size", str(config.pipeline_parallel)),
        *("--mem-fraction-static", str(config.memory_share)),
        *("--max-running-requests", str(config.max_running)),
        *("--weight-version", "0"),
    ]
    if config.context_tokens is not None:
        options += ["--context-length", str(config.context_tokens)]
    if not config.cuda_graphs:
        options.append("--disable-cuda-graph")
    if config.sleep:
        options.append("--enable-memory-saver")
    if config.float32_head:
        options.append("--enable-fp32-lm-head")
    if config.deterministic:
        options.append("--enable-deterministic-inference")
    program = config.program or (_python(config), "-m", "sglang.launch_server")
    # Else `/health` generates a token, which a paused server can't.
    environment = {"SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false"}
    return _command(environment, config, placement, (*program, *options))


def _python(config: LaunchConfig) -> str:
    return str(config.python or sys.executable)


def _command(
    environment: dict[str, str],
    config: LaunchConfig,
    placement: ServerPlacement,
    command: tuple[str, ...],
) -> tuple[str, ...]:
    """The command with its environment, as one that a shell would run the same way."""
    variables = {**environment, **config.environment}
    if placement.devices is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, placement.devices))
    assignments = [f"{name}={value}" for name, value in variables.items()]
    return ("env", *assignments, *command, *config.extra_args)
