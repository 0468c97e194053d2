"""`speechnlp-tl embed`: train word vectors, align languages, translate words, measure it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Word vectors across languages: train, align, translate, evaluate.", no_args_is_help=True)


class TrainingMethod(str, Enum):
    """How vectors of one language are trained."""

    skipgram = "skipgram"
    cbow = "cbow"
    fasttext = "fasttext"


class Joint(str, Enum):
    """How vectors of several languages are trained together."""

    merged = "merged"
    sentence_ids = "sentence-ids"
    random = "random"


class AlignmentMethod(str, Enum):
    """How languages are aligned."""

    procrustes = "procrustes"
    vecmap = "vecmap"
    cca = "cca"
    regularised_cca = "regularised-cca"
    least_squares = "least-squares"
    margin = "margin"
    rcsls = "rcsls"
    self_learning = "self-learning"
    adversarial = "adversarial"


class Seeds(str, Enum):
    """Words that stand for a dictionary."""

    identical = "identical"
    numerals = "numerals"


class Retrieval(str, Enum):
    """How the nearest words are found."""

    csls = "csls"
    nn = "nn"
    inverted_softmax = "inverted-softmax"


Source = Annotated[str, typer.Option(help="Vectors of the source language: FILE or NAME=FILE.", show_default=False)]
Target = Annotated[str, typer.Option(help="Vectors of the target language: FILE or NAME=FILE.", show_default=False)]
AlignmentDir = Annotated[
    Path | None, typer.Option("--alignment", help="What `embed align` wrote; none for vectors of one space.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many of the most frequent words.")]
How = Annotated[Retrieval, typer.Option(help="csls, nn (nearest neighbour) or inverted-softmax.")]


@app.command()
def train(
    text: Annotated[list[Path] | None, typer.Argument(metavar="TEXT...", help="Text files of one language.")] = None,
    out: Annotated[Path, typer.Option(help="NAME.vec (text), NAME.bin (binary), else a folder.")] = ...,  # type: ignore[assignment]
    pairs: Annotated[
        list[str] | None, typer.Option(help="Matched sentences: en=FILE,fr=FILE. Vectors go to OUT/en, OUT/fr.")
    ] = None,
    joint: Annotated[Joint, typer.Option(help="How --pairs are learned from.")] = Joint.merged,
    fold_in: Annotated[
        bool, typer.Option("--fold-in", help="Move words of --pairs towards those they are aligned with.")
    ] = False,
    method: Annotated[TrainingMethod, typer.Option(help="Of the training.")] = TrainingMethod.skipgram,
    dim: Annotated[int | None, typer.Option(help="Numbers in a vector (200).")] = None,
    window: Annotated[int | None, typer.Option(help="Words of context on either side (5).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text (5).")] = None,
    min_count: Annotated[int | None, typer.Option(help="Rarer words get no vector (5).")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; with 1 the same seed gives the same vectors.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
) -> None:
    """Train word vectors: of one language from text, or of several in one space from matched sentences."""
    from speechnlp_tl.embeddings.training_run import train_files, train_pairs, training_settings
    from speechnlp_tl.errors import InputError, Problem

    if bool(text) == bool(pairs):
        raise InputError(Problem("text files or --pairs are needed, and not both", remedy="see --help"))
    options = {"dimension": dim, "window": window, "epochs": epochs, "min_count": min_count, "workers": workers}
    settings = training_settings(method.value, seed=seed, **options)
    if text:
        _print(train_files(text, out, settings))
    else:
        _print(train_pairs(pairs or [], out, settings, joint.value, fold_in, _note))


@app.command()
def align(
    source: Source,
    target: Annotated[list[str], typer.Option(help="Vectors of a target language; several share the source's space.")],
    out: Annotated[Path, typer.Option(help="Folder for the alignment.")],
    dictionary: Annotated[
        list[Path] | None, typer.Option(help="Source words and their translations; one for each target.")
    ] = None,
    seeds: Annotated[Seeds | None, typer.Option(help="Take equal strings as the dictionary.")] = None,
    unsupervised: Annotated[bool, typer.Option("--unsupervised", help="Without a dictionary.")] = False,
    method: Annotated[
        AlignmentMethod | None, typer.Option(help="procrustes (default) or, without a dictionary, self-learning.")
    ] = None,
    joint: Annotated[bool, typer.Option("--joint", help="Several targets: all maps at once.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of the method: key=value.")] = None,
    fallback: Annotated[
        bool, typer.Option("--fallback/--no-fallback", help="Unsupervised and failed: try identical strings.")
    ] = True,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Of methods in which there is chance.")] = 0,
) -> None:
    """Align the vectors of languages: with a dictionary, with identical strings, or without any word."""
    from speechnlp_tl.embeddings.alignment_run import AlignmentRun
    from speechnlp_tl.embeddings.inputs import Place
    from speechnlp_tl.errors import InputError, Problem

    if unsupervised == bool(dictionary or seeds):
        raise InputError(Problem("one of --dictionary, --seeds and --unsupervised is needed, and not more"))
    run = AlignmentRun(
        Place.of(source),
        [Place.of(each) for each in target],
        dictionary or [],
        None if seeds is None else seeds.value,
        None if method is None else method.value,
        joint,
        _settings(set_ or []),
        limit,
        seed,
        fallback,
    )
    _print(run.check().align(out, _note))


@app.command()
def translate(
    source: Source,
    target: Target,
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD...", help="Words to translate.")] = None,
    alignment: AlignmentDir = None,
    input_: Annotated[Path | None, typer.Option("--input", help="File with a word a line.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="TSV, or JSON Lines by the name .json or .jsonl; printed when not given.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Translations of each word.")] = 5,
    retrieval: How = Retrieval.csls,
    limit: Limit = None,
) -> None:
    """Translate words: the nearest ones of the other language, best first, with their scores."""
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.embeddings.inputs import Place
    from speechnlp_tl.embeddings.translation_run import TwoLanguages, as_json_lines, as_tsv, read_words
    from speechnlp_tl.errors import InputError, Problem

    if bool(words) == (input_ is not None):
        raise InputError(Problem("words or --input are needed, and not both", remedy="see --help"))
    wanted = list(words or ()) if input_ is None else read_words(input_)
    languages = TwoLanguages.read(Place.of(source), Place.of(target), alignment, limit, _note)
    found = languages.translate(wanted, count, retrieval.value)
    unknown = [each.word for each in found if not each.best]
    if len(unknown) == len(found):
        raise InputError(Problem(f"no vector for any of the words: {', '.join(unknown[:20])}", remedy="check --source"))
    if unknown:
        _note(f"{len(unknown)} of {len(found)} words have no vector: {', '.join(unknown[:20])}")
    as_json = out is not None and out.suffix in (".json", ".jsonl")
    text = as_json_lines(found) if as_json else as_tsv(found)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"{out}: {len(found) - len(unknown)} words")


@app.command()
def evaluate(
    source: Source,
    target: Target,
    dictionary: Annotated[Path, typer.Option(help="Test words and their translations.")],
    alignment: AlignmentDir = None,
    retrieval: How = Retrieval.csls,
    json: Annotated[Path | None, typer.Option(help="Write the scores there for machines.")] = None,
    limit: Limit = None,
) -> None:
    """P@1, P@5, P@10 and mean reciprocal rank of a dictionary's words, with intervals, coverage and frequency bands."""
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.embeddings.inputs import Place, read_dictionaries
    from speechnlp_tl.embeddings.translation_run import TwoLanguages, as_json, score_lines
    from speechnlp_tl.errors import InputError

    problems = []
    try:
        words = read_dictionaries([dictionary], _note)[0]
    except InputError as error:
        problems += error.problems
    try:
        languages = TwoLanguages.read(Place.of(source), Place.of(target), alignment, limit, _note)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    found = languages.evaluate(words, retrieval.value)
    _print(score_lines(found))
    if hint := languages.hint(words, found, retrieval.value):
        _note(f"warning: {hint}")
    if json is not None:
        write_text(json, as_json(found))


def _settings(given: Iterable[str]) -> dict[str, Any]:
    """`key=value` as settings, the value read as YAML."""
    from yaml import YAMLError, safe_load

    from speechnlp_tl.errors import InputError, Problem

    found, problems = {}, []
    for text in given:
        key, sign, value = text.partition("=")
        try:
            found[key] = safe_load(value)
        except YAMLError:
            sign = ""
        if not sign or not key:
            problems.append(Problem(f"'{text}' is no setting", remedy="write --set key=value"))
    if problems:
        raise InputError(problems)
    return found


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _note(line: str) -> None:
    """What was dropped, and warnings: never silent, and not among the results."""
    typer.echo(line if line.startswith("warning: ") else f"note: {line}", err=True)
