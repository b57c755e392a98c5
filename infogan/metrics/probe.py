"""What others make of the images that Q reads: k-means and a linear classifier."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infogan.metrics.codes import matched_accuracy

NUM_STARTS = 5  # of k-means, of which the tightest clusters are kept
MAX_ITERATIONS = 200
# Weight of the squared coefficients; a tenth of it is as good for 10,000 images of 1,024 features.
REGULARIZATION = 100.0

Train = Float[Tensor, "train columns"]
Test = Float[Tensor, "test columns"]
TrainLabels = Int[Tensor, " train"]
TestLabels = Int[Tensor, " test"]


def kmeans_accuracy(
    train: Train, test: Test, labels: TestLabels, num_classes: int, seed: int
) -> float:
    """Return the matched accuracy of k-means, which sees no label, in [0, 1].

    Args:
        train: What it clusters, into as many clusters as there are classes.
        test: What it then assigns to the clusters; matched and scored as Q's categories are.
        labels: Classes of `test`.
        num_classes: Number of classes.
        seed: Seed of the first centres.
    """
    # Here, since training, which imports this file, does not need it.
    from sklearn.cluster import KMeans

    clusters = KMeans(num_classes, n_init=NUM_STARTS, random_state=seed).fit(train.numpy())
    assigned = torch.from_numpy(clusters.predict(test.numpy())).long()
    return matched_accuracy(assigned, labels, (num_classes, num_classes))


def linear_probe_accuracy(
    train: Train, train_labels: TrainLabels, test: Test, test_labels: TestLabels
) -> float:
    """Return the accuracy of logistic regression on standardised columns, in [0, 1].

    Args:
        train: What it learns from.
        train_labels: Classes of `train`.
        test: What it is scored on.
        test_labels: Classes of `test`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1 / REGULARIZATION, max_iter=MAX_ITERATIONS)
    probe = make_pipeline(StandardScaler(), regression).fit(train.numpy(), train_labels.numpy())
    return float(probe.score(test.numpy(), test_labels.numpy()))
