"""RESULTS.md: what is claimed, whether it holds, what was measured. `python benchmarks/_report.py` renders it anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from _harness import HERE, RESULTS

from speechnlp_tl.atomic import write_text
from speechnlp_tl.evaluation.results import Record, TableSpec, environment, read_results, render_results


@dataclass(frozen=True)
class Claim:
    """A promise and the records that keep or break it; the worst of them counts."""

    text: str
    benchmark: str
    metric: str
    limit: float
    at_most: bool = True
    unit: str = ""
    budget: str = ""
    """Beginning of the budgets that it speaks of; empty for all."""

    def row(self, records: Sequence[Record]) -> str:
        sign = "≤" if self.at_most else "≥"
        values = self._values(records)
        if not values:
            return f"| {self.text} | {sign} {self.limit:g}{self.unit} | – | not measured |"
        worst = max(values) if self.at_most else min(values)
        holds = worst <= self.limit if self.at_most else worst >= self.limit
        return f"| {self.text} | {sign} {self.limit:g}{self.unit} | {worst:.3g}{self.unit} | {_verdict(holds)} |"

    def _values(self, records: Sequence[Record]) -> list[float]:
        if self.metric == "peak_mb":
            own = {claim.benchmark for claim in CLAIMS if claim.metric == "peak_mb"}
            return [
                record.peak_mb
                for record in records
                if record.peak_mb is not None and (record.recipe if record.recipe in own else "") == self.benchmark
            ]
        asked = [record for record in records if (record.recipe, record.metric) == (self.benchmark, self.metric)]
        return [record.value for record in asked if str(record.budget or "").startswith(self.budget)]


def _verdict(holds: bool) -> str:
    return "yes" if holds else "**no**"


HMM, CTC_GRAPH, CTC_LOSS = "full_sum, HMM graphs", "full_sum, CTC graphs", "torch ctc_loss"
SHAPES = ((8, 60, 30), (16, 150, 80), (32, 400, 200))
TEN_RATIO = "ratio over ten epochs"
LU_SECONDS, LU_RATIO = "seconds, plain LU", "plain LU over ours"
MSDA_CPU, LU_CPU, LU_PEAK = "CPU seconds", "CPU seconds, plain LU", "peak MB, plain LU"
MSDA_BLOCKS = "seconds, by blocks"
DANN_RATIO, DANN_CPU_RATIO, DANN_FIRST_RATIO = "ratio", "ratio of CPU time", "ratio of one epoch"
TABLE_SECONDS, TABLE_CPU = "seconds", "CPU seconds"
ALIGN_SUPERVISED, ALIGN_FREE = "vecmap, supervised", "self-learning"
ALIGN_SUPERVISED_S, ALIGN_FREE_S = "seconds, supervised", "seconds, self-learning"
ALIGN_OURS, ALIGN_GENSIM = "least squares and neighbours", "TranslationMatrix of gensim"
ALIGN_PEER_SECONDS, ALIGN_PEER_RATIO = "seconds, gensim", "gensim over ours"
CSLS_EXACT, CSLS_RATIO, CSLS_CPU_RATIO = "exact, means of all targets", "ratio", "ratio of CPU time"
CSLS_SECONDS, CSLS_BARE, CSLS_BARE_HALF = "seconds", "seconds, bare products", "seconds, bare products in bfloat16"
CSLS_AGREEMENT, CSLS_AGREEMENT_10 = "agreement, %", "agreement of the 10 best, %"
CSLS_FASTEST = "seconds at 99 %"
TRANSLATION_OURS, TRANSLATION_BARE = "TranslationTask and Trainer", "bare PyTorch loop"
TRANSLATION_HF, TRANSLATION_GENERATE = "transformers' Trainer, Marian", "transformers' generate, M2M-100"
TRANSLATION_BEAM = "beam search"
TRANSLATION_PIECES, TRANSLATION_SENTENCES, TRANSLATION_BLEU = "target pieces per second", "sentences per second", "BLEU"
TRANSLATION_OVERHEAD, TRANSLATION_HF_RATIO = "overhead of training", "ratio of training"
TRANSLATION_SEARCH_RATIO = "ratio of search"
LANGUAGES_EIGHT, LANGUAGES_NINE = "eight languages", "nine languages"
LANGUAGES_ONE, LANGUAGES_ABSENT = "one language, one head", "one language, nine heads"
LANGUAGES_SECONDS, LANGUAGES_RATIO = "seconds of an epoch", "nine over eight"
LANGUAGES_ABSENT_RATIO = "nine heads over one"
AMD_USUAL, AMD_PRELOADED, AMD_RATIO = "as it is", "with AVX-512 products", "ratio"
AMD_PRODUCTS, AMD_TRAINING = "products of 1024 x 1024", "training"
FREED_KEPT, FREED_BACK, FREED_RATIO = "kept", "handed back", "ratio"
PACKED, PADDED, PACKED_RATIO = "packed", "padded", "packed over padded"
COMMAND, IN_PROCESS = "whole command", "in a running process"


def shape_name(shape: Sequence[int], threads: int) -> str:
    return f"{' x '.join(str(size) for size in shape)}, {threads} thread{'s' * (threads > 1)}"


_DANN = ("dann_skada", DANN_RATIO, 3, False, " x")
_TRANSLATION, _LANGUAGES = ("translation_speed",), ("multilingual_speed",)
CLAIMS = (
    Claim("Full-sum loss against `ctc_loss` of PyTorch, time", "full_sum", "ratio", 3, unit=" x"),
    Claim("Trainer against a bare PyTorch loop, overhead", "trainer_overhead", "overhead", 5, unit=" %"),
    Claim("Training against SpeechBrain's CTC recipe, throughput", "speechbrain_ctc", TEN_RATIO, 1, False, " x"),
    Claim("`adapt` to an FSDD speaker, 10 utterances", "adaptation_time", "seconds", 20, unit=" s"),
    Claim("`transcribe` on one core, times real time", "transcription_speed", "times real time", 100, False, " x"),
    Claim("mSDA of a pair of domains, 5 layers of 5000 features", "msda", "seconds", 12, unit=" s"),
    Claim("DANN against skada's, documents per second, steps of 32 + 32", *_DANN, budget="32 +"),
    Claim("DANN against skada's, documents per second, steps of 64 + 64", *_DANN, budget="64 +"),
    Claim("DANN against skada's, documents per second, steps of 128 + 128", *_DANN, budget="128 +"),
    Claim("DANN on all 12 pairs of Amazon domains", "twelve_tasks", TABLE_SECONDS, 180, unit=" s"),
    Claim(
        "Alignment of 200,000 words with a dictionary, all steps", "alignment_speed", ALIGN_SUPERVISED_S, 30, unit=" s"
    ),
    Claim("Self-learning at 20,000 words, no dictionary", "alignment_speed", ALIGN_FREE_S, 600, unit=" s"),
    Claim("Exact CSLS among 200,000 words against the bare matrix products, time", "csls", CSLS_RATIO, 1.3, unit=" x"),
    Claim("CSLS translation of 1500 words at 99 % agreement, the fastest", "csls", CSLS_FASTEST, 30, unit=" s"),
    Claim(
        "Translation: trainer against a bare PyTorch loop, overhead", *_TRANSLATION, TRANSLATION_OVERHEAD, 5, unit=" %"
    ),
    Claim("Translation: trainer against transformers' `Trainer`", *_TRANSLATION, TRANSLATION_HF_RATIO, 1, False, " x"),
    Claim(
        "Translation: search against transformers' `generate`",
        *_TRANSLATION,
        TRANSLATION_SEARCH_RATIO,
        1.5,
        False,
        " x",
    ),
    Claim("The ninth language beside eight, time of the same speech", *_LANGUAGES, LANGUAGES_RATIO, 1.125, unit=" x"),
    Claim("Eight heads that a step does not use, time", *_LANGUAGES, LANGUAGES_ABSENT_RATIO, 1.05, unit=" x"),
    Claim("Utterances of different length, packed against padded, time", "packing", PACKED_RATIO, 0.9, unit=" x"),
    Claim(
        "AMD: training with MKL's AVX-512 products against without",
        "amd_products",
        AMD_RATIO,
        1.3,
        False,
        " x",
        budget=AMD_TRAINING,
    ),
    Claim(
        "Training on a CPU that keeps what it frees against one that does not",
        "freed_memory",
        FREED_RATIO,
        1,
        False,
        " x",
    ),
    Claim("`speechnlp-tl --help`", "startup", "seconds", 0.5, unit=" s"),
    Claim("Peak memory of CSLS among 200,000 words", "csls", "peak_mb", 4000, unit=" MB"),
    Claim("Peak memory of aligning 200,000 words", "alignment_speed", "peak_mb", 4000, unit=" MB"),
    Claim("Peak memory of each of the others", "", "peak_mb", 2000, unit=" MB"),
)

TABLES = (
    TableSpec(
        "Full-sum loss",
        rows=("budget", "system"),
        where={"recipe": "full_sum"},
        row_order=[shape_name(shape, threads) for threads in (1, 2) for shape in SHAPES],
        text="Forward and backward pass, log-softmax included. Batch x frames x states or labels; 80 pdfs. `ratio` is "
        "the time over that of `ctc_loss` with as many labels as the HMM has states, in the same rounds. `ctc_loss` "
        "walks through 2 S + 1 states; on CTC graphs full_sum does exactly the same computation, and the two agree.",
    ),
    TableSpec(
        "Trainer overhead",
        rows=("corpus", "system"),
        where={"recipe": "trainer_overhead"},
        decimals=1,
        text="One epoch through `AsrTask` and `Trainer` (progress, metrics, TensorBoard, a checkpoint at the end) "
        "against a plain loop over the same batches, collated in memory. Both end with the same weights.",
    ),
    TableSpec(
        "SpeechBrain",
        where={"recipe": "speechbrain_ctc"},
        text="The same encoder, batches and optimiser. First epoch: audio is read and features are computed by both. "
        "Later epochs: we have them in memory, SpeechBrain's recipe computes them again. `ratio`: our throughput over "
        "SpeechBrain's.",
    ),
    TableSpec("Adaptation", rows=("corpus", "budget", "system"), where={"recipe": "adaptation_time"}),
    TableSpec(
        "Transcription",
        rows=("corpus", "system"),
        where={"recipe": "transcription_speed"},
        decimals=0,
        text="Reading, features, network and search. The whole command also starts Python and loads the model.",
    ),
    TableSpec(
        "Marginalised denoising autoencoders",
        rows=("corpus", "budget"),
        where={"recipe": "msda"},
        decimals=1,
        text="Fit and features of the same rows. The plain version is dense float64 with `numpy.linalg.solve`, the "
        "equations as they are printed; both give the same features. Its memory is that of one layer. CPU seconds are "
        "those of all threads together.",
    ),
    TableSpec(
        "DANN against skada",
        rows=("corpus", "budget", "system"),
        where={"recipe": "dann_skada"},
        text="The same networks, batches (in the recipe 32 labelled and 32 unlabelled reviews) and SGD: on the same "
        "batches both make the same weights. skada's own domain classifier has no gradient; it is given one that "
        "works. Whole fits from the counts on; `ratio`: our documents per second over skada's in the same rounds. What "
        "a step of ours costs is mostly the number of its operations, one of theirs its dense rows.",
    ),
    TableSpec(
        "Twelve tasks",
        rows=("corpus", "budget", "system"),
        where={"recipe": "twelve_tasks"},
        decimals=1,
        text="What the recipe runs for DANN with one seed on raw counts, for all ordered pairs of four domains: from "
        "the start of its command to the last prediction. `accuracy` is the mean over pairs in percent.",
    ),
    TableSpec(
        "Alignment",
        rows=("budget", "system"),
        where={"recipe": "alignment_speed"},
        text="Whole vocabularies normalised, aligned and mapped, from vectors in memory. gensim's TranslationMatrix "
        "learns least squares and finds nearest neighbours; beside it we do the same and find the same words. "
        "Self-learning has languages with half the noise: in the others it finds nothing.",
    ),
    TableSpec(
        "Translation",
        rows=("budget", "system"),
        where={"recipe": "translation_speed"},
        text="Transformers of 3 + 3 layers of 256 with 8000 pieces, on made sentences. Training: the same batches, in "
        "memory for all but ours, which makes them; the bare loop ends with the same weights. `ratio of training`: our "
        "speed over that of transformers' Trainer. Search: models that were trained on the same batches, the same "
        "sentences and as many together; `ratio of search`: our speed over that of `generate`. BLEU says that both "
        "translate, so that their outputs have the same length.",
    ),
    TableSpec(
        "Utterances of different length",
        rows=("budget", "system"),
        where={"recipe": "packing"},
        text="Forward and backward through a TDNN of 6 layers of 288.",
    ),
    TableSpec(
        "AMD processors",
        rows=("budget", "system"),
        where={"recipe": "amd_products"},
        text="One thread. The training is that of the table above, through `Trainer`. "
        "[docs/speed.md](../docs/speed.md) says how it is done.",
    ),
    TableSpec(
        "Freed memory",
        rows=("system",),
        where={"recipe": "freed_memory"},
        text="One thread, the training of the table above with batches of 800 tokens, through `Trainer`.",
    ),
    TableSpec(
        "CSLS",
        rows=("corpus", "budget", "system"),
        where={"recipe": "csls"},
        decimals=2,
        text="Translation by CSLS, neighbourhood means included, against the bare products: PyTorch's in "
        "float32, of all targets with all sources and of the words with all targets. We screen in bfloat16 where the "
        "processor has it and score what may be among the best again in float64, so the result is exact; the bare "
        "products in bfloat16 are beside it. `means of candidates`: also exact, but only the means of targets that "
        "can still be among the best are computed. Agreement is with the exact translations.",
    ),
    TableSpec(
        "Languages",
        rows=("budget", "system"),
        where={"recipe": "multilingual_speed"},
        text="An epoch of the same minutes of speech through `MultilingualTask` and `Trainer`, every language with a "
        "head of 40 phones.",
    ),
    TableSpec("Start", rows=("system",), where={"recipe": "startup"}),
)


def render(records: Sequence[Record]) -> str:
    claims = ["| claim | aim | measured | holds |", "| --- | ---: | ---: | --- |", *(c.row(records) for c in CLAIMS)]
    largest: dict[str, float] = {}
    for record in records:
        if record.peak_mb is not None:
            largest[record.recipe] = max(record.peak_mb, largest.get(record.recipe, 0.0))
    peaks = [f"{benchmark} {peak:.0f} MB" for benchmark, peak in largest.items()]
    prose = "## Claims\n\nThe worst case of each benchmark counts.\n\n" + "\n".join(claims)
    if peaks:
        prose += "\n\nPeak memory: " + ", ".join(peaks) + "."
    measured = {record.recipe for record in records}
    tables = [table for table in TABLES if table.where["recipe"] in measured]
    text = render_results(records, "Benchmarks", "make bench", environment(), tables, prose)
    return text.replace("\n| budget | system |", "\n| shape | system |")


if __name__ == "__main__":
    write_text(HERE / "RESULTS.md", render(read_results(RESULTS)))
