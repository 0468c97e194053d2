"""Full-sum score, occupancies and Viterbi paths against brute-force enumeration of every path.

The oracle knows nothing of the graphs under test: it writes out each choice of pronunciations and silences as one plain
chain of pdfs, and each way to spread the frames over that chain as one path.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speechnlp_tl.speech.hmm import Pronunciations, annealed_full_sum, full_sum, utterance_graph, viterbi
from speechnlp_tl.speech.hmm_graph import HmmGraph, pack_graphs
from speechnlp_tl.speech.topology import SILENCE, Topology

PHONES = ("a", "b", "c")
TRANSITIONS = 1e-6
"""Graphs keep their log probabilities in single precision."""
VITERBI = 2e-5
"""And Viterbi paths are scored in it."""
WORDS: Pronunciations = {
    "one": [("a", "b"), ("a",)],
    "two": [("b",)],
    "three": [("c", "c")],
    "four": [("a",), ("c", "b"), ("b",)],
}


class Path(NamedTuple):
    """One way through an utterance: the pdf at each frame, and the log probability of its transitions."""

    pdfs: tuple[int, ...]
    weight: float


def chains(words: Sequence[str], pronunciations: Pronunciations, topology: Topology) -> Iterator[Path]:
    """Each choice of pronunciations and optional silences, as its states' pdfs and the choice's log probability."""
    if not words:
        # nothing to choose: an empty transcript means silence
        yield Path(tuple(topology.pdfs(SILENCE)), 0.0)
        return
    spoken = [[(phones, -math.log(len(pronunciations[word]))) for phones in pronunciations[word]] for word in words]
    for choice in itertools.product(*spoken):
        for silences in itertools.product([False, True], repeat=len(words) + 1):
            weight = sum(math.log(topology.silence_probability if is_silent else 1 - topology.silence_probability)
                         for is_silent in silences)  # fmt: skip
            phones = [SILENCE] * silences[0]
            for (pronunciation, log_share), is_silent in zip(choice, silences[1:], strict=True):
                phones += [*pronunciation, *[SILENCE] * is_silent]
                weight += log_share
            yield Path(tuple(pdf for phone in phones for pdf in topology.pdfs(phone)), weight)


def paths(words: Sequence[str], frames: int, topology: Topology, pronunciations: Pronunciations = WORDS) -> list[Path]:
    """Every path of `frames` frames; each of its states is left once, the utterance's last one too."""
    found = []
    for chain in chains(words, pronunciations, topology):
        states = len(chain.pdfs)
        for cuts in itertools.combinations(range(1, frames), states - 1):
            borders = [0, *cuts, frames]
            durations = [end - start for start, end in itertools.pairwise(borders)]
            if min(durations, default=0) < 1:
                continue
            stays = (frames - states) * math.log(topology.self_loop)
            leaves = states * math.log(1 - topology.self_loop)
            pdfs = tuple(pdf for pdf, count in zip(chain.pdfs, durations, strict=True) for _ in range(count))
            found.append(Path(pdfs, chain.weight + stays + leaves))
    return found


def path_scores(found: Sequence[Path], scores: Tensor) -> Tensor:
    """Log probability of each path, differentiable in (T, P) `scores`."""
    pdfs = torch.tensor([path.pdfs for path in found])
    weights = torch.tensor([path.weight for path in found], dtype=torch.float64)
    return weights + scores.gather(1, pdfs.T).sum(dim=0)


def occupancies(found: Sequence[Path], logs: Tensor, like: Tensor) -> Tensor:
    """(T, P) posterior of each pdf at each frame, summed over paths of these log weights; zero behind their frames."""
    expected = torch.zeros_like(like)
    for path, posterior in zip(found, logs.softmax(0).tolist(), strict=True):
        for frame, pdf in enumerate(path.pdfs):
            expected[frame, pdf] += posterior
    return expected


