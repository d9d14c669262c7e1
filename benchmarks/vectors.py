# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Unit vectors to search: random ones, and clustered ones that look like CLIP's.

`RandomVectors` spread evenly over the sphere, the hardest case for an index.
`ClusteredVectors` share a common direction, as the pictures of a CLIP model do,
lie in clusters of different sizes, and vary along a few directions more than
along the others. Of 10^6 of them the 100 nearest of an image-like query have
cosines of about 0.74 to 0.83, those of a text-like query 0.32 to 0.40.
"""

import numpy as np

__all__ = ["ClusteredVectors", "RandomVectors"]


class RandomVectors:
    """
    Vectors that are spread evenly over the unit sphere.

    Parameters
    ----------
    dimension : int
        Length of a vector.
    rng : `numpy.random.Generator`
        Source of all random numbers.
    """

    def __init__(self, dimension, rng):
        self.dimension = dimension
        self.rng = rng

    def rows(self, n):
        """Return n vectors, shape (n, d), float32; call it again for more."""
        return _unit(self.rng.standard_normal((n, self.dimension), np.float32))

    def blocks(self, n, size=50_000):
        """Yield n vectors in blocks, so that memory stays bounded."""
        for start in range(0, n, size):
            yield self.rows(min(size, n - start))

    def image_queries(self, n):
        """Return n queries like the rows."""
        return self.rows(n)

    def text_queries(self, n):
        """Return n queries like the rows."""
        return self.rows(n)


class ClusteredVectors(RandomVectors):
    """
    Vectors in clusters, with the cosines of a CLIP model.

    Parameters
    ----------
    dimension : int
        Length of a vector.
    rng : `numpy.random.Generator`
        Source of all random numbers.
    n_clusters : int, optional
        Number of clusters; their sizes differ by a factor of about ten.
    """

    def __init__(self, dimension, rng, n_clusters=1000):
        super().__init__(dimension, rng)
        self._common = _unit(rng.standard_normal(dimension, np.float32))
        self._centres = _unit(rng.standard_normal((n_clusters, dimension), np.float32))
        self._weight = rng.uniform(0.58, 0.72, n_clusters).astype(np.float32)
        share = rng.lognormal(0, 0.6, n_clusters)
        self._share = share / share.sum()
        self._scale = (np.arange(1, dimension + 1) ** -0.25).astype(np.float32)

    def _clusters(self, n):
        return self.rng.choice(len(self._centres), n, p=self._share)

    def _noise(self, n):
        noise = self.rng.standard_normal((n, self.dimension), np.float32)
        return _unit(noise * self._scale)

    def rows(self, n):
        """Return n vectors, shape (n, d), float32; call it again for more."""
        rows = self._noise(n)
        rows *= np.float32(0.53)
        cluster = self._clusters(n)
        rows += self._weight[cluster, None] * self._centres[cluster]
        rows += np.float32(0.6) * self._common
        return _unit(rows)

    def image_queries(self, n):
        """Return n queries like the rows."""
        return self.rows(n)

    def text_queries(self, n):
        """Return n queries that are about a cluster but far from all rows."""
        centres = self._centres[self._clusters(n)]
        other = _unit(self.rng.standard_normal((n, self.dimension), np.float32))
        return _unit(0.14 * self._common + 0.40 * centres + 0.88 * other)


def _unit(vectors):
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors, np.float32)
