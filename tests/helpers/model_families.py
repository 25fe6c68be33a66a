"""Small random models of many decoder-only families, built from their configs."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 97

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}

GROUPED = {"num_key_value_heads": 2, "head_dim": 8}

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "num_layers": 3, "window_size": 8},
    "gpt_neox": {},
    "gpt_bigcode": {"multi_query": True},
    "codegen": {"rotary_dim": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 128},
    "falcon": {"multi_query": True, "new_decoder_architecture": False},
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 8},
    "mixtral": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 16},
    "qwen3_moe": GROUPED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "gemma": GROUPED,
    "gemma2": GROUPED | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": GROUPED | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {"num_key_value_heads": 2},
    "stablelm": {"num_key_value_heads": 2},
    "starcoder2": {"num_key_value_heads": 2},
    "olmo": {"num_key_value_heads": 2},
    "olmo2": {"num_key_value_heads": 2},
    "granite": GROUPED,
    "cohere": {"num_key_value_heads": 2},
    "persimmon": {},
    "gpt_oss": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    "deepseek_v3": {
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 24,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    },
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 3, "attention_heads": 4},
    "biogpt": {},
    "smollm3": GROUPED,
    "nemotron": GROUPED,
    "glm": GROUPED,
    "openai-gpt": {},
    "ctrl": {"dff": 48},
    "bert": {"is_decoder": True},
}


def build(family: str, seed: int = 0, **changes: Any) -> Any:
    """Return a small random model of *family* whose weights are large enough that heads matter."""
    config = config_of(family, **changes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * (1.5 / parameter.shape[-1] ** 0.5))
    return model


def config_of(family: str, **changes: Any) -> Any:
    """Return the small config of *family*, with its own names for the sizes."""
    return AutoConfig.for_model(family, **(SIZES | FAMILIES[family] | changes))
