"""Builds small random models of any family that transformers builds from a config, for docs/reference/models.md.

A config is shrunk by the names of its attributes, which families share; ``MORE`` holds what some families also need.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

VOCAB = 97
LAYERS = 6  # in some hybrids the fifth layer is the first with attention
HEADS = 4
HIDDEN = 32

Size = int | Callable[[int | None, Any], int | None]

SIZES: tuple[tuple[str, Size], ...] = (
    (r".*vocab(_size)?(_base|_per_layer_input)?", VOCAB),
    (r"pad_token_id", 0),
    (r"(bos|decoder_start)_token_id", 1),
    (r"eos_token_id", 2),
    (r".*_token_(id|index)", 3),
    # Latent attention has as many keys as heads; elsewhere grouped heads stay grouped, and a shared key stays shared.
    (r"(swa_)?num_key_value_heads", lambda old, config: HEADS if _latent(config) else 1 if old == 1 else HEADS // 2),
    (r"num_kv_heads", lambda old, config: 1 if old == 1 else HEADS // 2),
    (
        r".*attention_heads|.*n_heads?|num_heads|mamba_num_heads|n_mamba_heads|linear_num_(\w+_)?heads|num_query_groups",
        HEADS,
    ),
    (r"(num_)?(encoder_|decoder_|hidden_)*(layers|blocks)|n_layers?", LAYERS),
    (r"hidden_size_per_layer_input|.*_rank|pronunciation_embed_dim|shape_embed_dim|d_rel", 8),
    (
        r"hidden_size(_global)?|d_model|n_embd|emb_dim|embedding_(dim|size)|\w+_embed(ding)?(_proj)?_(dim|size)|lru_width",
        HIDDEN,
    ),
    (r"attention_hidden_size", HIDDEN),
    (r"moe_intermediate_size|(moe_)?shared_experts?_intermediate_size|expert_ffn_hidden_size", 24),
    (r".*intermediate_size(_mlp)?|(\w+_)?ffn_dim|dff|dim_ff|d_inner|ffn_hidden_size|feed_forward_size|n_inner", 48),
    (r"head_dim", lambda old, config: None if _latent(config) else 8),
    (r"(swa|global)_head_dim|d_head|dim_head|d_kv|kv_channels|attention_head_(dim|size)", 8),
    (r"qk_nope_head_dim|v_head_dim|index_head_dim|linear_(key_|value_)?head_dim", 8),
    (r"mamba_head_?dim|mamba_d_head", 2 * HIDDEN // HEADS),
    (r"mamba_d_ssm", 2 * HIDDEN),
    (r"qk_rope_head_dim|rotary_dim", 4),
    (r"qk_head_dim", 12),
    (r"(num_|n_|moe_num_)?(local_|routed_)?experts|zero_expert_num", 4),
    (r"num_experts_per_tok(en)?|moe_k|moe_top_?k|top_k_experts", 2),
    (r"n_group|topk_group|n_groups|mamba_n_groups|num_expert_group|n_shared_experts", 1),
    (r"first_k_dense_replace", 1),
    (r"(sliding_)?window(_size)?|attention_window_size|local_attention|attention_chunk_size", 8),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|model_max_length|max_(source|target)_positions", 128),
    (r"context_length|original_max_position_embeddings", 128),
    (r"(mamba_)?(d_state|state_size)|ssm_state_size|(mamba_)?chunk_size|time_step_rank|mamba_dt_rank", 8),
    (r"query_pre_attn_scalar", 8),
)
"""By pattern of the attribute's name, the value of an attribute that the config sets to a number.

``None`` leaves the config's own value.
"""

UNSET: dict[str, Size] = {
    "head_dim": lambda old, config: None if _latent(config) else 8,
    "num_key_value_heads": HEADS,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
}
"""The value of an attribute that the config has, but leaves unset."""

_DOTS3 = {
    "num_key_value_heads": HEADS,
    "swa_num_attention_heads": HEADS,
    "swa_num_key_value_heads": HEADS,
    "swa_q_lora_rank": 8,
    "swa_kv_lora_rank": 8,
    "swa_head_dim": 12,
    "swa_qk_nope_head_dim": 8,
    "swa_v_head_dim": 8,
    "sliding_window": 8,
}

_QWEN4 = {
    "indexer_n_heads": HEADS,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
}

MORE: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [2, 4]},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": HIDDEN, "ffn_hidden_size": 48},
    },
    "dots1": {"n_routed_experts": 4},
    "dots3_note_text": _DOTS3,
    "dots3_note": {"text_config": _DOTS3},
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    },
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0}},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * (LAYERS // 2)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "longcat_flash": {"head_dim": 4},
    "mamba2": {"head_dim": 2 * HIDDEN // HEADS},
    "qwen4_exp_text": _QWEN4,
    "qwen4_exp": {"text_config": _QWEN4},
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "zamba2": {"layer_types": ["mamba", "hybrid"] * (LAYERS // 2)},
    "zaya": {"num_experts_per_tok": 1},
}
"""Further values for families whose attributes depend on each other."""


def _latent(config: Any) -> bool:
    try:
        return getattr(config, "kv_lora_rank", None) is not None
    except Exception:  # configs raise where the value differs between layers
        return True


def config_of(family: str, **changes: Any) -> Any:
    """Return the shrunk config of *family*."""
    more = MORE.get(family, {})
    return _small(CONFIG_MAPPING[family], more, changes)


def _small(kind: Any, more: dict[str, Any], changes: dict[str, Any]) -> Any:
    parts = getattr(kind, "sub_configs", {})
    try:
        config = kind()
    except Exception:  # some defaults contradict each other
        config = kind(**more)
    values: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        number = isinstance(value, int) and not isinstance(value, bool)
        size = _size(name, value, config) if number else UNSET.get(name) if value is None else None
        size = size(value, config) if callable(size) else size
        if size is not None:
            values[name] = size
    for name in parts:
        part = getattr(config, name, None)
        if part is not None:
            values[name] = _small(type(part), more.get(name, {}), {}).to_dict()
    values |= {name: True for name in ("is_decoder", "use_cache") if hasattr(config, name)}
    values |= {"use_mamba_kernels": False} if hasattr(config, "use_mamba_kernels") else {}
    values |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    explicit = {name: value for name, value in more.items() if name not in parts}
    return kind(**(values | explicit | changes))


def _size(name: str, old: int, config: Any) -> Any:
    return next((size for pattern, size in SIZES if re.fullmatch(pattern, name)), None)


def build(config: Any, seed: int = 0) -> Any:
    """Return a random model of *config* whose weights are large enough that heads matter."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() >= 2:
                parameter.copy_(noise * (1.5 / parameter.shape[-1] ** 0.5))
            else:  # scales and biases of norms: like trained ones, none is exactly 1 or 0
                parameter.add_(noise * 0.1)
    return model
