"""What a data directory holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from speechnlp_tl.speech.audio import audio_info
from speechnlp_tl.speech.data_dir import DataDir

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


def stats(data: DataDir, allow_pipes: bool = False) -> dict[str, Any]:
    """Counts, seconds and hours, words, sampling rates and percentiles of the utterances' durations in seconds.

    Raises:
        InputError: the header of a recording cannot be read.
    """
    import numpy as np

    durations = [data.duration(utterance, allow_pipes) for utterance in data]
    words = Counter(word for utterance in data for word in utterance.words)
    rates = Counter(audio_info(audio, allow_pipes)[0] for audio in sorted({utterance.audio for utterance in data}))
    return {
        "utterances": len(data),
        "speakers": len(data.by_speaker()),
        "recordings": rates.total(),
        "seconds": round(sum(durations), 3),
        "hours": round(sum(durations) / 3600, 4),
        "words": words.total(),
        "vocabulary": len(words),
        "languages": sorted({utterance.language for utterance in data if utterance.language}),
        "rates": {str(rate): count for rate, count in sorted(rates.items())},
        "duration_percentiles": {
            str(p): round(float(np.percentile(durations, p)), 3) for p in PERCENTILES if len(durations)
        },
    }
