"""Word vectors of one or more languages: files, training, alignment, retrieval."""
