"""Everything a user can get wrong ends in exit code 2, one clear error for each problem, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechnlp_tl.speech.data_dir import DataDir, Utterance
from tests.tiny import CONFIG, RATE, TinyCorpus, speak

ROOT = Path(__file__).parents[2]
TRAINED_BY = ("train", "adapt", "transcribe")


def refused(outcome, *said: str) -> None:
    """Exit code 2, no traceback, and problems on the error stream that say all of `said`."""
    assert outcome.code == 2, (outcome.code, outcome.out, outcome.err)
    assert "Traceback" not in outcome.err
    assert outcome.errors, outcome.out
    assert all(line.startswith("error: ") for line in outcome.errors), outcome.err
    for words in said:
        assert words in outcome.err, outcome.err


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four utterances of one speaker; `tmp_path/audio` holds their recordings."""
    generator = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    utterances = []
    for number in range(4):
        path = tmp_path / "audio" / f"me-{number}.wav"
        soundfile.write(path, speak(["asi", "mui"], 1.0, 120.0, generator), RATE)
        utterances.append(Utterance(path.stem, "me", str(path), "asi mui"))
    DataDir(utterances).write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def verbs(run, data: Path, tmp_path: Path, tiny_corpus: TinyCorpus, tiny_experiment: Path) -> dict[str, Callable]:
    """Each verb on `data`, to write into tmp_path/out."""
    config = tmp_path / "config.yaml"
    text = CONFIG.format(root=tiny_corpus.root).replace(f"{tiny_corpus.root}/train", str(data))
    config.write_text(text.replace("epochs: 10", "epochs: 1"), encoding="utf-8")
    model, out = ("--model", tiny_experiment), ("--out", tmp_path / "out")
    return {
        "train": lambda *more: run("train", config, *out, "--quiet", *more),
        "adapt": lambda *more: run("adapt", *model, "--data", data, *out, "--set", "steps=1", *more),
        "transcribe": lambda *more: run("transcribe", *model, "--data", data, *out, *more),
        "validate": lambda *more: run("data", "validate", data, *more),
    }


def nothing_written(tmp_path: Path) -> bool:
    """Neither the output nor a temporary of it."""
    return {path.name for path in tmp_path.iterdir()} <= {"audio", "data", "config.yaml", "marker"}


# Audio.


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE), RATE)


def no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def stereo(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, np.stack([samples, samples], axis=1), RATE)


def other_rate(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 2 * RATE)


def shorten(path: Path) -> None:
    fields = (
        "sample_count -i 8000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s26 pcm,embedded-shorten-v2.00\n"
    )
    path.write_bytes(f"NIST_1A\n   1024\n{fields}end_head\n".encode().ljust(1024) + b"ajkg" + bytes(4000))


def not_finite(path: Path) -> None:
    samples, _ = soundfile.read(path)
    samples[100] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


