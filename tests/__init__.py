"""Tests; a package, so that `tests.tiny` can be imported from all of them."""
