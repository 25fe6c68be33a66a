"""How the bundled model is made: corpus, tokenizer, training, measurements. Not part of the wheel."""
