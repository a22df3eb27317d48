"""For test suites: Hypothesis strategies, and properties that every softmax or cross-entropy should have.

from hypothesis import given
from nbsoftmax.testing import check_cross_entropy, check_softmax, logits

def test_my_softmax():
    check_softmax(my_softmax)            # any function of an array (n_samples, n_classes)

@given(logits(infinities=True))
def test_my_own_property(z): ...
"""

try:
    import hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError('nbsoftmax.testing needs hypothesis; install it with: pip install "nbsoftmax[test]"') from error

from nbsoftmax.testing.cross_entropy import check_cross_entropy
from nbsoftmax.testing.softmax import check_softmax
from nbsoftmax.testing.strategies import Problem, class_labels, logits, problems, target_proba, weights

__all__ = [
    "Problem",
    "check_cross_entropy",
    "check_softmax",
    "class_labels",
    "logits",
    "problems",
    "target_proba",
    "weights",
]
