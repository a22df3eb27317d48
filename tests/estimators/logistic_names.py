"""Our estimators under the names and with the parameters of scikit-learn's, for scikit-learn's own tests.

What docs/sklearn.md lists as different by name or by scale alone is translated here: names of solvers, `penalty`,
`dual`, `intercept_scaling`, the scale of `tol`, and the old form of the attributes of `LogisticRegressionCV`.
"""

import numpy as np

import nbsoftmax as nbs

SOLVERS = {"lbfgs": "lbfgs", "newton-cg": "newton-cg", "newton-cholesky": "newton"}
RATIOS = {"l1": 1.0, "l2": 0.0}


class Translated:
    """Parameters keep scikit-learn's values, except while a fit runs."""

    ratio = "l1_ratio"
    penalty = "deprecated"  # a parameter, in the place of our property

    def fit(self, X, y, sample_weight=None, **more):
        given = dict(self.__dict__)
        try:
            self._translate()
            return super().fit(X, y, sample_weight, **more)
        finally:
            self.__dict__.update({name: given[name] for name in self.get_params(deep=False)})

    def _translate(self):
        given = RATIOS.get(self.penalty, getattr(self, self.ratio))
        setattr(self, self.ratio, given)
        self.tol **= 2  # the gap is of the order of the square of the gradient
        self.solver = "auto" if np.any(given) else SOLVERS.get(self.solver, "auto")


class LogisticRegression(Translated, nbs.SoftmaxRegression):
    def __init__(  # the parameters of scikit-learn
        self,
        *,
        penalty="deprecated",
        C=1.0,
        l1_ratio=0.0,
        dual=False,
        tol=1e-4,
        fit_intercept=True,
        intercept_scaling=1,
        class_weight=None,
        random_state=None,
        solver="lbfgs",
        max_iter=100,
        verbose=0,
        warm_start=False,
        n_jobs=None,
    ):
        given = {name: value for name, value in locals().items() if name not in {"self", "__class__"}}
        super().__init__()
        self.__dict__.update(given)

    def _translate(self):
        if self.penalty is None:
            self.C = np.inf
        super()._translate()


class LogisticRegressionCV(Translated, nbs.SoftmaxRegressionCV):
    ratio = "l1_ratios"

    def __init__(  # the parameters of scikit-learn
        self,
        *,
        Cs=10,
        l1_ratios=None,
        fit_intercept=True,
        cv=None,
        dual=False,
        penalty="deprecated",
        scoring=None,
        solver="lbfgs",
        tol=1e-4,
        max_iter=100,
        class_weight=None,
        n_jobs=None,
        verbose=0,
        refit=True,
        intercept_scaling=1.0,
        random_state=None,
        use_legacy_attributes=False,
    ):
        given = {name: value for name, value in locals().items() if name not in {"self", "__class__"}}
        super().__init__()
        self.__dict__.update(given)

    def fit(self, X, y, sample_weight=None, **more):
        super().fit(X, y, sample_weight, **more)
        if self.use_legacy_attributes:
            self._to_the_old_form()
        return self

    def _to_the_old_form(self):
        """A dict of classes with arrays (n_folds, n_Cs, n_l1_ratios, ...), and every choice once for each class."""
        classes = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        paths = np.moveaxis(self.coefs_paths_, (3, 2), (0, 2))
        scores = np.swapaxes(self.scores_, 1, 2)
        n_iter = np.swapaxes(self.n_iter_, 1, 2)[None]
        if self.l1_ratios is None:
            paths, scores, n_iter = paths[:, :, :, 0], scores[:, :, 0], n_iter[..., 0]
        self.coefs_paths_ = dict(zip(classes, paths, strict=True))
        self.scores_ = dict.fromkeys(classes, scores)
        self.n_iter_ = n_iter
        self.C_, self.l1_ratio_ = np.full(len(classes), self.C_), np.full(len(classes), self.l1_ratio_)
