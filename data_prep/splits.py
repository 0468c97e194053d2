"""Splits that all corpora with known speakers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from speechnlp_tl.speech.data_dir import DataDir, Utterance

SOURCE_PARTS = ("train", "dev", "test")


def leave_one_out(speakers: Mapping[str, Mapping[str, Sequence[Utterance]]]) -> dict[str, DataDir]:
    """The data directories for adapting to each speaker in turn.

    Args:
        speakers: speaker -> part -> utterances. `train`, `dev` and `test` of a speaker share no audio; `pool` is what
            a target speaker may adapt with.

    Returns:
        `<speaker>/<part>` for every part, and `leave_out/<speaker>/train|dev|test` with those of all other speakers
        (none of the latter where there is one speaker only).
    """
    splits = {}
    for speaker, parts in speakers.items():
        for part, own in parts.items():
            splits[f"{speaker}/{part}"] = DataDir(own)
    for speaker in speakers if len(speakers) > 1 else ():
        for part in SOURCE_PARTS:
            others = [utterance for other in speakers if other != speaker for utterance in speakers[other][part]]
            splits[f"leave_out/{speaker}/{part}"] = DataDir(others)
    return splits
