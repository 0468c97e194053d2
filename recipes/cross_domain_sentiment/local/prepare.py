"""The reviews of a corpus as counts: one folder for each domain."""

from __future__ import annotations

import argparse
from pathlib import Path

from text_counts import amazon_documents, own_documents, write_counts

from data_prep import amazon, made_reviews
from data_prep.command import run
from data_prep.fetch import CORPORA, fetch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("amazon", "amazon-text", "text", "synthetic"), required=True)
    parser.add_argument("--text-file", type=Path, help="JSON Lines file of --corpus text")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if (arguments.corpus == "text") != (arguments.text_file is not None):
        parser.error("--corpus text and --text-file belong together")
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> dict[str, Path]:
    if arguments.corpus == "synthetic":
        return made_reviews.prepare(arguments.out)
    if arguments.corpus == "amazon":
        return amazon.prepare(fetch(CORPORA["amazon"]), arguments.out)
    documents = own_documents(arguments.text_file) if arguments.text_file else amazon_documents()
    return write_counts(documents, arguments.out, arguments.corpus)


if __name__ == "__main__":
    main()
