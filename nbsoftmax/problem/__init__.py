"""The validated data of a fit: `Problem` for rows in memory, `ProblemInParts` for rows in files or on a cluster."""

from nbsoftmax.problem.class_weights import weights_of_classes
from nbsoftmax.problem.held_out import rows_to_hold_out, shuffled_by_class
from nbsoftmax.problem.in_memory import Problem, device_for
from nbsoftmax.problem.in_parts import AnyProblem, ProblemInParts, problem_of
from nbsoftmax.problem.refusals import refuse_on_device

__all__ = [
    "AnyProblem",
    "Problem",
    "ProblemInParts",
    "device_for",
    "problem_of",
    "refuse_on_device",
    "rows_to_hold_out",
    "shuffled_by_class",
    "weights_of_classes",
]