def random_scores(rows: int, frames: int, pdfs: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    return spread * torch.randn(rows, frames, pdfs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


topologies = st.builds(
    Topology,
    phones=st.just(PHONES),
    states_per_phone=st.integers(1, 3),
    silence_states=st.integers(1, 3),
    self_loop=st.floats(0.1, 0.9),
    silence_probability=st.floats(0.1, 0.9),
)
transcripts = st.lists(st.sampled_from(sorted(WORDS)), max_size=3)


@settings(max_examples=60, deadline=None)
@given(topologies, st.lists(st.tuples(transcripts, st.integers(1, 8)), min_size=1, max_size=4), st.integers(0, 99))
def test_score_and_occupancies_equal_the_enumeration_of_all_paths(
    topology: Topology, rows: list[tuple[list[str], int]], seed: int
) -> None:
    lengths = torch.tensor([frames for _, frames in rows])
    graphs = pack_graphs([utterance_graph(words, WORDS, topology) for words, _ in rows])
    scores = random_scores(len(rows), int(lengths.max()), topology.num_pdfs, seed).requires_grad_()
    log_z = full_sum(scores, lengths, graphs)
    (occupancy,) = torch.autograd.grad(log_z[~log_z.isneginf()].sum() + 0 * scores.sum(), scores)

    for row, (words, frames) in enumerate(rows):
        found = paths(words, frames, topology)
        if not found:
            assert log_z[row] == -math.inf
            assert not occupancy[row].any()
            continue
        logs = path_scores(found, scores[row, :frames].detach())
        assert log_z[row].item() == pytest.approx(float(logs.logsumexp(0)), abs=TRANSITIONS)
        expected = occupancies(found, logs, occupancy[row])
        torch.testing.assert_close(occupancy[row], expected, atol=TRANSITIONS, rtol=0)


@settings(max_examples=30, deadline=None)
@given(topologies, transcripts, st.integers(1, 8), st.sampled_from([0.02, 0.3, 1.0]), st.integers(0, 99))
def test_annealed_scores_weigh_the_enumerated_paths_less(
    topology: Topology, words: list[str], frames: int, weight: float, seed: int
) -> None:
    lengths, graphs = torch.tensor([frames]), pack_graphs([utterance_graph(words, WORDS, topology)])
    scores = random_scores(1, frames, topology.num_pdfs, seed).requires_grad_()
    value = annealed_full_sum(scores, lengths, graphs, weight)
    found = paths(words, frames, topology)
    if not found:
        assert value.item() == -math.inf
        return
    (occupancy,) = torch.autograd.grad(value.sum(), scores)
    even = path_scores(found, torch.zeros(frames, topology.num_pdfs, dtype=torch.float64))
    logs = path_scores(found, weight * scores[0].detach())
    assert value.item() == pytest.approx(
        float(logs.logsumexp(0) - even.logsumexp(0)) / weight, abs=TRANSITIONS / weight
    )
    expected = occupancies(found, logs, occupancy[0])
    torch.testing.assert_close(occupancy[0], expected, atol=TRANSITIONS, rtol=0)


def test_nearly_unweighted_paths_share_frames_out_evenly() -> None:
    topology = Topology(PHONES)
    graphs = pack_graphs([utterance_graph(["all"], {"all": [PHONES]}, topology)])
    scores = random_scores(1, 40, topology.num_pdfs).requires_grad_()
    value = annealed_full_sum(scores, torch.tensor([40]), graphs, 1e-4)
    (occupancy,) = torch.autograd.grad(value.sum(), scores)
    durations = occupancy[0].sum(0)[topology.silence_states :]
    assert len(durations) == 6
    torch.testing.assert_close(durations, durations.mean().expand(6), rtol=0.01, atol=0)


@settings(max_examples=60, deadline=None)
@given(topologies, transcripts, st.integers(1, 8), st.integers(0, 99))
def test_viterbi_finds_the_best_of_all_paths(topology: Topology, words: list[str], frames: int, seed: int) -> None:
    graph = utterance_graph(words, WORDS, topology)
    batch = pack_graphs([graph])
    scores = random_scores(1, frames, topology.num_pdfs, seed)
    length = torch.tensor([frames])
    states, score = viterbi(scores, length, batch)
    found = paths(words, frames, topology)
    if not found:
        assert score[0] == -math.inf
        assert states.tolist() == [[-1] * frames]
        return
    logs = path_scores(found, scores[0])
    assert float(score[0]) == pytest.approx(float(logs.max()), abs=VITERBI)
    assert float(score[0]) <= float(full_sum(scores, length, batch)[0]) + VITERBI
    pdfs = tuple(batch.pdf.gather(1, states)[0].tolist())
    assert pdfs in {
        path.pdfs for path, log in zip(found, logs.tolist(), strict=True) if log > float(logs.max()) - VITERBI
    }
    arcs = {(start, end) for start, end, _ in graph.arcs}
    route = states[0].tolist()
    assert route[0] in dict(graph.initial)
    assert route[-1] in dict(graph.final)
    assert all(step in arcs for step in itertools.pairwise(route))


@settings(max_examples=80, deadline=None)
@given(topologies, transcripts)
def test_min_frames_is_the_length_of_the_shortest_path(topology: Topology, words: list[str]) -> None:
    graph = utterance_graph(words, WORDS, topology)
    shortest = min(len(chain.pdfs) for chain in chains(words, WORDS, topology))
    assert graph.min_frames == shortest
    frames = max(shortest, 1)
    scores = random_scores(1, frames, topology.num_pdfs)
    assert full_sum(scores, torch.tensor([frames]), pack_graphs([graph])).isfinite().all()
    if shortest > 1:
        assert full_sum(scores, torch.tensor([shortest - 1]), pack_graphs([graph])).tolist() == [-math.inf]


def test_words_at_each_frame_can_be_read_from_the_states() -> None:
    topology = Topology(PHONES, states_per_phone=2, silence_states=2)
    graph = utterance_graph(["two", "three", "two"], WORDS, topology)
    scores = torch.full((1, 14, topology.num_pdfs), -20.0)
    spoken = [SILENCE, "b", "c", "c", "b", SILENCE, SILENCE]
    for frame, pdf in enumerate(pdf for phone in spoken for pdf in topology.pdfs(phone)):
        scores[0, frame, pdf] = 0.0
    # the last silence is longer than its states: its last state goes on
    scores[0, 12] = scores[0, 13] = scores[0, 11]
    states, _ = viterbi(scores, torch.tensor([14]), pack_graphs([graph]))
    labels = [graph.label[state] for state in states[0].tolist()]
    assert labels == [-1, -1, 0, 0, 1, 1, 1, 1, 2, 2, -1, -1, -1, -1]


def test_unknown_words_and_phones_are_key_errors() -> None:
    topology = Topology(("a",))
    with pytest.raises(KeyError):
        utterance_graph(["five"], WORDS, topology)
    with pytest.raises(KeyError):
        utterance_graph(["two"], WORDS, topology)
    silent: list[Pronunciations] = [{"mute": []}, {"mute": [()]}, {"mute": [("a",), ()]}]
    for pronunciations in silent:
        with pytest.raises(KeyError, match="mute"):
            utterance_graph(["mute"], pronunciations, topology)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, list[HmmGraph]]:
    """Scores, lengths and graphs of four rows of different sizes; the third is too short for its words."""
    topology = Topology(PHONES, states_per_phone=2, silence_states=2, self_loop=0.6, silence_probability=0.3)
    transcripts = [["one", "two"], [], ["four", "three", "three"], ["four"]]
    graphs = [utterance_graph(words, WORDS, topology) for words in transcripts]
    return random_scores(4, 9, topology.num_pdfs), torch.tensor([9, 5, 7, 8]), graphs


def test_gradient_equals_finite_differences(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    possible = [0, 1, 3]
    packed = pack_graphs([graphs[row] for row in possible])
    function = lambda x: full_sum(x, lengths[possible], packed)  # noqa: E731
    assert torch.autograd.gradcheck(function, (scores[possible].requires_grad_(),))


def test_upstream_gradient_weighs_each_row_alone(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    scores.requires_grad_()
    packed = pack_graphs(graphs)
    weights = torch.tensor([0.5, -2.0, 7.0, 0.0], dtype=torch.float64)
    (weighted,) = torch.autograd.grad(full_sum(scores, lengths, packed), scores, weights)
    (plain,) = torch.autograd.grad(full_sum(scores, lengths, packed), scores, torch.ones_like(weights))
    torch.testing.assert_close(weighted, plain * weights.view(-1, 1, 1), atol=1e-12, rtol=0)


def test_occupancies_sum_to_one_in_real_frames_and_are_zero_elsewhere(
    batch: tuple[Tensor, Tensor, list[HmmGraph]],
) -> None:
    scores, lengths, graphs = batch
    scores.requires_grad_()
    log_z = full_sum(scores, lengths, pack_graphs(graphs))
    assert log_z.isneginf().tolist() == [False, False, True, False]
    (occupancy,) = torch.autograd.grad(log_z, scores, torch.ones_like(log_z))
    real = torch.arange(9) < lengths.unsqueeze(1)
    real[2] = False
    torch.testing.assert_close(occupancy.sum(-1), real.double(), atol=1e-10, rtol=0)
    assert (occupancy >= 0).all()
    assert not occupancy[~real].any()


def test_a_row_does_not_depend_on_its_batch_or_its_padding(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    together = full_sum(scores, lengths, pack_graphs(graphs))
    states, best = viterbi(scores, lengths, pack_graphs(graphs))
    for row, length in enumerate(lengths.tolist()):
        own = scores[row : row + 1, :length], lengths[row : row + 1], pack_graphs([graphs[row]])
        assert full_sum(*own).tolist() == pytest.approx(together[row : row + 1].tolist(), abs=1e-10)
        own_states, own_best = viterbi(*own)
        assert torch.equal(own_best, best[row : row + 1])
        assert own_states[0].tolist() == states[row, :length].tolist()
        assert (states[row, length:] == -1).all()


@pytest.mark.parametrize("garbage", [1e6, -math.inf, math.inf, math.nan])
def test_what_stands_in_padding_changes_nothing(garbage: float, batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    packed = pack_graphs(graphs)
    spoiled = scores.clone()
    spoiled[torch.arange(9) >= lengths.unsqueeze(1)] = garbage
    results = []
    for given_scores in (scores, spoiled):
        given_scores = given_scores.requires_grad_()
        log_z = full_sum(given_scores, lengths, packed)
        (occupancy,) = torch.autograd.grad(log_z, given_scores, torch.ones_like(log_z))
        results.append((log_z.detach(), occupancy, *viterbi(given_scores.detach(), lengths, packed)))
    for expected, found in zip(*results, strict=True):
        assert torch.equal(expected, found)


def test_a_constant_added_to_a_frame_adds_itself_to_the_score(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    packed = pack_graphs(graphs)
    constants = 30 * torch.randn(4, 9, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    real = (torch.arange(9) < lengths.unsqueeze(1)).unsqueeze(-1)
    expected = full_sum(scores, lengths, packed) + (constants * real).sum(dim=(1, 2))
    torch.testing.assert_close(full_sum(scores + constants, lengths, packed), expected, atol=1e-9, rtol=0)
    shifted, plain = viterbi(scores + constants, lengths, packed), viterbi(scores, lengths, packed)
    assert torch.equal(shifted[0], plain[0])


@pytest.mark.gpu
def test_the_gpu_finds_the_same_scores_occupancies_and_paths(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    results = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        own, packed = scores.to(device).requires_grad_(), pack_graphs(graphs).to(device)
        log_z = full_sum(own, lengths.to(device), packed)
        (occupancy,) = torch.autograd.grad(log_z, own, torch.ones_like(log_z))
        states, best = viterbi(own.detach(), lengths.to(device), packed)
        results.append([value.detach().cpu() for value in (log_z, occupancy, states, best)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=VITERBI, rtol=0)


def test_an_utterance_without_frames_has_no_path(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    lengths = torch.tensor([9, 0, 0, 8])
    scores.requires_grad_()
    log_z = full_sum(scores, lengths, pack_graphs(graphs))
    assert log_z.isneginf().tolist() == [False, True, True, False]
    (occupancy,) = torch.autograd.grad(log_z, scores, torch.ones_like(log_z))
    assert not occupancy[1:3].any()
    states, best = viterbi(scores, lengths, pack_graphs(graphs))
    assert best.isneginf().tolist() == [False, True, True, False]
    assert (states[1:3] == -1).all()


def test_impossible_scores_are_paths_of_probability_zero(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    """-inf for a pdf at a frame removes the paths through it; without any path left the score is -inf."""
    scores, lengths, graphs = batch
    topology = Topology(PHONES, states_per_phone=2, silence_states=2, self_loop=0.6, silence_probability=0.3)
    scores[0, 4, :4] = -math.inf
    scores[3, 2, :] = -math.inf
    scores.requires_grad_()
    packed = pack_graphs(graphs)
    log_z = full_sum(scores, lengths, packed)
    found = path_scores(paths(["one", "two"], 9, topology), scores[0].detach())
    assert log_z[0].item() == pytest.approx(float(found.logsumexp(0)), abs=TRANSITIONS)
    assert log_z[3] == -math.inf
    (occupancy,) = torch.autograd.grad(log_z, scores, torch.ones_like(log_z))
    assert occupancy.isfinite().all()
    torch.testing.assert_close(occupancy[0].sum(-1), torch.ones(9, dtype=torch.float64), atol=1e-9, rtol=0)
    assert not occupancy[0, 4, :4].any()
    assert not occupancy[3].any()
    states, best = viterbi(scores.detach(), lengths, packed)
    assert float(best[0]) == pytest.approx(float(found.max()), abs=VITERBI)
    assert best[3] == -math.inf
    assert (states[3] == -1).all()


def test_a_score_that_is_not_a_number_is_not_hidden(batch: tuple[Tensor, Tensor, list[HmmGraph]]) -> None:
    scores, lengths, graphs = batch
    before = full_sum(scores, lengths, pack_graphs(graphs))
    scores[0, 3] = math.nan
    scores.requires_grad_()
    after = full_sum(scores, lengths, pack_graphs(graphs))
    assert after[0].isnan()
    assert torch.equal(after[1:], before[1:])
    (occupancy,) = torch.autograd.grad(after, scores, torch.ones_like(after))
    assert occupancy[0].isnan().any()
    assert occupancy[1:].isfinite().all()
    states, best = viterbi(scores.detach(), lengths, pack_graphs(graphs))
    assert best[0].isnan()
    assert (states[0] == -1).all()


def dense_graph(generator: np.random.Generator, states: int) -> HmmGraph:
    """Any arcs at all between states that share pdfs, some of them twice; entries and exits anywhere."""
    places = range(states)
    arcs = [(s, e, float(generator.normal())) for s in places for e in places for _ in range(generator.integers(0, 3))]
    ends = [[(s, float(generator.normal())) for s in places if generator.random() < 0.6] for _ in range(2)]
    arcs.append((states - 1, states - 1, 0.3))
    pdf = generator.integers(0, 3, states).tolist()
    return HmmGraph(pdf, arcs, ends[0] or [(0, 0.0)], ends[1] or [(states - 1, 0.0)], [-1] * states, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=3), st.integers(0, 9999))
def test_hand_built_graphs_equal_the_sum_over_all_state_sequences(sizes: list[tuple[int, int]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    graphs = [dense_graph(generator, states) for states, _ in sizes]
    lengths = torch.tensor([frames for _, frames in sizes])
    scores = random_scores(len(sizes), int(lengths.max()), 3, seed)
    log_z, best = full_sum(scores, lengths, pack_graphs(graphs)), viterbi(scores, lengths, pack_graphs(graphs))[1]
    for row, (graph, (states, frames)) in enumerate(zip(graphs, sizes, strict=True)):
        arcs: dict[tuple[int, int], list[float]] = {}
        for start, end, weight in graph.arcs:
            arcs.setdefault((start, end), []).append(weight)
        sums, peaks = [], []
        for route in itertools.product(range(states), repeat=frames):
            steps = [arcs.get(step, []) for step in itertools.pairwise(route)]
            if route[0] not in dict(graph.initial) or route[-1] not in dict(graph.final) or not all(steps):
                continue
            own = dict(graph.initial)[route[0]] + dict(graph.final)[route[-1]]
            own += sum(float(scores[row, frame, graph.pdf[state]]) for frame, state in enumerate(route))
            sums.append(own + sum(np.logaddexp.reduce(step) for step in steps))
            peaks.append(own + sum(max(step) for step in steps))
        expected = float(np.logaddexp.reduce(sums)) if sums else -math.inf
        assert float(log_z[row]) == pytest.approx(expected, abs=TRANSITIONS)
        assert float(best[row]) == pytest.approx(max(peaks, default=-math.inf), abs=VITERBI)


def ctc_graph(labels: Sequence[int]) -> HmmGraph:
    """Connectionist temporal classification (Graves et al. 2006) as an HMM whose transitions cost nothing."""
    pdf = [0]
    for label in labels:
        pdf += [label, 0]
    arcs = [(state, state, 0.0) for state in range(len(pdf))] + [
        (state - 1, state, 0.0) for state in range(1, len(pdf))
    ]
    arcs += [(state - 2, state, 0.0) for state in range(3, len(pdf), 2) if pdf[state] != pdf[state - 2]]
    ends = {len(pdf) - 1, max(0, len(pdf) - 2)}
    starts = {0, min(1, len(pdf) - 1)}
    repeats = sum(first == second for first, second in itertools.pairwise(labels))
    return HmmGraph(pdf, arcs, [(s, 0.0) for s in starts], [(s, 0.0) for s in ends], [-1] * len(pdf),
                    len(labels) + repeats)  # fmt: skip


def test_equals_pytorchs_ctc_loss_on_ctc_graphs() -> None:
    generator = torch.Generator().manual_seed(5)
    targets = [[3, 1, 4, 1], [2, 2, 2], [], [4, 3, 3, 2, 1, 1], [5]]
    lengths = torch.tensor([30, 11, 7, 25, 1])
    logits = (2 * torch.randn(5, 30, 6, generator=generator, dtype=torch.float64)).requires_grad_()
    log_probabilities = logits.log_softmax(-1)
    ours = -full_sum(log_probabilities, lengths, pack_graphs([ctc_graph(labels) for labels in targets]))
    flat = torch.tensor([label for labels in targets for label in labels])
    sizes = torch.tensor([len(labels) for labels in targets])
    theirs = torch.nn.functional.ctc_loss(log_probabilities.transpose(0, 1), flat, lengths, sizes, reduction="none")
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=0)


def long_batch() -> tuple[Tensor, Tensor, list[HmmGraph]]:
    """1500 frames of scores that a trained model might give: the sums along a path reach thousands."""
    topology = Topology(PHONES, states_per_phone=3, silence_states=3)
    generator = np.random.default_rng(7)
    transcripts = [generator.choice(sorted(WORDS), 100).tolist(), generator.choice(sorted(WORDS), 40).tolist()]
    graphs = [utterance_graph(words, WORDS, topology) for words in transcripts]
    return random_scores(2, 1500, topology.num_pdfs, spread=4.0).log_softmax(-1), torch.tensor([1500, 1203]), graphs


def test_single_precision_stands_long_utterances() -> None:
    scores, lengths, graphs = long_batch()
    packed = pack_graphs(graphs)
    results = []
    for precision in (torch.float64, torch.float32):
        own = scores.to(precision).requires_grad_()
        log_z = full_sum(own, lengths, packed)
        (occupancy,) = torch.autograd.grad(log_z.sum(), own)
        results.append((log_z.detach().double(), occupancy.double()))
    (exact, exact_occupancy), (single, single_occupancy) = results
    torch.testing.assert_close(single, exact, rtol=3e-5, atol=0)
    torch.testing.assert_close(single_occupancy, exact_occupancy, rtol=0, atol=5e-3)
    real = (torch.arange(1500) < lengths.unsqueeze(1)).double()
    torch.testing.assert_close(single_occupancy.sum(-1), real, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_summed_in_single(precision: torch.dtype) -> None:
    topology = Topology(PHONES)
    graphs = pack_graphs([utterance_graph(["one", "four", "two"], WORDS, topology)])
    half = random_scores(1, 60, topology.num_pdfs, spread=3.0).to(precision).requires_grad_()
    single = half.detach().float().requires_grad_()
    log_z, expected = (full_sum(scores, torch.tensor([60]), graphs) for scores in (half, single))
    assert float(log_z.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (occupancy,), (exact,) = torch.autograd.grad(log_z, half), torch.autograd.grad(expected, single)
    assert log_z.dtype == torch.float32
    assert occupancy.dtype == precision
    torch.testing.assert_close(occupancy.float(), exact, atol=5e-3, rtol=0)
    states, best = viterbi(half.detach(), torch.tensor([60]), graphs)
    exact_states, exact_best = viterbi(single.detach(), torch.tensor([60]), graphs)
    assert torch.equal(states, exact_states)
    torch.testing.assert_close(best, exact_best)