BAD_AUDIO: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "does not exist"),
    "truncated": (truncate, "truncated"),
    "silent": (silence, "silent"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "without samples": (no_samples, "no samples"),
    "stereo": (stereo, "2 channels"),
    "wrong rate": (other_rate, "16000 Hz"),
    "shorten": (shorten, "shorten"),
    "not audio": (lambda path: path.write_text("these are words\n" * 100), "not audio"),
    "not finite": (not_finite, "not numbers"),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
@pytest.mark.parametrize("verb", TRAINED_BY)
def test_bad_audio_is_named_before_anything_is_computed(verbs, data: Path, tmp_path: Path, verb: str, kind: str):
    spoil, said = BAD_AUDIO[kind]
    spoil(tmp_path / "audio" / "me-1.wav")
    spoil(tmp_path / "audio" / "me-3.wav")
    outcome = verbs[verb]()
    refused(outcome, said, "me-1.wav", "me-3.wav")
    assert len(outcome.errors) == 2, "each bad file once, good ones never"
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_validate_finds_bad_audio_and_says_where(verbs, data: Path, tmp_path: Path, kind: str):
    spoil, said = BAD_AUDIO[kind]
    spoil(tmp_path / "audio" / "me-1.wav")
    outcome = verbs["validate"]()
    assert outcome.code == 2
    (finding,) = [line for line in outcome.out.splitlines() if line.startswith("error")]
    assert f"{data}/wav.scp:2: " in finding
    assert said in finding
    assert "1 errors" in outcome.out


@pytest.mark.parametrize("kind", sorted(BAD_AUDIO))
def test_a_bad_recording_is_named(run, data: Path, tmp_path: Path, tiny_experiment: Path, kind: str):
    good, bad = tmp_path / "audio" / "me-0.wav", tmp_path / "audio" / "me-1.wav"
    spoil, said = BAD_AUDIO[kind]
    spoil(bad)
    outcome = run("transcribe", "--model", tiny_experiment, good, bad)
    refused(outcome, said, str(bad))
    assert str(good) not in outcome.err
    assert outcome.out == ""


def test_a_recording_shorter_than_a_frame_is_named(run, tmp_path: Path, tiny_experiment: Path):
    soundfile.write(tmp_path / "click.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 80), RATE)
    refused(run("transcribe", "--model", tiny_experiment, tmp_path / "click.wav"), "click.wav", "10 ms")


def test_audio_of_another_rate_is_converted_when_that_is_asked_for(verbs, tmp_path: Path):
    other_rate(tmp_path / "audio" / "me-1.wav")
    assert verbs["transcribe"]("--resample").code == 0
    assert len((tmp_path / "out").read_text().splitlines()) == 4
    (tmp_path / "out").unlink()
    assert verbs["adapt"]("--resample").code == 0


# The text files of a data directory.


def swap_lines(text: str) -> str:
    first, second, *rest = text.splitlines(keepends=True)
    return "".join([second, first, *rest])


BAD_FILES: dict[str, tuple[str, Callable[[str], str], tuple[str, ...]]] = {
    "unsorted": ("text", swap_lines, ("text:2: ", "not sorted")),
    "duplicated": ("text", lambda text: text.splitlines(keepends=True)[0] + text, ("text:2: ", "stands already")),
    "contradicted": ("text", lambda text: "me-0 sam\n" + text, ("text:2: ", "other content")),
    "without audio": ("text", lambda text: text + "me-9 asi\n", ("text:5: ", "me-9", "no audio")),
    "without transcript": ("text", lambda text: text.replace("me-2 asi mui\n", ""), ("me-2 has no transcript",)),
    "without speaker": ("utt2spk", lambda text: text.replace("me-2 me\n", ""), ("me-2 has no speaker",)),
    "empty transcript": ("text", lambda text: text.replace("me-2 asi mui", "me-2"), ("text:3: ", "empty transcript")),
    "Windows line ends": ("text", lambda text: text.replace("\n", "\r\n"), ("text:1: ", "Windows line ends")),
    "byte-order mark": ("utt2spk", lambda text: "\ufeff" + text, ("utt2spk:1: ", "byte-order mark")),
    "tabs": ("text", lambda text: text.replace("me-1 ", "me-1\t"), ("text:2: ", "tabs")),
    "a pipe": ("wav.scp", lambda text: text.replace("me-1.wav", "me-1.wav | tee marker |"), ("wav.scp:2: ", "command")),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_files_are_named_by_line(verbs, data: Path, tmp_path: Path, kind: str):
    name, spoil, said = BAD_FILES[kind]
    before = (data / name).read_text(encoding="utf-8")
    (data / name).write_bytes(spoil(before).encode())
    for verb in TRAINED_BY:
        refused(verbs[verb](), str(data), *said)
    outcome = verbs["validate"]()
    assert outcome.code == 2
    assert all(words in outcome.out for words in said), outcome.out
    assert nothing_written(tmp_path)


def test_all_problems_are_listed_at_once(verbs, data: Path, tmp_path: Path):
    (data / "text").write_text(swap_lines((data / "text").read_text()) + "me-9 asi\n")
    (tmp_path / "audio" / "me-0.wav").unlink()
    refused(verbs["adapt"](), "not sorted", "me-9", "me-0.wav does not exist")


@pytest.mark.parametrize("verb", TRAINED_BY)
def test_commands_in_data_run_only_when_allowed(verbs, data: Path, tmp_path: Path, verb: str):
    audio = tmp_path / "audio" / "me-1.wav"
    entry = f"touch {tmp_path}/marker; cat {audio} |"
    (data / "wav.scp").write_text((data / "wav.scp").read_text().replace(str(audio), entry))
    refused(verbs[verb](), "wav.scp:2", "--allow-pipes")
    assert not (tmp_path / "marker").exists()
    allowed = verbs[verb]("--allow-pipes")
    assert allowed.code == 0, allowed.err
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_a_transcript_too_long_for_its_audio_is_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "text").write_text((data / "text").read_text().replace("me-1 asi mui", "me-1" + " asi" * 40))
    refused(verbs[verb](), "me-1", "40 words", "240 frames")
    assert nothing_written(tmp_path)
    assert "too long for" in verbs["validate"]().out


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_words_without_pronunciation_are_all_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "text").write_text((data / "text").read_text().replace("asi mui", "asi yes no"))
    outcome = verbs[verb]()
    refused(outcome, "yes", "no", "lexicon")
    assert "asi" not in outcome.err
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("verb", [*TRAINED_BY, "validate"])
def test_a_data_directory_that_is_none_is_named(verbs, data: Path, tmp_path: Path, verb: str):
    (data / "wav.scp").unlink()
    refused(verbs[verb](), str(data), "no wav.scp")
    shutil.rmtree(data)
    refused(verbs[verb](), str(data), "does not exist")
    assert nothing_written(tmp_path)


def test_adaptation_data_without_transcripts_need_unsupervised(verbs, data: Path, tmp_path: Path):
    (data / "text").unlink()
    refused(verbs["adapt"](), "me-0", "me-3", "--unsupervised")
    refused(verbs["train"](), "me-0", "no transcript")
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("option", ["--test-data", "--source-data"])
def test_bad_data_to_measure_on_is_found_before_adapting(verbs, data: Path, tmp_path: Path, option: str):
    refused(verbs["adapt"](option, tmp_path / "nowhere"), "nowhere")
    other = tmp_path / "data" / "other"
    shutil.copytree(data, other)
    (other / "text").unlink()
    refused(verbs["adapt"](option, other), str(other), "no transcript")
    assert nothing_written(tmp_path)


# Models, adapters and checkpoints.


@pytest.fixture
def model(tmp_path: Path, tiny_experiment: Path) -> Path:
    """A copy of the trained model, to be damaged."""
    return Path(shutil.copytree(tiny_experiment / "model", tmp_path / "model"))


def scramble(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)) * 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated weights": ("model.safetensors", truncate, "model.safetensors: is damaged"),
    "weights that are none": ("model.safetensors", scramble, "model.safetensors: is damaged"),
    "missing weights": ("model.safetensors", Path.unlink, "has no model.safetensors"),
    "missing lexicon": ("lexicon.txt", Path.unlink, "has no lexicon.txt"),
    "scrambled lexicon": ("lexicon.txt", scramble, "lexicon.txt: is not UTF-8"),
    "lexicon of another model": ("lexicon.txt", lambda path: path.write_text("yes Y EH S\n"), "lexicon.txt"),
    "scrambled config": ("config.yaml", scramble, "config.yaml: is not UTF-8"),
    "truncated config": ("config.yaml", truncate, "config.yaml"),
    "config of another size": (
        "config.yaml",
        lambda path: path.write_text(path.read_text().replace("width: 32", "width: 48")),
        "model.safetensors: tensor",
    ),
    "tokens of another model": (
        "tokens.txt",
        lambda path: path.write_text("SIL\t0\t0\n"),
        "tokens.txt: does not match",
    ),
    "scrambled tokens": ("tokens.txt", scramble, "tokens.txt"),
    "truncated language model": ("lm.arpa", truncate, "lm.arpa"),
    "scrambled language model": ("lm.arpa", scramble, "lm.arpa"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_model_is_named(run, model: Path, data: Path, tmp_path: Path, kind: str):
    name, spoil, said = DAMAGE[kind]
    spoil(model / name)
    refused(run("transcribe", "--model", model, "--data", data), said)
    refused(run("adapt", "--model", model, "--data", data, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["adapt", "transcribe", "merge"])
def test_a_folder_that_is_no_model_is_named(run, data: Path, tmp_path: Path, verb: str):
    more = ("--out", tmp_path / "out") if verb == "merge" else ("--data", data, "--out", tmp_path / "out")
    refused(run(verb, "--model", tmp_path / "nowhere", *more), "nowhere: there is no such model folder")
    refused(run(verb, "--model", data, *more), f"{data}: has no config.yaml, so it is no model")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "experiment.yaml").write_text("kind: asr\n")
    refused(run(verb, "--model", unfinished, *more), "training has not finished")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def adapter(run, model: Path, data: Path, tmp_path: Path) -> Path:
    out = tmp_path / "adapter"
    outcome = run("adapt", "--model", model, "--data", data, "--out", out, "--method", "lhuc", "--set", "steps=2")
    assert outcome.code == 0, outcome.err
    return out


def test_an_adapter_and_a_model_that_do_not_belong_together_are_told_apart(
    run, adapter: Path, model: Path, data: Path, tmp_path: Path
):
    merged = tmp_path / "merged"
    assert run("merge", "--model", adapter, "--out", merged).code == 0
    hashes = "the adapter belongs to the base model "
    for verb in (("transcribe", "--data", data), ("merge", "--out", tmp_path / "out")):
        refused(run(*verb, "--model", adapter, "--base", merged), str(adapter), hashes, "but this one is")
        refused(run(*verb, "--model", adapter, "--base", adapter), "is an adapter, not a base model")
        refused(run(*verb, "--model", model, "--base", merged), "is no adapter")
    refused(run("merge", "--model", model, "--out", tmp_path / "out"), "no adapter to merge")
    refused(run("adapt", "--model", adapter, "--data", data, "--out", tmp_path / "out"), "is an adapter")
    model.rename(tmp_path / "moved")
    refused(run("transcribe", "--model", adapter, "--data", data), str(model), "--base")
    assert run("transcribe", "--model", adapter, "--data", data, "--base", tmp_path / "moved").code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.yaml"])
def test_a_damaged_adapter_is_named(run, adapter: Path, data: Path, name: str):
    for spoil in (truncate, scramble):
        spoil(adapter / name)
        refused(run("transcribe", "--model", adapter, "--data", data), name)


def test_training_does_not_resume_from_a_damaged_checkpoint(verbs, tmp_path: Path):
    out = tmp_path / "out"
    assert verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1").code == 0
    shutil.rmtree(out / "model")
    *_, last = sorted((out / "checkpoints").iterdir())
    truncate(last / "model.safetensors")
    again = verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1")
    refused(again, str(last), "model.safetensors", f"remove {last}")
    shutil.rmtree(last)
    mended = verbs["train"]("--set", "train.epochs=2", "--set", "train.checkpoint_every=1")
    assert mended.code == 0, mended.err
    assert (out / "model" / "config.yaml").is_file()


# Corpora.


def evil_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../climbed"))


def half_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for number in range(20):
            (path.parent / "noise").write_bytes(np.random.default_rng(number).bytes(5000))
            tar.add(path.parent / "noise", f"an4/file{number}")
        (path.parent / "noise").unlink()
    truncate(path)


@pytest.mark.parametrize(("make", "said"), [(evil_archive, "climbs out"), (half_archive, "damaged")])
def test_a_damaged_or_evil_download_leaves_nothing(tmp_path: Path, make: Callable[[Path], None], said: str):
    archive = tmp_path / "an4_sphere.tar.gz"
    make(archive)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "deep" / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "data_prep.an4", "--corpus-dir", str(archive), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"error: {archive}" in done.stderr
    assert said in done.stderr
    assert archive.is_file(), "the user's own file is never removed"
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {archive.name}
    assert all(name.endswith(".lock") for name in left), left


# The disk and the places of results.


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 2000, 30_000], ids=["nothing fits", "small files fit", "all but weights fit"])
@pytest.mark.parametrize("method", ["finetune", "lora"])
def test_a_full_disk_leaves_no_half_adapted_model(verbs, tmp_path: Path, size: int, method: str):
    with full_disk(size):
        outcome = verbs["adapt"]("--method", method)
    refused(outcome, "cannot be written", "out")
    assert nothing_written(tmp_path)
    assert verbs["adapt"]("--method", method).code == 0, "once there is room it works"


