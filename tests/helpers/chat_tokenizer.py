"""Tokenizers of single characters with a chat template."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPACED = (  # as Llama 2's: a beginning-of-sequence token first, a space before an answer
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }}<|end|>{% endif %}{% endfor %}"
)


def chat_tokenizer(template: str | None) -> Any:
    """Return a tokenizer of single characters that puts ``<s>`` before every text, as Llama's tokenizer does."""
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    special = ["<s>", "<|end|>", "<|user|>", "<|assistant|>"]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*special, *letters])}, unk_token=" "))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="<|end|>", additional_special_tokens=special[2:]
    )
    tokenizer.chat_template = template
    return tokenizer
