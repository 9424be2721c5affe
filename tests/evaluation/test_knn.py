import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from harness.evaluation import knn
from harness.evaluation.knn import knn_predict, nearest


def brute_force(train, test, k):
    """float64 differences, stable sort: equal distances in order of index."""
    train, test = train.double().numpy(), test.double().numpy()
    return np.sort([np.argsort(((row - train) ** 2).sum(1), kind="stable")[:k] for row in test], axis=1)


def random(rows, columns, seed, scale=1.0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


def clusters(rows, seed):
    """Tight clusters far from each other and from the origin: float32 |x|^2 - 2 x.y alone gets these wrong."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 16, generator=torch.Generator().manual_seed(9)) * 100 + 1000
    members = centres[torch.randint(0, 5, (rows,), generator=generator)]
    return members + torch.randn(rows, 16, generator=generator) * 1e-2


HARD = {
    "gaussian": (random(500, 32, 0), random(60, 32, 1)),
    "offset": (random(500, 32, 0) + 1000, random(60, 32, 1) + 1000),
    "clusters": (clusters(500, 2), clusters(60, 3)),
    "integers": (random(500, 3, 4, 2).round(), random(60, 3, 5, 2).round()),
    "duplicates": (random(50, 8, 6).repeat(10, 1), random(50, 8, 6)[:40]),
    "zeros": (torch.zeros(500, 8), torch.zeros(60, 8)),
    "half dead": (
        random(500, 8, 7) * (torch.arange(500) % 2)[:, None],
        random(60, 8, 8) * (torch.arange(60) % 3)[:, None],
    ),
    "nearly constant": (1 + random(500, 8, 9, 3e-7), 1 + random(60, 8, 10, 3e-7)),
    "one dimension": (random(500, 1, 11), random(60, 1, 12)),
    "tiny": (random(500, 8, 13, 1e-30), random(60, 8, 14, 1e-30)),
    "huge": (random(500, 8, 15, 1e30), random(60, 8, 16, 1e30)),
    "outlier": (torch.cat([random(499, 8, 17), torch.full((1, 8), 1e6)]), random(60, 8, 18)),
}


@pytest.mark.parametrize("values", [1 << 23, 400], ids=["one block", "many blocks"])
@pytest.mark.parametrize("case", HARD)
def test_neighbours_are_those_of_float64_brute_force(case, values, monkeypatch):
    monkeypatch.setattr(knn, "VALUES", values)
    train, test = HARD[case]
    np.testing.assert_array_equal(nearest(train, test, 5).numpy(), brute_force(train, test, 5))


def test_predictions_match_scikit_learn_on_digits():
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels)
    predicted = knn_predict(x[:1200], y[:1200], x[1200:], 5)
    reference = KNeighborsClassifier(5, algorithm="brute").fit(pixels[:1200], labels[:1200]).predict(pixels[1200:])
    # Integer pixels tie in distance; scikit-learn breaks those ties in no stated order.
    exact = torch.tensor(brute_force(x[:1200], x[1200:], 5))
    votes = torch.nn.functional.one_hot(y[:1200][exact], 10).sum(1)  # argmax takes the smallest label of a tie
    assert torch.equal(predicted, votes.argmax(1))
    assert (predicted.numpy() == reference).mean() > 0.995


def test_a_tie_in_votes_goes_to_the_smallest_label():
    train = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [100.0]])
    at = torch.tensor([[0.0]])
    assert knn_predict(train, torch.tensor([7, 3, 7, 3, 9, 0]), at, 5).tolist() == [3]  # 7 7 3 3 9
    assert knn_predict(train, torch.tensor([7, 3, 7, 3, 7, 0]), at, 5).tolist() == [7]
    assert knn_predict(train, torch.tensor([9, 8, 7, 6, 5, 0]), at, 5).tolist() == [5]


def test_a_tie_in_distance_goes_to_the_smallest_index():
    train = torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [1.0]])
    assert nearest(train, torch.tensor([[0.0]]), 2).tolist() == [[0, 1]]
    assert nearest(train, torch.tensor([[0.1]]), 2).tolist() == [[0, 2]]
    assert nearest(train, torch.tensor([[0.1]]), 4).tolist() == [[0, 1, 2, 4]]


def test_missing_and_large_labels():
    train = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    assert knn_predict(train, torch.tensor([3, 3, 100_000, 100_000]), torch.tensor([[0.0], [5.0]]), 2).tolist() == [
        3,
        100_000,
    ]


def test_k_may_be_all_of_the_train_set_and_not_more():
    train = random(5, 4, 0)
    assert nearest(train, random(3, 4, 1), 5).tolist() == [[0, 1, 2, 3, 4]] * 3
    with pytest.raises(ValueError, match=r"k=5 needs at least 5 training images, and there are 4: lower k"):
        nearest(train[:4], random(3, 4, 1), 5)
