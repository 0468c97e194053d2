from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.search import beam_search, length_normalised
from speechnlp_tl.translation.subwords import BEGIN, END, PAD

PIECES = 8
LIMIT = 4


def log_probability(model, source, start, pieces):
    """Of the pieces and the end behind them, in one uncached pass."""
    inputs = torch.tensor([[start, *pieces]])
    with torch.no_grad():
        log_p = F.log_softmax(model(source, inputs, torch.tensor([1])).logits[0], dim=-1)
    wanted = [*pieces, END]
    return float(log_p[range(len(wanted)), wanted].double().sum())


def by_enumeration(model, source, start, penalty, limit=LIMIT):
    """The best of all sequences that end within the limit."""
    usable = [piece for piece in range(PIECES) if piece not in (PAD, start, END)]
    found = []
    for length in range(limit):
        for pieces in product(usable, repeat=length):
            score = length_normalised(log_probability(model, source, start, pieces), length + 1, penalty)
            found.append((score, pieces))
    return max(found)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_all_sequences_finds_the_best_of_all(tiny, seed, penalty):
    model = tiny(seed, pieces=PIECES).eval()
    source = torch.tensor([[4, 5, 6, END]])
    score, pieces = by_enumeration(model, source, BEGIN, penalty)
    found = beam_search(model, source, BEGIN, 1, beam=PIECES**LIMIT, length_penalty=penalty, limits=[LIMIT])[0]
    assert found.pieces == pieces
    assert found.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("decoders", ["shared", "per-language"])
@pytest.mark.parametrize("beam", [1, 3])
def test_a_hypothesis_has_the_probability_that_a_pass_without_cache_gives_it(tiny, beam, decoders):
    for seed in range(4):
        model = tiny(seed, pieces=PIECES, decoders=decoders, language_embedding=True).eval()
        source = torch.tensor([[4, 5, 6, 7, END]])
        found = beam_search(model, source, BEGIN, 1, beam=beam, limits=[12])[0]
        assert found.log_probability == pytest.approx(log_probability(model, source, BEGIN, found.pieces), abs=1e-4)


def test_a_beam_of_one_is_greedy(tiny):
    for seed in range(6):
        model = tiny(seed, pieces=PIECES).eval()
        source = torch.tensor([[4, 5, 6, END]])
        pieces: list[int] = []
        while len(pieces) < 9:
            with torch.no_grad():
                logits = model(source, torch.tensor([[BEGIN, *pieces]]), torch.tensor([1])).logits[0, -1]
            logits[[PAD, BEGIN]] = -torch.inf
            best = int(logits.argmax())
            if best == END:
                break
            pieces.append(best)
        assert list(beam_search(model, source, BEGIN, 1, beam=1, limits=[10])[0].pieces) == pieces


@pytest.mark.parametrize("beam", [1, 4])
def test_a_translation_does_not_depend_on_the_rest_of_the_batch(tiny, subwords, beam):
    model = tiny(3).eval()
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(8, len(subwords), (length,), generator=generator).tolist() for length in (1, 9, 4, 2, 7)]
    together = torch.full((5, 10), PAD)
    for number, row in enumerate(rows):
        together[number, : len(row) + 1] = torch.tensor([*row, END])
    batched = beam_search(model, together, BEGIN, 0, beam)
    alone = [beam_search(model, torch.tensor([[*row, END]]), BEGIN, 0, beam)[0] for row in rows]
    assert [each.pieces for each in batched] == [each.pieces for each in alone]
    assert len({each.pieces for each in alone}) > 1, "rows that all say the same would prove nothing"


def test_a_wider_beam_does_not_lose_on_the_whole(tiny):
    source = torch.tensor([[4, 5, 6, END]])
    gains = []
    for seed in range(8):
        model = tiny(seed, pieces=PIECES).eval()
        scores = [beam_search(model, source, BEGIN, 1, beam=beam, limits=[6])[0].score for beam in (1, 64)]
        gains.append(scores[1] - scores[0])
    assert min(gains) >= -1e-6
    assert max(gains) > 0.01


def test_a_row_that_never_ends_stops_at_its_limit(tiny):
    model = tiny(0, pieces=PIECES)
    with torch.no_grad():
        model.embedding.weight[END] = -100 * model.embedding.weight[4:].mean(0)
    source = torch.tensor([[4, END], [5, END]])
    free = beam_search(model, source, BEGIN, 0, beam=2, limits=[20, 20])
    assert min(len(each.pieces) for each in free) > 4, "a model that ends early would prove nothing"
    found = beam_search(model, source, BEGIN, 0, beam=2, limits=[3, 5])
    assert [len(each.pieces) for each in found] == [2, 4]


def test_impossible_settings_are_refused(tiny):
    with pytest.raises(InputError, match="beam of at least 1"):
        beam_search(tiny(pieces=PIECES), torch.tensor([[4, END]]), BEGIN, 0, beam=0)
