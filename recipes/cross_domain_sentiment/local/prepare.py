"""The reviews of a corpus as counts: one folder for each domain."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep import amazon, made_reviews
from data_prep.command import run
from data_prep.fetch import CORPORA, fetch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("amazon", "synthetic"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.corpus == "synthetic":
        run(lambda: made_reviews.prepare(arguments.out))
    else:
        run(lambda: amazon.prepare(fetch(CORPORA["amazon"]), arguments.out))


if __name__ == "__main__":
    main()
