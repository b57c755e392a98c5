"""Code scores against brute force and scikit-learn, and what must not score."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from infogan.data import DataFactor
from infogan.metrics.codes import (
    NEVER_READ,
    CodeScores,
    contingency,
    halves,
    majority_accuracy,
    matched_accuracy,
)
from infogan.metrics.disentanglement import balanced_accuracy
from infogan.metrics.variables import Variable


def labels(num: int, num_classes: int, seed: int = 0) -> Tensor:
    """Return random labels."""
    return torch.randint(num_classes, (num,), generator=torch.Generator().manual_seed(seed))


def noisy(classes: Tensor, num_categories: int, share: float, seed: int) -> Tensor:
    """Return the classes, permuted, with a share of them replaced at random."""
    stream = torch.Generator().manual_seed(seed)
    mapping = torch.randperm(num_categories, generator=stream)
    random = torch.randint(num_categories, classes.shape, generator=stream)
    replace = torch.rand(classes.shape, generator=stream) < share
    return torch.where(replace, random, mapping[classes])


def test_contingency_counts_pairs() -> None:
    """Rows are categories, columns classes."""
    counts = contingency(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 1, 0, 1, 0]), (4, 2))
    assert counts.tolist() == [[0, 2], [0, 0], [2, 1], [0, 0]]


@pytest.mark.parametrize("num", [2, 3, 10, 1001])
def test_halves_are_a_partition(num: int) -> None:
    """Every image is in exactly one half; halves are of equal size and always the same."""
    first, second = halves(num)
    assert sorted(torch.cat([first, second]).tolist()) == list(range(num))
    assert len(first) - len(second) in (0, 1)
    assert torch.equal(first, halves(num)[0])


# ---- matched accuracy ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
def test_matching_equals_a_search_of_all_permutations(seed: int, share: float) -> None:
    """The matching is the best of all one-to-one maps on one half, scored on the other."""
    classes = labels(401, 5, seed)
    categories = noisy(classes, 5, share, seed)
    matching, scoring = halves(401)
    maps = torch.tensor(list(permutations(range(5))))
    right = (maps[:, categories[matching]] == classes[matching]).sum(dim=1)
    best = maps[right == right.max()]
    scores = (best[:, categories[scoring]] == classes[scoring]).double().mean(dim=1)
    found = matched_accuracy(categories, classes, (5, 5))
    assert any(found == pytest.approx(score) for score in scores.tolist())


@pytest.mark.parametrize("order", ["random", "taking turns", "sorted"])
def test_permuted_codes_score_one(order: str) -> None:
    """Numbers do not matter, nor does the order in which the images come."""
    classes = {
        "random": labels(1000, 10),
        "taking turns": torch.arange(1000) % 10,
        "sorted": torch.arange(1000) // 100,
    }[order]
    categories = noisy(classes, 10, 0.0, seed=3)
    assert matched_accuracy(categories, classes, (10, 10)) == 1
    assert majority_accuracy(categories, classes, (10, 10)) == 1


def test_accuracy_is_the_share_of_right_images() -> None:
    """A code that is wrong in a known share of images scores the rest."""
    classes = torch.arange(20_000) % 10
    wrong = torch.rand(20_000, generator=torch.Generator().manual_seed(1)) < 0.3
    categories = torch.where(wrong, (classes + 1) % 10, classes)
    assert matched_accuracy(categories, classes, (10, 10)) == pytest.approx(0.7, abs=0.01)


def test_blind_codes_score_chance_despite_few_images() -> None:
    """Matching and scoring on the same images would flatter a code that knows nothing."""
    scores, flattered = [], []
    for seed in range(200):
        classes, categories = labels(60, 10, 2 * seed), labels(60, 10, 2 * seed + 1)
        scores.append(matched_accuracy(categories, classes, (10, 10)))
        counts = contingency(categories, classes, (10, 10))
        flattered.append(counts.max(axis=1).sum() / 60)
    assert np.mean(scores) == pytest.approx(0.1, abs=0.02)
    assert np.mean(
        [
            majority_accuracy(labels(60, 10, s), labels(60, 10, s + 999), (10, 10))
            for s in range(200)
        ]
    ) == pytest.approx(0.1, abs=0.02)
    assert np.mean(flattered) > 0.25


@pytest.mark.parametrize("num", [0, 1])
def test_too_few_images_are_refused(num: int) -> None:
    """One line says how many images there were."""
    with pytest.raises(ValueError, match=f"at least 2 images, got {num}$"):
        matched_accuracy(labels(num, 3), labels(num, 3), (3, 3))


# ---- more and fewer categories than classes --------------------------------------------------


def test_twenty_categories_for_ten_classes() -> None:
    """Two categories a class: all right by majority, half of them unmatched one to one."""
    classes = labels(4000, 10)
    categories = 2 * classes + labels(4000, 2, seed=1)
    assert majority_accuracy(categories, classes, (20, 10)) == 1
    assert matched_accuracy(categories, classes, (20, 10)) == pytest.approx(0.5, abs=0.05)


def test_five_categories_for_ten_classes() -> None:
    """A category that holds two classes is right on one of them only."""
    classes = labels(4000, 10)
    for score in (matched_accuracy, majority_accuracy):
        assert score(classes // 2, classes, (5, 10)) == pytest.approx(0.5, abs=0.05)


def test_one_category_for_all() -> None:
    """A collapsed code scores the largest class."""
    classes = torch.cat([torch.zeros(600), torch.ones(400)]).long()
    for score in (matched_accuracy, majority_accuracy):
        assert score(torch.zeros(1000).long(), classes, (2, 2)) == pytest.approx(0.6, abs=0.05)


def test_a_category_that_is_never_read_is_no_class() -> None:
    classes = labels(100, 3)
    scores = CodeScores({0: 5}, {0: DataFactor("class", 3)})
    scores.update([classes + 1], classes[:, None].float())
    scores.compute()
    assert scores.meanings[0] == [NEVER_READ, "0", "1", "2", NEVER_READ]


def test_a_category_that_only_one_half_has_is_wrong() -> None:
    """Every image is of class 0: a category that no image of the naming half has is not it."""
    _, scoring = halves(100)
    categories = torch.zeros(100).long()
    categories[scoring[:10]] = 1
    classes = torch.zeros(100).long()
    assert majority_accuracy(categories, classes, (2, 2)) == 0.8
    code, factor = Variable("code", categories.float(), 2), Variable("class", classes.float(), 2)
    assert balanced_accuracy(code, factor) == 0.8


# ---- the metric ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_clustering_scores_are_scikit_learns(share: float) -> None:
    """NMI and ARI agree with scikit-learn, accuracies with the functions."""
    classes = labels(700, 6)
    categories = noisy(classes, 8, share, seed=5)
    scores = CodeScores({0: 8}, {0: DataFactor("class", 6)})
    scores.update([categories], classes[:, None].float())
    found = {name: value.item() for name, value in scores.compute().items()}
    assert found == pytest.approx(
        {
            "code_accuracy": matched_accuracy(categories, classes, (8, 6)),
            "majority_accuracy": majority_accuracy(categories, classes, (8, 6)),
            "nmi": normalized_mutual_info_score(classes, categories),
            "ari": adjusted_rand_score(classes, categories),
        },
        abs=1e-5,
    )


def test_batches_do_not_matter_and_reset_forgets() -> None:
    """Scores are those of all images at once, since the last reset."""
    classes = labels(300, 4)
    categories = noisy(classes, 4, 0.5, seed=2)
    whole, parts = (CodeScores({0: 4}, {0: DataFactor("class", 4)}) for _ in range(2))
    whole.update([categories], classes[:, None])
    parts.update([labels(100, 4, 9)], labels(100, 4, 8)[:, None])
    parts.reset()
    for start, end in ((0, 10), (10, 250), (250, 300)):
        parts.update([categories[start:end]], classes[start:end, None])
    assert parts.compute() == whole.compute()


def test_ranks_are_joined() -> None:
    """Over two ranks the scores are those of all images together."""
    classes = labels(200, 4)
    categories = noisy(classes, 4, 0.5, seed=2)
    joined, rank = (CodeScores({0: 4}, {0: DataFactor("class", 4)}) for _ in range(2))
    joined.update([torch.cat([categories, categories])], torch.cat([classes, classes])[:, None])
    rank.update([categories], classes[:, None])
    rank.distributed_available_fn = lambda: True
    rank.dist_sync_fn = lambda state, group: [state, state]
    assert rank.compute() == joined.compute()


def factor_table(*columns: Tensor) -> Tensor:
    """Return the factors as a batch has them."""
    return torch.stack(columns, dim=1).float()


@pytest.mark.parametrize("swapped", [False, True])
def test_two_factors_find_their_codes(swapped: bool) -> None:
    """Each factor is matched to the code that holds it, wherever codes and factors stand."""
    left, right = labels(2000, 5, 1), labels(2000, 7, 2)
    codes = [(5, noisy(left, 5, 0.0, 3)), (7, noisy(right, 7, 0.4, 4))]
    if swapped:
        codes.reverse()
    (first, one), (second, two) = codes
    # codes 1 and 3 of four, factors in columns 0 and 2 of three
    factors = {0: DataFactor("left", 5), 2: DataFactor("right", 7)}
    scores = CodeScores({1: first, 3: second}, factors)
    unused = torch.zeros(2000)
    scores.update([unused, one, unused, two], factor_table(left, torch.rand(2000), right))
    found = {name: value.item() for name, value in scores.compute().items()}
    assert found["code_accuracy_left"] == 1
    assert found["code_accuracy_right"] == pytest.approx(0.6 + 0.4 / 7, abs=0.04)
    mean = (found["code_accuracy_left"] + found["code_accuracy_right"]) / 2
    assert found["code_accuracy"] == pytest.approx(mean)
    assert found["nmi"] == pytest.approx(
        (1 + normalized_mutual_info_score(right, two if not swapped else one)) / 2, abs=1e-5
    )


def test_codes_that_number_the_cells_jointly_score_chance() -> None:
    """Two codes that name every pair of factors together, but neither alone, do not score."""
    left, right = labels(20_000, 5, 1), labels(20_000, 5, 2)
    cells = torch.randperm(25, generator=torch.Generator().manual_seed(0)).reshape(5, 5)
    latin = [(left + right) % 5, (left + 2 * right) % 5]
    assert len({(a, b) for a, b in zip(*(c.tolist() for c in latin), strict=True)}) == 25
    shuffled = cells[left, right]
    for codes, most in ((latin, 0.25), ([shuffled // 5, shuffled % 5], 0.5)):
        scores = CodeScores({0: 5, 1: 5}, {0: DataFactor("left", 5), 1: DataFactor("right", 5)})
        scores.update(codes, factor_table(left, right))
        found = scores.compute()
        assert found["code_accuracy"] < most
        assert found["nmi"] < most


def test_a_factor_without_a_code_counts_zero() -> None:
    """One code for two factors: the mean halves, and both factors are named in every validation."""
    left, right = labels(1000, 4, 1), labels(1000, 4, 2)
    scores = CodeScores({0: 4}, {0: DataFactor("left", 4), 1: DataFactor("right", 4)})
    code = noisy(right, 4, 0.0, 5)
    scores.update([code], factor_table(left, right))
    found = {name: value.item() for name, value in scores.compute().items()}
    assert found == pytest.approx(
        {
            "code_accuracy": 0.5,
            "majority_accuracy": 0.5,
            "nmi": 0.5,
            "ari": 0.5,
            "code_accuracy_left": matched_accuracy(code, left, (4, 4)),
            "code_accuracy_right": 1.0,
        }
    )


def test_two_codes_for_one_factor() -> None:
    """The better code is scored."""
    classes = labels(1000, 4)
    scores = CodeScores({0: 4, 1: 4}, {0: DataFactor("class", 4)})
    scores.update([labels(1000, 4, 7), noisy(classes, 4, 0.0, 5)], classes[:, None])
    assert scores.compute()["code_accuracy"] == 1


def test_a_code_that_lost_its_factor_has_no_meaning_left() -> None:
    """The first validation matches code 0, the second code 1: what 0 meant is forgotten."""
    classes = labels(1000, 4)
    noise = labels(1000, 4, 7)
    scores = CodeScores({0: 4, 1: 4}, {0: DataFactor("class", 4)})
    for codes, matched in (([classes, noise], 0), ([noise, classes], 1)):
        scores.update(codes, classes[:, None])
        scores.compute()
        assert list(scores.meanings) == list(scores.confusions) == [matched]
        scores.reset()


def test_categories_are_called_and_ordered_by_their_classes() -> None:
    classes = torch.arange(90) % 3
    scores = CodeScores({0: 4}, {0: DataFactor("animal", 3, ("cat", "dog", "owl"))})
    scores.update([torch.tensor([3, 0, 1])[classes]], classes[:, None])
    scores.compute()
    assert scores.meanings[0] == ["dog", "owl", NEVER_READ, "cat"]
    assert scores.order[0] == [3, 0, 1, 2]
