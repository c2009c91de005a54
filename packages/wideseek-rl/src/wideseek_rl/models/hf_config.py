"""`config.json` of the Llama, Mistral, Qwen2 and Qwen3 families, read and written."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from wideseek_rl.models.config import DecoderConfig, Family, RopeConfig, RopeKind

ARCHITECTURES: Mapping[str, Family] = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""The architectures that `Decoder` computes."""

Raw = dict[str, Any]

ROPE_KEYS = {
    "theta": "rope_theta",
    "factor": "factor",
    "original_positions": "original_max_position_embeddings",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "attention_factor": "attention_factor",
}
"""Fields of `RopeConfig` and their names in `config.json`."""

ROPE_FIELDS = {
    "default": ("theta",),
    "linear": ("theta", "factor"),
    "llama3": ("theta", "factor", "original_positions", "low_freq_factor", "high_freq_factor"),
    "yarn": ("theta", "factor", "original_positions", "beta_fast", "beta_slow", "attention_factor"),
}
"""What each kind of rotary embedding is described by."""

ROPE_NEEDS = frozenset({"factor", "low_freq_factor", "high_freq_factor"})
"""Those of them that have no default."""


def architecture(raw: Raw) -> str:
    """The model class that a `config.json` names, or what it says of the model's type."""
    named = raw.get("architectures")
    if isinstance(named, list) and named:
        return str(cast(list[object], named)[0])
    return next(
        (name for name, family in ARCHITECTURES.items() if family == raw.get("model_type")),
        str(raw.get("model_type", "unknown")),
    )


