"""How knowledge moves between models. Works on any nn.Module; knows no modality and no corpus."""
