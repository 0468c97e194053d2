"""Who adapts to what: source model, adaptation pool and test sets of every target speaker (and fold)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.data_split import folds


@dataclass(frozen=True)
class Scenario:
    """One target speaker, or one fold of them. No utterance is in both `pool` and `test`."""

    target: str
    fold: int
    source: Path
    """Experiment folder of the source model, which has never heard the target."""
    pool: list[Utterance]
    test: list[Utterance]
    old: list[Utterance]
    """Test speech of the source speakers (AN4: of held-out training speakers): what adaptation may cost."""
    source_train: list[Utterance]
    """What the Fisher information of `ewc` is measured on."""

    @property
    def name(self) -> str:
        return f"{self.target}-{self.fold}"


def leave_one_out(data: Path, sources: Path, targets: int, heard: Path | None = None) -> list[Scenario]:
    """FSDD and synthetic speech: each speaker in turn is the target of a model of all others.

    `heard` holds the targets' speech where it is to be heard over a telephone.
    """
    speakers = sorted(path.name for path in (data / "leave_out").iterdir())
    chosen = speakers[:targets] if targets else speakers
    return [
        Scenario(
            target=speaker,
            fold=0,
            source=sources / speaker,
            pool=list(DataDir.read((heard or data) / speaker / "pool")),
            test=list(DataDir.read((heard or data) / speaker / "test")),
            old=list(DataDir.read(data / "leave_out" / speaker / "test")),
            source_train=list(DataDir.read(data / "leave_out" / speaker / "train")),
        )
        for speaker in chosen
    ]


def development(data: Path, sources: Path, targets: int) -> list[Scenario]:
    """FSDD without its test takes, to choose settings on: half of each pool adapts, the other half is recognised."""
    return [
        replace(
            one,
            pool=one.pool[::2],
            test=one.pool[1::2],
            old=list(DataDir.read(data / "leave_out" / one.target / "dev")),
        )
        for one in leave_one_out(data, sources, targets)
    ]


def development_speakers(data: Path, sources: Path, targets: int, count: int) -> list[Scenario]:
    """AN4 without its test speakers: held-out training speakers adapt, each in folds; the others are the old ones."""
    held_out = list(DataDir.read(data / "train_dev"))
    source_train = list(DataDir.read(data / "train_main"))
    found = []
    for speaker in sorted({utterance.speaker for utterance in held_out})[: targets or None]:
        old = [utterance for utterance in held_out if utterance.speaker != speaker]
        own = DataDir([utterance for utterance in held_out if utterance.speaker == speaker])
        for number, (rest, fold) in enumerate(folds(own, count)):
            found.append(Scenario(speaker, number, sources / "all", list(rest), list(fold), old, source_train))
    return found


def official_test_speakers(data: Path, sources: Path, targets: int, count: int) -> list[Scenario]:
    """AN4: each test speaker's utterances in `count` folds; all but one fold adapt, that one is the test."""
    old = list(DataDir.read(data / "train_dev"))
    source_train = list(DataDir.read(data / "train_main"))
    found = []
    by_speaker = DataDir.read(data / "test").by_speaker()
    for speaker in sorted(by_speaker)[: targets or None]:
        parts = folds(DataDir(by_speaker[speaker]), count)
        for number, (rest, fold) in enumerate(parts):
            found.append(Scenario(speaker, number, sources / "all", list(rest), list(fold), old, source_train))
    return found


def telephone_channel(data: Path, sources: Path, heard: Path, on_development: bool) -> list[Scenario]:
    """AN4 over the telephone: the line is the target. Other speakers adapt than are recognised, clean and not.

    Held-out training speakers adapt and the official test speakers are recognised; to choose settings, every other one
    of the held-out training speakers adapts and the rest are recognised.
    """
    pool = list(DataDir.read(heard / "train_dev"))
    if on_development:
        adapting = set(sorted({utterance.speaker for utterance in pool})[::2])
        test = [utterance for utterance in pool if utterance.speaker not in adapting]
        old = [one for one in DataDir.read(data / "train_dev") if one.speaker not in adapting]
        pool = [utterance for utterance in pool if utterance.speaker in adapting]
    else:
        test, old = list(DataDir.read(heard / "test")), list(DataDir.read(data / "test"))
    return [Scenario("telephone", 0, sources / "all", pool, test, old, list(DataDir.read(data / "train_main")))]


def scenarios(
    corpus: str,
    data: Path,
    sources: Path,
    targets: int = 0,
    count: int = 3,
    on_development: bool = False,
    heard: Path | None = None,
) -> list[Scenario]:
    """All scenarios of a corpus.

    Args:
        targets: how many target speakers; 0 is all.
        count: folds of AN4.
        on_development: keep off the test speech.
        heard: folder of the target's speech over the telephone, where a channel is adapted to.

    Raises:
        InputError: the data are not prepared, or the corpus is unknown.
    """
    if not data.is_dir():
        raise InputError(Problem("the data are not prepared", data, remedy="run stages 0 and 1 first"))
    if corpus == "an4" and heard is not None:
        return telephone_channel(data, sources, heard, on_development)
    if corpus == "an4":
        choose = development_speakers if on_development else official_test_speakers
        return choose(data, sources, targets, count)
    if corpus in ("fsdd", "synthetic"):
        return development(data, sources, targets) if on_development else leave_one_out(data, sources, targets, heard)
    raise InputError(Problem(f"there is no corpus '{corpus}'", remedy="choose fsdd, an4 or synthetic"))
