"""Adapt speech and language models to a new speaker, language, domain or task."""

__version__ = "0.1.0"
