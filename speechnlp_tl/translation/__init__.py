"""Translation: parallel text, subwords, an encoder-decoder for many languages, its task, and search."""
