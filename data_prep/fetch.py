"""Where a corpus is: the user's folder, $SPEECHNLP_DATA, the cache, or its official address, in this order.

What comes out is a folder whose files are upstream's, checked against the SHA-256 list beside this file. What is in
the files is the business of the modules named after the corpora. `python -m data_prep.fetch an4` prints the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data_prep.archive import unpack
from data_prep.bible_upstream import extract_editions
from data_prep.checksums import check_files, find_listed, read_list
from data_prep.download import download
from data_prep.tatoeba_upstream import rename_pairs
from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.errors import InputError, Problem

FSDD_COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
DANN_COMMIT = "74eec5e0ae06bd6614bce048abba492c16a633e3"
AAD_COMMIT = "cbe2e0cac6564dfbc6234882a73ca78020ac0d22"
BIBLE_COMMIT = "1b9b248ba61b0344748ce288fe5c62ef96d32c1c"
SPANISH_BIBLE_COMMIT = "13225a15fa5e3e3043495b0c82df56c3fdfeb7f4"
MULTI30K_COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
XLING_COMMIT = "008a643439707ff64a95e282cc10613124dffce1"
MUSE_COMMIT = "630a6fa1e8e983bd233390c964569e4433062864"


@dataclass(frozen=True)
class Corpus:
    """A corpus as upstream publishes it.

    Args:
        name: its name here, in $SPEECHNLP_DATA and in the cache.
        url: the official address, at a pinned version.
        archive: the archive's file name, as it may lie in $SPEECHNLP_DATA.
        licence: as upstream states it.
        checksums: the SHA-256 list; paths in it start at the corpus' top folder.
        shelf: another folder below $SPEECHNLP_DATA where it may lie.
        hidden: elements of its files that the checksums leave out: personal data that a copy need not have.
        convert: called with the folder of the unpacked archive and an empty one, writes the listed files into it; None
            where upstream's files are listed as they are.
    """

    name: str
    url: str
    archive: str
    licence: str
    checksums: Path
    shelf: str | None = None
    hidden: tuple[str, ...] = ()
    convert: Callable[[Path, Path], None] | None = None
    by_hand: bool = False
    """Upstream has other files than the list: it is not downloaded, the user names a copy with --corpus-dir."""

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may lie below $SPEECHNLP_DATA: folders, then the archive."""
        return (self.name, *([self.shelf] if self.shelf else []), self.archive)

    def expected(self) -> dict[str, str]:
        """Path below the corpus' top folder -> SHA-256."""
        return read_list(self.checksums)


def _corpus(
    name: str,
    url: str,
    archive: str,
    licence: str,
    shelf: str | None = None,
    hidden: tuple[str, ...] = (),
    convert: Callable[[Path, Path], None] | None = None,
) -> Corpus:
    return Corpus(name, url, archive, licence, Path(__file__).with_name(f"{name}.sha256"), shelf, hidden, convert)


def _repository(
    name: str,
    repository: str,
    commit: str,
    licence: str,
    shelf: str,
    convert: Callable[[Path, Path], None] | None = None,
) -> Corpus:
    """A commit of a repository on GitHub."""
    url = f"https://github.com/{repository}/archive/{commit}.tar.gz"
    archive = f"{repository.rpartition('/')[2]}-{commit}.tar.gz"
    return _corpus(name, url, archive, licence, shelf, convert=convert)


def _sentence_pairs(language: str, repository: str, commit: str, path: str = "") -> Corpus:
    """A selection of Tatoeba that manythings.org made; its own address has only the newest."""
    archive = f"{language}-eng.zip"
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{path}{archive}"
    convert = partial(rename_pairs, language)
    return _corpus(f"tatoeba-{language}", url, archive, "CC BY 2.0 FR", "text/tatoeba_en_xx", convert=convert)


def _spoken_words(name: str, repository: str, licence: str, folder: str) -> Corpus:
    """A part of a repository, at 8 kHz, of which copies go around."""
    corpus = _corpus(name, f"https://github.com/{repository}", f"{folder}.tar", licence, folder)
    return replace(corpus, by_hand=True)


