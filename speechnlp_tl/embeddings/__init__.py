"""Embeddings: word vectors, the maps that align two languages' spaces, and the translation of words."""
