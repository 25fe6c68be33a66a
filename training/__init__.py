"""The bundled model's corpus, tokenizer, training and measurements, which are not part of the wheel."""
