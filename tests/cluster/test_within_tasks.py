"""Fits that tasks of a cluster start on the same cluster."""

import dask.array as da
import numpy as np

import nbsoftmax as nbs
from nbsoftmax.dask import DaskSoftmaxRegression

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 3))
Y = (X + rng.gumbel(size=X.shape)).argmax(axis=1)


def fits(l2):
    """Two fits, the second one by the estimator."""
    collection = da.from_array(X, chunks=(20, -1))
    estimator = DaskSoftmaxRegression(C=1 / (len(X) * l2), tol=1e-12).fit(collection, Y)
    return nbs.Trainer(l2=l2, tol=1e-12).fit(collection, Y).model, estimator.model_


def test_tasks_that_fit_on_all_threads_of_the_workers_do_not_wait_for_one_another(client):
    penalties = [1e-3, 1e-2, 0.1, 1.0]  # more tasks than threads
    for l2, models in zip(penalties, client.gather(client.map(fits, penalties)), strict=True):
        expected = nbs.Trainer(l2=l2, tol=1e-12).fit(X, Y).model
        for model in models:
            np.testing.assert_allclose(model.coef, expected.coef, rtol=1e-6, atol=1e-9)
