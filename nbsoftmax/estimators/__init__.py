"""`SoftmaxRegression` and `SoftmaxRegressionCV`: estimators with the interface and the terms of scikit-learn.

    minimise sum_i s_i L(x_i, y_i) + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1

with s_i the sample weights times the class weights. Divided by S = sum_i s_i this is the trainer's objective with

    l2 = (1 - l1_ratio) / (C S),    l1 = l1_ratio / (C S)                    three classes or more

and twice this l2 for two classes, which have a single row of weights in scikit-learn: see `selection.path`.
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  new in scikit-learn 1.6
except ImportError as error:
    raise ImportError(
        'SoftmaxRegression needs scikit-learn 1.6.1 or newer; install it with: pip install "nbsoftmax[sklearn]"'
    ) from error

from nbsoftmax.estimators.classifier import SoftmaxRegression
from nbsoftmax.estimators.cross_validated import SoftmaxRegressionCV

__all__ = ["SoftmaxRegression", "SoftmaxRegressionCV"]
