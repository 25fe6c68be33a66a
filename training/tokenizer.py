"""The bundled model's tokenizer: byte-level BPE in which a digit is always a token of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"

# Each part of the prompt's frame is a token, each digit of a number is another, and a word takes the space before it.
_PIECES = r"Question:|\nAnswer:|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"


def train_tokenizer(texts: Iterable[str], size: int, context: int) -> Any:
    """Return a tokenizer of at most *size* tokens learned from *texts*, which can encode any text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        bos_token=END,
        pad_token=END,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        # Without this transformers 4 adds token types, which GPT-2 embeds as if they were words.
        model_input_names=["input_ids", "attention_mask"],
    )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save *tokenizer* under the class name that both transformers 4 and 5 know."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
