"""Can a model hear these recordings? Asked before anything is computed, so that hours are not lost at a bad file.

A whole data directory, its text files included, is checked by `data_checks`; here only the audio, against one model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import is_pipe, read_audio
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.features import FRAME_MS, FeatureConfig

SILENCE = 1e-4
"""Peak to peak of samples that say nothing: three steps of 16 bits, so that dither over silence is still silence."""


def check_audio(utterances: Sequence[Utterance], features: FeatureConfig) -> None:
    """Read every utterance as training would; the output of shell commands is left for when it is needed.

    Raises:
        InputError: audio that is missing, truncated, empty, silent, too short, of several channels or of another rate
            than the model's, each named once.
    """
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda utterance: _problems(utterance, features), utterances)
        problems = dict.fromkeys(problem for some in found for problem in some)
    if problems:
        raise InputError(problems)


def _problems(utterance: Utterance, features: FeatureConfig) -> list[Problem]:
    audio, start, end = utterance.audio, utterance.start, utterance.end
    if is_pipe(audio):
        return []
    try:
        samples = read_audio(audio, rate=features.rate, start=start, end=end, resample=features.resample)
    except InputError as error:
        return error.problems
    if len(samples) < features.rate * FRAME_MS / 1000:
        what = f"utterance {utterance.id} lasts {1000 * len(samples) / features.rate:.0f} ms, less than one frame"
        return [Problem(what, audio, remedy=f"leave it out: {FRAME_MS:.0f} ms are the least")]
    if float(samples.max() - samples.min()) < SILENCE:
        what = f"utterance {utterance.id} is silent: its samples are all the same"
        return [Problem(what, audio, remedy="record it again, or leave it out")]
    return []