def test_a_full_disk_keeps_the_old_hypotheses(verbs, tmp_path: Path):
    assert verbs["transcribe"]().code == 0
    before = tree(tmp_path)
    with full_disk(10):
        refused(verbs["transcribe"]("--resample"), "cannot be written", str(tmp_path / "out"))
    assert tree(tmp_path) == before


def test_training_goes_on_after_the_disk_was_full(verbs, tmp_path: Path):
    with full_disk(20_000):
        refused(verbs["train"](), "cannot be written", "checkpoints")
    assert not (tmp_path / "out" / "model").exists()
    assert not [path for path in tmp_path.rglob("*.tmp")]
    again = verbs["train"]()
    assert again.code == 0, again.err


def test_merging_on_a_full_disk_leaves_nothing(run, adapter: Path, tmp_path: Path):
    with full_disk(20_000):
        refused(run("merge", "--model", adapter, "--out", tmp_path / "merged"), "cannot be written")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("verb", ["train", "adapt"])
def test_what_lies_in_the_output_folder_is_never_touched(verbs, tmp_path: Path, verb: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    refused(verbs[verb](), str(tmp_path / "out"), "choose another --out")
    assert tree(tmp_path / "out") == {"thesis.txt": b"years of work"}
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    refused(verbs[verb](), str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a file"


def test_merging_and_splitting_keep_what_lies_in_the_output_folder(run, adapter: Path, data: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    refused(run("merge", "--model", adapter, "--out", tmp_path / "out"), "exists already")
    refused(
        run("data", "split", data, "--out", tmp_path / "out", "--by", "budget", "--utterances", 1), "exists already"
    )
    assert tree(tmp_path / "out") == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("verb", ["train", "adapt", "transcribe"])
def test_an_output_below_a_file_is_refused(verbs, tmp_path: Path, verb: str):
    (tmp_path / "marker").write_text("a file")
    refused(verbs[verb]("--out", tmp_path / "marker" / "deep"), "marker")


def test_a_changed_config_does_not_continue_another_experiment(verbs, tmp_path: Path):
    assert verbs["train"]().code == 0
    before = tree(tmp_path / "out")
    refused(verbs["train"]("--set", "train.learning_rate=0.1"), "another config", "learning_rate: 0.1")
    assert tree(tmp_path / "out") == before


def test_a_config_that_failed_can_be_corrected_and_run_into_the_same_folder(verbs, tmp_path: Path):
    refused(verbs["train"]("--set", "data.lexicon=nowhere"), "nowhere")
    assert verbs["train"]().code == 0


# Configurations and arguments.

BAD_CONFIGS = {
    "unknown key": ("encoder: {widht: 3}", (":1: ", "unknown key 'encoder.widht'", "did you mean 'width'?")),
    "unknown section": ("trian: {epochs: 1}", (":1: ", "unknown key 'trian'", "did you mean 'train'?")),
    "wrong value": ("batch_seconds: -3", (":1: ", "batch_seconds", "got -3")),
    "wrong type": ("cache_mb: [much]", ("cache_mb",)),
    "missing keys": ("kind: asr", ("key 'data' is missing", "key 'train' is missing")),
    "not YAML": ("train: {epochs: 1", ("is not valid YAML",)),
    "a list": ("- train", ("must hold 'key: value' lines",)),
    "twice the same key": ("kind: asr\nkind: asr", (":2: ", "stands twice")),
    "code": ("kind: !!python/object/apply:os.system [true]", ("is not valid YAML",)),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_bad_training_config_is_explained(run, tmp_path: Path, kind: str):
    text, said = BAD_CONFIGS[kind]
    (tmp_path / "bad.yaml").write_text(text)
    refused(run("train", tmp_path / "bad.yaml", "--out", tmp_path / "out"), str(tmp_path / "bad.yaml"), *said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.learning_rat=1", "did you mean 'learning_rate'?"),
        ("train.epochs", "not of the form key=value"),
        ("train.epochs=many", "train.epochs"),
        ("train.steps=3", "exactly one of 'epochs' and 'steps'"),
        ("data.arpa=nowhere.arpa", "nowhere.arpa"),
        ("data.dev=nowhere", "nowhere"),
        ("train.metric=accuracy", "did you mean 'wer'?"),
    ],
)
def test_a_bad_override_is_explained(verbs, override: str, said: str):
    refused(verbs["train"]("--set", override), said)


def test_a_missing_config_is_named(run, tmp_path: Path):
    refused(run("train", tmp_path / "none.yaml", "--out", tmp_path / "out"), "none.yaml: cannot be read")


BAD_METHODS = {
    "a misspelt method": (("--method", "finetun"), "did you mean 'finetune'?"),
    "a misspelt part": (("--method", "layers+kdl"), "did you mean 'kld'?"),
    "nothing near": (("--method", "magic"), "known are auto, finetune, layers, lhuc, lin, lora, kld, l2sp, ewc"),
    "two ways of training": (("--method", "lora+lhuc"), "lora and lhuc cannot be combined"),
    "a part twice": (("--method", "kld+kld"), "named twice"),
    "ewc without source data": (("--method", "ewc"), "--source-data"),
    "ewc on an adapter": (("--method", "lora+ewc"), "take kld or l2sp"),
    "dann without source data": (("--method", "dann"), "dann compares the audio with transcribed source speech"),
    "two terms of one kind": (("--method", "dann+mmd"), "dann and mmd cannot be combined"),
    "transcripts and audio alone": (("--method", "adabn+kld"), "take adabn alone"),
    "hypotheses and audio alone": (("--method", "adabn", "--unsupervised"), "leave --unsupervised or the method out"),
    "selecting without looking at words": (("--method", "adabn", "--select"), "leave --select out"),
    "a misspelt domain setting": (("--set", "domain.wieght=1"), "did you mean 'weight'?"),
    "a misspelt setting": (("--set", "kdl=0.5"), "did you mean 'kld'?"),
    "a setting out of range": (("--set", "kld=1.5"), "less than or equal to 1"),
    "a misspelt layer setting": (("--set", "layers.cpoy=first:1"), "did you mean 'copy'?"),
    "layers that there are not": (("--method", "layers", "--set", "layers.copy=first:99"), "from 0 to"),
    "an unknown layer": (("--method", "layers", "--set", "layers.copy=layer9"), "no layer 'layer9'"),
    "nothing left to train": (("--method", "layers", "--set", "layers.copy=all"), "nothing is left to train"),
    "a missing config": (("--config", "none.yaml"), "none.yaml: cannot be read"),
    "selecting without transcripts": (("--select", "--unsupervised"), "leave --select out"),
}


@pytest.mark.parametrize("kind", BAD_METHODS)
def test_a_bad_adaptation_is_explained(verbs, tmp_path: Path, kind: str):
    arguments, said = BAD_METHODS[kind]
    refused(verbs["adapt"](*arguments), said)
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("adapt", "--methd", "kld"), "--methd"),
        (("trian", "x.yaml"), "trian"),
        (("train",), "argument 'config'"),
        (("transcribe",), "--model"),
    ],
)
def test_unknown_options_and_verbs_are_usage_errors(run, arguments: tuple[str, ...], said: str):
    outcome = run(*arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_transcribe_wants_one_kind_of_input(run, data: Path, tiny_experiment: Path):
    refused(run("transcribe", "--model", tiny_experiment), "either recordings or --data")
    refused(run("transcribe", "--model", tiny_experiment, "a.wav", "--data", data), "either recordings or --data")


# The process.


def shell(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speechnlp_tl.cli", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_the_shell_sees_exit_code_two_and_one_line(tmp_path: Path):
    done = shell("data", "validate", tmp_path / "none")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"error: {tmp_path / 'none'}: data directory does not exist; check the path"
    assert done.stdout == ""


def test_debug_shows_where_an_error_was_raised(tmp_path: Path):
    done = shell("--debug", "data", "validate", tmp_path / "none")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_an_interruption_says_how_to_go_on(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from speechnlp_tl.speech import experiment

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "load_experiment", interrupted)
    (tmp_path / "x.yaml").write_text("data: {}\n")
    outcome = run("train", tmp_path / "x.yaml", "--out", tmp_path / "out")
    assert outcome.code == 130
    assert outcome.err.strip() == "interrupted; run the same command again to go on where it stopped"


def test_confidences_do_not_become_words_of_a_text_file(verbs, tmp_path: Path):
    refused(verbs["transcribe"]("--confidence"), "--confidence", "--out")
    assert not (tmp_path / "out").exists()
