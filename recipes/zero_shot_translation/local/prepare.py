"""Stages 0 and 1: halves of the training sentences, dev and test."""

from __future__ import annotations

import argparse
from pathlib import Path

from settings import RecipeConfig

from data_prep import made_languages, made_translations, multi30k_translation, tatoeba, tatoeba_translation
from data_prep.command import run
from data_prep.fetch import CORPORA, fetch
from data_prep.translation_halves import NewLanguage
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError, Problem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("multi30k", "tatoeba", "synthetic"), required=True)
    parser.add_argument("--leaky", choices=("true", "false"), required=True)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--download-only", action="store_true")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> dict[str, Path] | None:
    leaky, config = arguments.leaky == "true", load_config(arguments.conf, RecipeConfig)
    # what other configurations of the same text had cut stays
    cuts, new = _standing(arguments.out, config) | config.cuts, config.new_language
    _check(arguments, config)
    if arguments.corpus == "synthetic":
        return None if arguments.download_only else made_translations.prepare(arguments.out, leaky=leaky, cuts=cuts)
    if arguments.corpus == "tatoeba":
        left, _, right = config.languages
        corpora = {name: fetch(CORPORA[f"tatoeba-{tatoeba.LANGUAGES[name]}"]) for name in (left, right)}
        return corpora if arguments.download_only else tatoeba_translation.prepare(corpora, arguments.out, leaky, cuts)
    corpus = fetch(CORPORA["multi30k"])
    if arguments.download_only:
        return {"multi30k": corpus}
    kept = None if new is None else NewLanguage(new.name, new.sentences)
    return multi30k_translation.prepare(corpus, arguments.out, leaky, cuts, kept)


def _standing(out: Path, config: RecipeConfig) -> dict[str, int]:
    """The shortened training sets of these languages that are there: folder -> sentences."""
    parts = [folder.name.split("-") for folder in (out / "train").glob("*-*-*")]
    return {
        "-".join(part): int(part[-1])
        for part in parts
        if part[-1].isdecimal() and set(part[:-1]) <= set(config.all_languages)
    }


def _check(arguments: argparse.Namespace, config: RecipeConfig) -> None:
    """Raise InputError for languages that the corpus does not have."""
    left, hub, right = config.languages
    fits = {
        "synthetic": tuple(config.languages) == made_languages.LANGUAGES,
        "multi30k": tuple(config.languages) == multi30k_translation.LANGUAGES,
        "tatoeba": hub == tatoeba_translation.HUB and {left, right} <= set(tatoeba.LANGUAGES) and left != right,
    }
    problems = []
    if not fits[arguments.corpus]:
        remedy = (
            f"synthetic has {', '.join(made_languages.LANGUAGES)}, multi30k de, en, fr, tatoeba en between two others"
        )
        what = f"corpus {arguments.corpus} is not made for languages {', '.join(config.languages)}"
        problems.append(Problem(what, arguments.conf, remedy=remedy))
    if config.new_language is not None and arguments.corpus != "multi30k":
        problems.append(
            Problem(f"corpus {arguments.corpus} has no new language", arguments.conf, remedy="leave it out")
        )
    if problems:
        raise InputError(problems)


if __name__ == "__main__":
    main()