CORPORA = {
    corpus.name: corpus
    for corpus in (
        _corpus(
            "an4",
            "http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz",
            "an4_sphere.tar.gz",
            "free for any purpose; the notice in its LICENSE file must be kept",
        ),
        _corpus(
            "fsdd",
            f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{FSDD_COMMIT}.tar.gz",
            "free-spoken-digit-dataset.tar.gz",
            "CC BY-SA 4.0",
        ),
        _corpus(
            "yesno",
            "https://www.openslr.org/resources/1/waves_yesno.tar.gz",
            "waves_yesno.tar.gz",
            "free for trying Kaldi",
        ),
        _spoken_words("arabic", "abdulkaderghandoura/arabic-speech-commands-dataset", "CC BY 4.0", "arabic_commands"),
        _spoken_words("mandarin", "zhongyuchen/DSPSpeech-20", "MIT", "mandarin_words"),
        _corpus(
            "amazon",
            f"https://github.com/GRAAL-Research/domain_adversarial_neural_network/archive/{DANN_COMMIT}.tar.gz",
            f"domain_adversarial_neural_network-{DANN_COMMIT}.tar.gz",
            "the repository BSD-style; none stated for the reviews behind the counts",
            "text/amazon_dann_svmlight",
        ),
        # the copy of another project: the official archive has no version to pin
        _corpus(
            "amazon-text",
            f"https://github.com/bzantium/bert-AAD/archive/{AAD_COMMIT}.tar.gz",
            f"bert-AAD-{AAD_COMMIT}.tar.gz",
            "none stated",
            "text/amazon_raw_xml",
            ("unique_id", "reviewer", "reviewer_location"),
        ),
        _repository("bible", "midvash/bible-data", BIBLE_COMMIT, "public domain", "text/bible", extract_editions),
        _repository(
            "bible-es",
            "thiagobodruk/bible",
            SPANISH_BIBLE_COMMIT,
            "public domain, as far as the edition goes; the repository says CC BY-NC",
            "text/bible",
            extract_editions,
        ),
        _sentence_pairs("deu", "rioyshky/translation", "de48b7027f7318d77010a6e08ed928c10748c23d"),
        _sentence_pairs("fra", "modelexlab/data", "adddaf33ac35572bcfeb421efec29435e7ea9332"),
        _sentence_pairs("spa", "kikhofua/18.065", "5dbba87757654413108e04b46ac7cbae399f9ec9", "data/"),
        _repository(
            "multi30k", "multi30k/dataset", MULTI30K_COMMIT, "none stated; treat as non-commercial", "text/multi30k"
        ),
        _repository(
            "xling-eval", "codogogo/xling-eval", XLING_COMMIT, "none stated", "text/bli_dictionaries/xling_eval"
        ),
        _repository(
            "muse-dictionaries",
            "coastalcph/MUSE_dicos",
            MUSE_COMMIT,
            "none stated; MUSE itself CC BY-NC 4.0",
            "text/bli_dictionaries/muse_dicos",
        ),
    )
}


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/speechnlp_tl`, or `~/.cache/speechnlp_tl`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "speechnlp_tl"


def fetch(corpus: Corpus, corpus_dir: Path | None = None) -> Path:
    """The corpus' top folder, with every listed file in place.

    Looked for in `corpus_dir` (a folder or the archive; nothing else is tried when it is given), in
    `$SPEECHNLP_DATA/<name>`, on its shelf there, or as `$SPEECHNLP_DATA/<archive>`, in the cache, and at the official
    address. Archives are unpacked into the cache.

    Raises:
        InputError: the corpus is in none of these places and cannot be downloaded (the message names the address, the
            file, and where to put it); or it was found, and files in it are missing or damaged.
    """
    if corpus_dir is not None:
        return _open_place(corpus, Path(corpus_dir))
    if data := os.environ.get("SPEECHNLP_DATA"):
        for name in corpus.places:
            if (Path(data) / name).exists():
                return _open_place(corpus, Path(data) / name)
    with _locked(corpus):
        unpacked, archive = cache_folder() / corpus.name, cache_folder() / corpus.archive
        if unpacked.is_dir():
            return _open_folder(corpus, unpacked, f"remove {unpacked}, then run the command again")
        if archive.is_file():  # put there by the user, who may want to keep it
            return _unpack(corpus, archive)
        if corpus.by_hand:
            remedy = f"get {corpus.url} and name its folder with --corpus-dir"
            raise InputError(Problem(f"{corpus.name} is not on this machine", remedy=remedy))
        _download(corpus, archive)
        root = _unpack(corpus, archive)
        archive.unlink()
        return root


def is_available(corpus: Corpus) -> bool:
    """Whether `fetch` finds something without a download; it is not checked yet."""
    data = os.environ.get("SPEECHNLP_DATA")
    in_data = [Path(data) / name for name in corpus.places] if data else []
    in_cache = [cache_folder() / name for name in (corpus.name, corpus.archive)]
    return any(place.exists() for place in [*in_data, *in_cache])


def _open_place(corpus: Corpus, place: Path) -> Path:
    """The corpus in a place that the user named: a folder, which is only read, or the archive."""
    if place.is_dir():
        return _open_folder(corpus, place, f"get it again from {corpus.url}")
    if place.is_file():
        with _locked(corpus):
            unpacked = cache_folder() / corpus.name
            if unpacked.is_dir():
                return _open_folder(corpus, unpacked, f"remove {unpacked}, then run the command again")
            return _unpack(corpus, place)
    remedy = f"give the folder or the archive {corpus.archive} of {corpus.url}"
    raise InputError(Problem(f"no {corpus.name} here: it does not exist", file=place, remedy=remedy))


def _open_folder(corpus: Corpus, folder: Path, remedy: str) -> Path:
    expected = corpus.expected()
    root = _top_folder(folder, expected)
    if root is None:
        what = f"is not {corpus.name}: there is no {next(iter(expected))} in it or in a folder of it"
        raise InputError(Problem(what, file=folder, remedy=remedy))
    check_files(root, expected, shown=root, remedy=remedy, hidden=corpus.hidden)
    return root.resolve()


def _top_folder(folder: Path, expected: dict[str, str]) -> Path | None:
    """`folder`, or the first folder in it or one below that holds listed files: archives have a folder at the top."""
    level = [folder]
    for _ in range(3):
        for candidate in level:
            # any listed file will do: when the first is missing, the message shall name it and not deny the corpus
            if any(find_listed(candidate, name) for name in expected):
                return candidate
        level = sorted(path for parent in level for path in parent.iterdir() if path.is_dir())
    return None


def _unpack(corpus: Corpus, archive: Path) -> Path:
    """Unpack into the cache, checked before it gets its name there."""
    unpacked, expected = cache_folder() / corpus.name, corpus.expected()
    remedy = f"remove it and get it again from {corpus.url}"
    with atomic_directory(unpacked) as temporary:
        if corpus.convert is None:
            unpack(archive, temporary)
        else:
            upstream, converted = temporary / "upstream", temporary / corpus.name
            upstream.mkdir()
            converted.mkdir()
            unpack(archive, upstream)
            corpus.convert(upstream, converted)
            shutil.rmtree(upstream)
        root = _top_folder(temporary, expected)
        if root is None:
            raise InputError(Problem(f"does not hold {corpus.name}", file=archive, remedy=remedy))
        check_files(root, expected, shown=archive, remedy=remedy, hidden=corpus.hidden)
    return (unpacked / root.relative_to(temporary)).resolve()


def _download(corpus: Corpus, archive: Path) -> None:
    try:
        download(corpus.url, archive)
    except InputError as error:
        places = f"as {archive}, or as {corpus.archive} into the folder that SPEECHNLP_DATA names"
        remedy = f"download {corpus.url} elsewhere and put it here {places}, or give --corpus-dir"
        missing = Problem(f"{corpus.name} is not on this machine: expected {corpus.archive}", remedy=remedy)
        raise InputError([*error.problems, missing]) from error


@contextlib.contextmanager
def _locked(corpus: Corpus) -> Iterator[None]:
    """Two runs at the same time must not write one download or unpack twice; the second waits for the first."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{corpus.name}.lock").open("w")
    except OSError as error:
        what = f"the cache cannot be written: {error.strerror or error}"
        raise InputError(Problem(what, file=folder, remedy="set XDG_CACHE_HOME to a folder you may write")) from error
    with file:
        try:
            import fcntl
        except ImportError:  # Windows: no lock, and the rename at the end still never mixes two runs
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Fetch the corpora named on the command line, or all, and print their folders."""
    from data_prep.command import corpus_parser, run

    parser = corpus_parser(__doc__, out=False)
    parser.add_argument("corpus", nargs="*", help=f"of {', '.join(CORPORA)}; default all that can be downloaded")
    arguments = parser.parse_args()
    everything = [name for name, corpus in CORPORA.items() if not corpus.by_hand or is_available(corpus)]
    made = ("synthetic", "text")  # or the user's own
    names = [name for name in arguments.corpus or everything if name not in made]
    if unknown := [name for name in names if name not in CORPORA]:
        parser.error(f"unknown corpus {', '.join(unknown)}; known are {', '.join(CORPORA)}")
    run(lambda: [print(fetch(CORPORA[name], arguments.corpus_dir)) for name in names])


if __name__ == "__main__":
    main()


def fetch_all(names: Sequence[str]) -> dict[str, Path]:
    """Name in `CORPORA` -> the folder that holds the corpus, as `fetch` finds it.

    Raises:
        InputError: what is wrong with any of them.
    """
    places: dict[str, Path] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            places[name] = fetch(CORPORA[name])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return places
