"""Clusters of locations: locations at which good parts vary alike share one covariance matrix.

One matrix for all locations describes none of them well: the edge of a part varies in other directions than its surface
or the background. One matrix per location needs far more images than a factory has. So locations are clustered, and
each cluster has a matrix. It is shrunk towards the matrix of all locations with the weight of PRIOR_IMAGES images.

    matrices  second moments of the channels at each location, separately for two halves of the good images
    cluster   k-means of the logarithms of these matrices, in the DIRECTIONS directions in which good parts vary most
    choose    the number of clusters whose matrices, fitted to one half, give the other half the highest likelihood

The choice needs no defect. The likelihood of unseen good parts is the usual criterion for the order of such a model
(Smyth, "Model selection for probabilistic clustering using cross-validated likelihood", 2000). The halves are
contiguous in the order of the images, so that images of one group are rarely in both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from sklearn.cluster import KMeans
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns of locations."""
CLUSTER_COUNTS = (1, 2, 4, 8)
PRIOR_IMAGES = 40.0  # weight of the matrix of all locations, relative to that of a cluster
DIRECTIONS = 24
SHRINKAGE = 0.1  # share of a multiple of the identity in each matrix (Ledoit and Wolf, 2004)
_MIN_VARIANCE = 0.05  # of a direction at a location, relative to all locations


def choose_clusters(halves: Sequence[Tensor], images: int, cluster_counts: Sequence[int] = CLUSTER_COUNTS) -> Tensor:
    """The cluster of each location, with the number of clusters that predicts unseen good parts best.

    Args:
        halves: for each half of the images, second moments of the standardized channels, locations x C x C
        images: number of images in each half; below 2, all locations share one matrix
        cluster_counts: the numbers of clusters to choose from
    """
    both = (halves[0] + halves[1]) / 2
    if images < 2:
        return cluster_locations(both, 1)
    counts = [count for count in cluster_counts if count <= len(both)]

    def likelihood(count: int) -> float:
        return sum(
            log_likelihood(unseen, cluster_locations(seen, count), seen, images)
            for seen, unseen in (halves, halves[::-1])
        )

    return cluster_locations(both, counts[0] if len(counts) == 1 else max(counts, key=likelihood))


def largest_clustering(locations: int) -> Tensor:
    """Clusters of equal size, as many as any choice has: the most expensive structure, for a prediction of the cost."""
    return torch.arange(locations) * min(max(CLUSTER_COUNTS), locations) // locations


def cluster_locations(moments: Tensor, count: int) -> Tensor:
    """The cluster of each location: 0 to `count` - 1, numbered by their first location.

    Args:
        moments: second moments of each location, locations x C x C
        count: number of clusters
    """
    if count == 1:
        return torch.zeros(len(moments), dtype=torch.long)
    variances, directions = torch.linalg.eigh(moments.mean(dim=0))
    whitening = (directions / variances.clamp(min=1e-12).sqrt())[:, -DIRECTIONS:]
    values, vectors = torch.linalg.eigh(whitening.T @ moments @ whitening)
    logarithms = (vectors * values.clamp(min=_MIN_VARIANCE).log()[:, None]) @ vectors.transpose(1, 2)
    found = KMeans(count, n_init=4, random_state=0).fit_predict(logarithms.flatten(1).numpy()).tolist()
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(found))}
    return torch.tensor([numbers[cluster] for cluster in found])


def cluster_covariances(moments: Tensor, clusters: Tensor, images: int) -> list[Tensor]:
    """The covariance matrix of each cluster, C x C.

    Args:
        moments: second moments of each location, locations x C x C
        clusters: cluster of each location
        images: number of images
    """
    overall, count = moments.mean(dim=0), int(clusters.max()) + 1
    weight = images / (images + PRIOR_IMAGES) if count > 1 else 1.0
    matrices = [weight * moments[clusters == cluster].mean(dim=0) + (1 - weight) * overall for cluster in range(count)]
    identity = torch.eye(len(overall), dtype=overall.dtype)
    return [(1 - SHRINKAGE) * each + SHRINKAGE * each.diagonal().mean() * identity for each in matrices]


def log_likelihood(unseen: Tensor, clusters: Tensor, seen: Tensor, images: int) -> float:
    """Mean log likelihood of a location of unseen images, up to a constant, under the matrices of seen images.

    Args:
        unseen: second moments of each location in the unseen images
        clusters: cluster of each location
        seen: second moments of each location in the seen images
        images: number of seen images
    """
    total = 0.0
    for cluster, covariance in enumerate(cluster_covariances(seen, clusters, images)):
        members = unseen[clusters == cluster]
        distance = (torch.linalg.inv(covariance) * members.mean(dim=0)).sum()
        total -= len(members) * float(distance + torch.logdet(covariance)) / 2
    return total / len(unseen)


def nest_locations(locations: Sequence[int], grids: Sequence[Grid]) -> list[list[int]]:
    """The locations of each grid that lie in these locations of the coarsest grid.

    A location of a finer grid stands where its parent stands in the coarser one, next to its siblings. So the coarse
    grid, each element repeated, lines up with the fine one.

    Args:
        locations: locations of the coarsest grid, row by row
        grids: from the coarsest to the finest; the sides of each are a multiple of those of the one before
    """
    nested = [list(locations)]
    for (_, coarse), (_, fine) in itertools.pairwise(grids):
        ratio = fine // coarse
        nested.append(
            [
                (place // coarse * ratio + row) * fine + place % coarse * ratio + column
                for place in nested[-1]
                for row in range(ratio)
                for column in range(ratio)
            ]
        )
    return nested