def config_from_json(raw: Raw) -> DecoderConfig:
    """A config from the keys of `config.json`.

    Raises `ValueError` for what `Decoder` does not compute, `KeyError` for what is missing.
    """
    reason = unsupported(raw)
    if reason is not None:
        raise ValueError(reason)
    family = ARCHITECTURES[architecture(raw)]
    heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
    layers = int(raw["num_hidden_layers"])
    bias = bool(raw.get("attention_bias", False)) and family in ("llama", "qwen3")
    window, sliding = _window(raw, family, layers)
    return DecoderConfig(
        family=family,
        vocab_size=int(raw["vocab_size"]),
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or (128 if family == "qwen3" else hidden // heads)),
        ffn_size=int(raw["intermediate_size"]),
        qk_norm=family == "qwen3",
        qkv_bias=family == "qwen2" or bias,
        output_bias=bias,
        mlp_bias=family == "llama" and bool(raw.get("mlp_bias", False)),
        sliding_window=window,
        sliding_layers=sliding,
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        rope=_rope(raw),
        norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        max_positions=int(raw.get("max_position_embeddings", 32_768)),
        eos_ids=token_ids(raw.get("eos_token_id")),
        pad_id=raw.get("pad_token_id"),
        bos_id=raw.get("bos_token_id"),
    )


def config_to_json(config: DecoderConfig, dtype: str) -> Raw:
    """The keys of `config.json`, with older and newer spellings where they differ."""
    eos: int | list[int] | None = list(config.eos_ids) or None
    if len(config.eos_ids) == 1:
        eos = config.eos_ids[0]
    rope = _rope_to_json(config.rope)
    name = next(name for name, family in ARCHITECTURES.items() if family == config.family)
    return {
        "architectures": [name],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_size,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "tie_word_embeddings": config.tied_embeddings,
        "rope_theta": config.rope.theta,
        "rope_scaling": None if config.rope.kind == "default" else rope,
        "rope_parameters": rope,
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "eos_token_id": eos,
        "pad_token_id": config.pad_id,
        "bos_token_id": config.bos_id,
        "dtype": dtype,
        "torch_dtype": dtype,
        **_EXTRA[config.family](config),
    }


def token_ids(value: object) -> tuple[int, ...]:
    """The ids of a key that holds one, several or none. Raises `ValueError` for anything else."""
    ids = cast(list[object], value) if isinstance(value, list | tuple) else [value]
    found = tuple(one for one in ids if isinstance(one, int) and not isinstance(one, bool))
    if len(found) < len(ids) and value is not None:
        raise ValueError(f"{value!r} is no token id")
    return found


def unsupported(raw: Raw) -> str | None:
    """What of a `config.json` changes how a model computes in a way that `Decoder` does not know.

    None if there is nothing of that kind.
    """
    name = architecture(raw)
    if name not in ARCHITECTURES:
        return f"architecture {name!r} is not one of {', '.join(ARCHITECTURES)}"
    if raw.get("hidden_act", "silu") not in ("silu", "swish"):
        return f"hidden_act = {raw['hidden_act']!r} is not supported"
    for key, plain in (("quantization_config", None), ("partial_rotary_factor", 1.0)):
        if raw.get(key) not in (None, plain):
            return f"{key} is not supported"
    given = _given_rope(raw)
    if not isinstance(given, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        return f"a rotary embedding of {given!r} is not supported"
    kind = _rope_kind(given)
    if kind not in ROPE_FIELDS:
        return f"rope_type = {kind!r} is not supported"
    known = {ROPE_KEYS[name] for name in ROPE_FIELDS[kind]} | {"rope_type", "type", "rope_theta"}
    for key in sorted(given.keys() - known if kind != "default" else ()):
        if given[key] is not None and (key, given[key]) != ("partial_rotary_factor", 1.0):
            return f"{key} = {given[key]!r} of a rotary embedding is not supported"
    return None


def _window(raw: Raw, family: Family, layers: int) -> tuple[int | None, tuple[int, ...]]:
    """The window, and the layers that have it."""
    if family == "llama":
        return None, ()
    everywhere = tuple(range(layers))
    window = raw.get("sliding_window", 4096)
    if family == "mistral":
        return (None, ()) if window is None else (int(window), everywhere)
    if not raw.get("use_sliding_window", False) or window is None:
        return None, ()
    kinds = cast("list[str] | None", raw.get("layer_types"))
    if kinds is not None:
        sliding = tuple(at for at, kind in enumerate(kinds) if kind == "sliding_attention")
    else:
        sliding = everywhere[int(raw.get("max_window_layers", 28)) :]
    return (int(window), sliding) if sliding else (None, ())


def _given_rope(raw: Raw) -> Raw:
    """`rope_parameters` of newer configs, or `rope_scaling` of older ones."""
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _rope_kind(given: Raw) -> str:
    return given.get("rope_type", given.get("type", "default"))


def _rope(raw: Raw) -> RopeConfig:
    """The rotary embedding of a config that is supported."""
    given = _given_rope(raw)
    kind = cast(RopeKind, _rope_kind(given))
    names = ROPE_FIELDS[kind]
    values = {
        name: float(given[ROPE_KEYS[name]])
        for name in names
        if given.get(ROPE_KEYS[name]) is not None or name in ROPE_NEEDS
    }
    values.setdefault("theta", float(raw.get("rope_theta") or 10_000.0))
    if "original_positions" in names:
        known = raw.get("max_position_embeddings") or 8192
        values["original_positions"] = int(values.get("original_positions", known))
    return RopeConfig(kind=kind, **cast(Any, values))


def _rope_to_json(rope: RopeConfig) -> Raw:
    values = {ROPE_KEYS[name]: getattr(rope, name) for name in ROPE_FIELDS[rope.kind]}
    return {
        "rope_type": rope.kind,
        **{key: value for key, value in values.items() if value is not None},
    }


def _llama(config: DecoderConfig) -> Raw:
    return {"attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}


def _mistral(config: DecoderConfig) -> Raw:
    return {"sliding_window": config.sliding_window}


def _qwen(config: DecoderConfig) -> Raw:
    sliding = bool(config.sliding_layers)
    extra: Raw = {"use_sliding_window": sliding, "sliding_window": config.sliding_window}
    if sliding:
        extra["max_window_layers"] = min(config.sliding_layers)
        extra["layer_types"] = [
            "full_attention" if config.window(layer) is None else "sliding_attention"
            for layer in range(config.layers)
        ]
    if config.family == "qwen3":
        extra["attention_bias"] = config.qkv_bias
    return extra


_EXTRA: Mapping[Family, Callable[[DecoderConfig], Raw]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen,
    "qwen3": _qwen,
}
"""Keys that a family has beside those of all."""
