"""The validated data of a fit: `Problem` for rows in memory, `ProblemInParts` for rows in files or on a cluster."""

from nbsoftmax.problem.block_parts import OnRows
from nbsoftmax.problem.class_weights import ClassWeight, weights_of_classes
from nbsoftmax.problem.held_out import rows_to_hold_out, shuffled_by_class
from nbsoftmax.problem.in_memory import Problem, device_for, encoded
from nbsoftmax.problem.in_parts import AnyProblem, ProblemInParts, problem_of

__all__ = [
    "AnyProblem",
    "ClassWeight",
    "OnRows",
    "Problem",
    "ProblemInParts",
    "device_for",
    "encoded",
    "problem_of",
    "rows_to_hold_out",
    "shuffled_by_class",
    "weights_of_classes",
]
