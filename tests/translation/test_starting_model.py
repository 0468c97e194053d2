"""A model that gets a new language, keeps some of its layers, and is held to what it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.experiment import load_experiment, train
from speechnlp_tl.translation.inputs import encoder_input, padded
from speechnlp_tl.translation.starting_model import InitialConfig, conservative_terms, from_model
from speechnlp_tl.translation.subwords import SubwordConfig
from speechnlp_tl.translation.task import ROW_LOSS
from speechnlp_tl.translation.translation_model import load_translation_model
from tests.translation.conftest import say, sentences, text
from tests.translation.test_experiment import SMALL, config  # noqa: F401 - a fixture

NEW = SubwordConfig(size=40)


@pytest.fixture(scope="module")
def initial(tmp_path_factory):
    """Folder of a model of de, en and fr, and its training text."""
    folder = tmp_path_factory.mktemp("initial")
    files = {}
    for language, lines in text(count=60).items():
        files[language] = str(folder / language)
        (folder / language).write_text("".join(f"{line}\n" for line in lines))
    content = {
        "task": "translation", "data": {"train": [files]}, "subwords": {"size": 60}, "model": SMALL,
        "batch_tokens": 400, "train": {"steps": 4, "learning_rate": 3e-3, "tensorboard": False},
    }  # fmt: skip
    (folder / "conf.yaml").write_text(yaml.safe_dump(content))
    train(load_experiment(folder / "conf.yaml"), folder / "exp", quiet=True)
    return folder / "exp", files


@pytest.fixture
def czech(initial, tmp_path):
    """Writes a config that adds Czech to the initial model by Czech-English text."""
    folder, _ = initial

    def write(steps=4, **given):
        files = {}
        for language in ("cs", "en"):
            files[language] = str(tmp_path / f"new.{language}")
            lines = [say(each, language) for each in sentences(40, 5)]
            (tmp_path / f"new.{language}").write_text("".join(f"{line}\n" for line in lines))
        content = {
            "task": "translation", "data": {"train": [files], "dev": [files]}, "subwords": {"size": 40},
            "model": SMALL, "initial": {"model": str(folder), **given}, "batch_tokens": 400,
            "train": {"steps": steps, "learning_rate": 1e-2, "tensorboard": False, "log_every": 1},
        }  # fmt: skip
        (tmp_path / "new.yaml").write_text(yaml.safe_dump(content))
        return load_experiment(tmp_path / "new.yaml")

    return write


def shape(folder):
    return load_translation_model(folder).config.model


def begun(folder, **given):
    return from_model(InitialConfig(model=str(folder), **given), text(("cs", "en")), NEW, shape(folder), 0, ["de-en"])


def test_a_new_language_changes_no_logit_of_the_old_ones(initial):
    folder, _ = initial
    old, start = load_translation_model(folder), begun(folder)
    lines = [say(each, "de") for each in sentences(6, 3)]
    pieces = old.subwords.encode(lines)
    assert start.subwords.encode(lines, "de") == pieces
    source = padded([encoder_input(row, "de", "fr", old.subwords, "source") for row in pieces])
    target = padded([[2, *row] for row in pieces])
    languages = torch.full((len(pieces),), old.subwords.languages.index("fr"))
    with torch.no_grad():
        before = old.transformer.eval()(source, target, languages)
        after = start.transformer.eval()(source, target, languages)
    known = before.logits.shape[-1]
    assert after.logits.shape[-1] > known
    torch.testing.assert_close(after.logits[..., :known], before.logits, rtol=1e-6, atol=1e-6)
    assert torch.equal(after.pooled, before.pooled)


def test_a_model_learns_a_language_and_translates_it(initial, czech, tmp_path):
    trained = train(czech(), tmp_path / "exp", quiet=True)
    model = load_translation_model(trained.model_dir)
    assert model.config.languages == ["de", "en", "fr", "cs"]
    assert {"de-fr", "cs-en", "en-cs"} <= set(model.config.trained)
    assert set(trained.metrics) == {"cs-en_loss", "en-cs_loss", "loss"}
    line = say([1, 2, 3], "cs")
    found = model.translate([line], "de", source="cs").lines[0]
    assert not any(word.startswith("cs") for word in found.split())
    with pytest.raises(InputError, match="language of the lines is needed"):
        model.translate([line], "de")
    assert model.encode([line], "de", "cs").shape == (1, SMALL["width"])


@pytest.mark.parametrize(("given", "kept"), [({"layers": "first:1"}, {"embedding"}), ({"layers": "none"}, set())])
def test_only_the_named_layers_are_copied(initial, given, kept):
    folder, _ = initial
    start, all_of_it = begun(folder, **given), begun(folder)
    same = {
        name
        for (name, one), (_, other) in zip(
            start.transformer.layer_groups(), all_of_it.transformer.layer_groups(), strict=True
        )
        if all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    }
    assert same == kept
    assert [name for name, _ in start.transformer.layer_groups()] == ["embedding", "encoder.1", "decoder.1"]
    grouped = [id(p) for _, module in start.transformer.layer_groups() for p in module.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in start.transformer.parameters())


def test_frozen_layers_stay_as_they_are(initial, czech, tmp_path):
    folder, _ = initial
    trained = load_translation_model(train(czech(frozen="encoder.1"), tmp_path / "exp", quiet=True).model_dir)
    old = load_translation_model(folder)
    groups = [dict(each.transformer.layer_groups()) for each in (trained, old)]
    for name, same in (("encoder.1", True), ("decoder.1", False)):
        pairs = zip(*(group[name].parameters() for group in groups), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == same


@pytest.mark.parametrize("name", ["l2sp", "ewc"])
def test_a_penalty_is_zero_at_the_start_keeps_the_model_near_and_leaves_new_rows_free(initial, czech, tmp_path, name):
    folder, files = initial
    given = {"l2sp": {"l2sp": 1.0}, "ewc": {"ewc": 1e4, "ewc_text": [files], "ewc_rows": 30}}[name]
    start = begun(folder, **given)
    [term] = conservative_terms(InitialConfig(model=str(folder), **given), start, 0)
    assert term.name == name
    assert term(None, None).item() == 0
    old = start.initial.embedding.num_embeddings
    with torch.no_grad():
        start.transformer.embedding.weight[old:] += 1
    assert term(None, None).item() == 0
    with torch.no_grad():
        start.transformer.embedding.weight[old - 1] += 1
        start.transformer.encoder[0].feedforward[0].bias += 1
    assert term(None, None).item() > 0
    free, held = (train(czech(30, **each), tmp_path / str(len(each)), quiet=True) for each in ({}, given))

    def moved(trained) -> float:
        old, new = load_translation_model(folder).transformer, load_translation_model(trained.model_dir).transformer
        pairs = zip(old.encoder.parameters(), new.encoder.parameters(), strict=True)
        return sum(float((a - b).detach().square().sum()) for a, b in pairs)

    assert moved(held) < 0.5 * moved(free)


def test_posteriors_are_held_in_directions_that_the_initial_model_knows(initial, czech, tmp_path):
    folder, files = initial
    start = begun(folder, kld=0.5)
    [term] = conservative_terms(InitialConfig(model=str(folder), kld=0.5), start, 0)
    pieces = start.initial.embedding.num_embeddings
    assert term.pieces == pieces
    assert term.known.nonzero().tolist() == [[a, b] for a in range(3) for b in range(3) if a != b]
    random = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(3, 2, pieces + 5, generator=random) for _ in range(2))
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    # among the old languages; from the new one; into the new one
    domain, labels = torch.tensor([0, 3, 1]), torch.tensor([1, 1, 3])
    losses = {ROW_LOSS: torch.tensor([1.0, 20.0, 300.0])}
    steps = [Step(torch.zeros(()), logits, mask, losses, domain, labels) for logits in (ours, theirs)]
    expected = sum(
        (q * (q.log() - ours[0, place, :pieces].softmax(-1).log())).sum()
        for place in range(2)
        for q in [theirs[0, place, :pieces].softmax(-1)]
    )
    # rows of the new language keep all of their loss: half of it as the task's, and half here
    assert (term.weight, term.task_weight) == (0.5, 0.5)
    torch.testing.assert_close(term(*steps), expected + 320)
    # in a direction that it has never been trained in it knows nothing, nor where it is to restore
    term.known[0, 1] = False
    assert term(*steps).item() == 321
    term.known[0, 1] = True
    assert term(*(replace(each, domain=torch.tensor([1, 3, 1])) for each in steps)).item() == 321
    steps = [replace(each, domain=torch.tensor([3, 3, 1])) for each in steps]
    assert term(*steps).item() == 321
    with pytest.raises(InputError, match=r"'kld' has nothing to compare.*old directions to data\.train \(de-en, "):
        train(czech(kld=0.5), tmp_path / "no", quiet=True)
    both = czech(kld=0.5)
    both.data.train.append({name: files[name] for name in ("de", "en")})
    train(both, tmp_path / "exp", quiet=True)
    records = [json.loads(line) for line in (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()]
    assert [each for each in records if "values" in each][-1]["values"]["kld"]["value"] > 0


def test_what_is_known_is_what_was_trained(initial, tmp_path):
    folder, _ = initial
    copied = tmp_path / "one"
    shutil.copytree(folder / "model", copied)
    changed = (copied / "config.yaml").read_text().replace(", de-fr, ", ", ").replace(", fr-de", "")
    (copied / "config.yaml").write_text(changed)
    start = begun(copied, kld=0.5)
    assert {"de-fr", "fr-de"}.isdisjoint(start.known)
    [term] = conservative_terms(InitialConfig(model=str(copied), kld=0.5), start, 0)
    de, en, fr = range(3)
    assert not term.known[de, fr]
    assert term.known[de, en]
    # a model without some of its layers translates nothing, and yet is compared with what it was
    missing = begun(copied, kld=0.5, layers="first:1")
    assert (missing.known, missing.trained) == (start.known, ())
    with pytest.raises(InputError, match="'kld' has nothing to compare"):
        from_model(InitialConfig(model=str(copied), kld=0.5), text(("de", "fr")), NEW, None, 0, ["de-fr"])


def test_layers_that_are_copied_are_listed(initial, czech, tmp_path):
    told = []
    train(czech(layers="first:2", frozen="encoder.1"), tmp_path / "exp", quiet=True, say=told.append)
    [table] = [each for each in told if "layers" in each]
    assert "encoder.0.attention" in table
    assert "copied, frozen" in table
    assert "fresh" in table
    told.clear()
    train(czech(), tmp_path / "two", quiet=True, say=told.append)
    assert not any("layers" in each for each in told)


@pytest.mark.parametrize("frozen", ["embedding", "first:1"])
def test_what_new_languages_have_is_never_frozen_at_random(initial, czech, tmp_path, frozen):
    with pytest.raises(InputError, match=r"would leave what new languages have in embedding\.weight"):
        train(czech(frozen=frozen), tmp_path / "exp", quiet=True)
    assert not (tmp_path / "exp").exists()


def test_long_rows_of_ewc_text_are_passed_over(initial, tmp_path):
    folder, files = initial
    start = begun(folder)
    longer = {}
    for language, path in files.items():
        longer[language] = str(tmp_path / language)
        lines = Path(path).read_text()
        Path(longer[language]).write_text(lines + f"{language}a " * 40 + "\n")
    given = {"model": str(folder), "ewc": 1.0, "ewc_rows": 10_000}
    found = []
    for read, limit in ((files, None), (longer, 30), (longer, None)):
        [term] = conservative_terms(InitialConfig(**given, ewc_text=[read]), start, 0, limit)
        with torch.no_grad():
            start.transformer.encoder[0].feedforward[0].bias += 1
        found.append(term(None, None).item())
        with torch.no_grad():
            start.transformer.encoder[0].feedforward[0].bias -= 1
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert found[2] != pytest.approx(found[0], rel=1e-3)


def test_what_does_not_fit_together_is_said(initial, czech, config, tmp_path):  # noqa: F811
    _, files = initial
    with pytest.raises(InputError, match="'ewc' needs 'ewc_text'"):
        czech(ewc=1.0)
    with pytest.raises(InputError, match="'kld' compares two models"):
        load_experiment(config(initial={"model": "x", "kld": 0.5}, back_translation=0.5))
    with pytest.raises(InputError, match=r"no layer 'encoder\.9'"):
        train(czech(layers="encoder.9"), tmp_path / "exp", quiet=True)
    with pytest.raises(InputError, match=r"'ewc_text' is in 'xx', which the initial model"):
        train(czech(ewc=1.0, ewc_text=[{"xx": files["de"], "de": files["de"]}]), tmp_path / "exp", quiet=True)
