"""One module per corpus: upstream layout in, Kaldi data directory or JSON Lines out."""
