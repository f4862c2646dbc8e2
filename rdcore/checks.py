"""Checks that all settings share: each raises a ValueError that names the setting, what it must be
and what it is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping


def integer(name: str, value: object, least: int = 1) -> None:
    """Refuses anything but an integer >= ``least``, also True and False.

    >>> integer("epochs", 0)
    Traceback (most recent call last):
    ValueError: epochs must be an integer >= 1, got 0
    """

    def wrong(value: object) -> bool:
        return not isinstance(value, int) or isinstance(value, bool) or value < least

    if wrong(value):
        raise ValueError(f"{name} must be an integer >= {least}, got {short(value)}{_item(value, wrong)}")


def plain(value):
    """A number of numpy or torch as Python's; anything else as it is.

    >>> import numpy
    >>> plain(numpy.int64(3)), plain("three")
    (3, 'three')
    """
    return value.item() if hasattr(value, "item") else value


def _item(value: object, wrong: Callable[[object], bool]) -> str:
    """What to do with a number of numpy or torch that is right as Python's, which descriptions of runs hold."""
    single = hasattr(value, "item") and getattr(value, "ndim", 0) == 0
    return ": take its .item(), a number of Python" if single and not wrong(value.item()) else ""


def number(name: str, value: object, least: float | None = 0, *, above: bool = False) -> None:
    """Refuses anything but a finite number >= ``least`` (None: any), or > ``least`` where
    ``above``; also True and False."""

    def wrong(value: object) -> bool:
        return not is_number(value) or (least is not None and (value <= least if above else value < least))

    if wrong(value):
        bound = "" if least is None else f" {'>' if above else '>='} {least:g}"
        raise ValueError(f"{name} must be a finite number{bound}, got {short(value)}{_item(value, wrong)}")


def within(name: str, value: object, interval: str) -> None:
    """Refuses anything but a number in the interval, also True and False.

    >>> within("dropout", 1, "[0, 1)")
    Traceback (most recent call last):
    ValueError: dropout must lie in [0, 1), got 1
    """
    low, high = map(float, interval[1:-1].split(","))

    def wrong(value: object) -> bool:
        inside = is_number(value) and low <= value <= high
        return not inside or (value == low and interval[0] == "(") or (value == high and interval[-1] == ")")

    if wrong(value):
        raise ValueError(f"{name} must lie in {interval}, got {short(value)}{_item(value, wrong)}")


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold; True and False are not."""
    try:
        real = isinstance(value, (int, float)) and not isinstance(value, bool)
        return real and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def one_of(name: str, value: object, *known: str) -> None:
    """Refuses anything but one of these words."""
    if not (isinstance(value, str) and value in known):
        words = [repr(word) for word in known]
        listed = f"{', '.join(words[:-1])} or {words[-1]}"
        raise ValueError(f"{name} must be {listed}, got {short(value)}")


def text(name: str, value: object) -> None:
    """Refuses what cannot be a word in tables and names of files."""
    printable = isinstance(value, str) and value and value.isprintable()
    if not (printable and not set(value) & set("/\\")):
        raise ValueError(
            f"{name} must be a text of printable characters without / and \\, got {short(value)}"
        )


def flag(name: str, value: object) -> None:
    """Refuses anything but True and False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {short(value)}")


def interactions(value):
    """``value``. Refuses anything but `rdcore.data.Interactions`, such as a table that has not become them."""
    if not (hasattr(value, "offsets") and hasattr(value, "n_items")):
        what = " (one part of a stage is stage.fit)" if hasattr(value, "fit") else ": data.from_frame(table, ...) makes them"
        raise ValueError(f"give Interactions, not a {type(value).__name__}{what}")
    return value


def users_of(fit) -> tuple:
    """Who the users of `rdcore.data.Interactions` are: their number, a hash of their labels in order, and, where the labels
    only count (0, 1, 2, ...) and so name nobody, the first item of each, (n_users,), -1 without one: a split by time leaves
    it."""
    labels, first = fit.user_ids, None
    if labels.dtype.kind in "iu" and (labels[1:] == labels[:-1] + 1).all():
        some = fit.offsets[1:] > fit.offsets[:-1]
        first = (some - 1).astype("int32")
        first[some] = fit.items[fit.offsets[:-1][some]]
    return fit.n_users, hashlib.sha256("\0".join(map(str, labels.tolist())).encode()).hexdigest()[:16], first


def of_its_users(model, fit, what: str = "the model"):
    """``model``. Refuses one that knows each of its users and was fitted to others than those of ``fit``: it would answer with
    what those have. Weights that are loaded into a new model say nothing of users, so nothing is checked; of a model without
    a memory that an earlier rdcore saved whole, their number is."""
    fitted = getattr(model, "fitted_users", None)
    if fitted is None or (isinstance(fitted, int) and model.window > 0):
        return model
    n_users, *known = fitted if isinstance(fitted, tuple) else (fitted,)
    if n_users != fit.n_users:
        raise ValueError(f"{what} was fitted to {n_users} users, and the data have {fit.n_users}: give it the same users")
    if known:
        (labels, first), (_, here, now) = known, users_of(fit)
        others = 0 if first is None or now is None else int(((first != now) & (first >= 0) & (now >= 0)).sum())
        if labels != here or others:
            why = "user_ids differ"
            if labels == here:
                why = f"user_ids only count, and the first items of {others} users differ: ids such as 'u7' would name them"
            raise ValueError(
                f"{what} was fitted to {n_users} users, and the data have as many others: give it the same users, in the same "
                f"order ({why})"
            )
    return model


def all_scores(model, queries):
    """A model's scores of all items, (B, n_items) in float32 or float64; see `checked_scores`."""
    return checked_scores(model, model.score_all(model.encode(queries)), len(queries))


def checked_scores(model, given, n_queries: int):
    """``given`` in float32 or float64. Refuses anything but real numbers in the shape (n_queries, n_items):
    one column too many, for padding, would be ranked as an item."""
    shape = (n_queries, model.n_items)
    found = tuple(getattr(given, "shape", ())), str(getattr(given, "dtype", ""))
    if found[0] != shape or not found[1].startswith("torch.") or given.is_complex():
        raise ValueError(
            f"{type(model).__name__}.score_all must return a tensor of real numbers in the shape {shape}, a row for each query "
            f"and a column for each item (none for padding), got {' of '.join(map(str, found)) if found[1] else short(given)}"
        )
    return given if given.is_floating_point() and given.element_size() > 2 else given.float()


def teacher_scores(scores, users=None, items=None):
    """A teacher's ``scores`` with -inf for NaN. Refuses +inf; on a GPU, which would have to wait for the answer, only where
    ``users`` and ``items`` say whose highest score each of the ``scores`` (B,) is: else the loss is not finite, which training
    refuses."""
    scores = scores.nan_to_num(-math.inf, math.inf, -math.inf)
    if (users is None and scores.is_cuda) or not scores.numel() or scores.max() < math.inf:
        return scores
    first = (scores == math.inf).nonzero()[0, 0]
    whose = "of a query and an item" if users is None else f"of user {int(users[first])} and item {int(items[first])}"
    raise ValueError(
        f"the teacher's score {whose} is +inf: give finite scores (half precision ends at 65,504); an item that comes first "
        "needs a higher score than the others, no more; -inf is for items that are never listed"
    )


def missing(thing: object, what: str) -> NotImplementedError:
    """What is raised where a class lacks a method that it has to have."""
    return NotImplementedError(f"{type(thing).__name__} must implement {what}")


def per_query(model, loss, n_queries: int):
    """``loss``. Refuses anything but one number for each query: a sum or mean would be reduced again."""
    if tuple(getattr(loss, "shape", ())) != (n_queries,) or not hasattr(loss, "backward"):
        found = f"shape {tuple(loss.shape)}" if hasattr(loss, "shape") else short(loss)
        raise ValueError(f"{type(model).__name__}.base_loss must return the loss of each query, ({n_queries},), got {found}")
    return loss


def single_scores(model, given, items):
    """``given``. Refuses anything but a score for each of the ``items`` (B, n)."""
    if tuple(getattr(given, "shape", ())) != tuple(items.shape) or not hasattr(given, "backward"):
        found = f"shape {tuple(given.shape)}" if hasattr(given, "shape") else short(given)
        raise ValueError(f"{type(model).__name__}.score must return a tensor of scores in the shape of the items, "
                         f"{tuple(items.shape)}, got {found}")  # fmt: skip
    return given


def one_number(distillation, loss):
    """``loss``. Refuses anything but one number, the mean or sum over a batch."""
    if tuple(getattr(loss, "shape", (0,))) != () or not hasattr(loss, "backward"):
        found = f"shape {tuple(loss.shape)}" if hasattr(loss, "shape") else short(loss)
        raise ValueError(f"{type(distillation).__name__}.loss must return one number, shape (), got {found}: the mean over the "
                         "batch, or its sum where the class says reduction = \"sum\"")  # fmt: skip
    return loss


def place_weights(scheme, weights, K: int, n_queries: int):
    """``weights``. Refuses anything but a number for each of the K places, of all lists or of each query's."""
    if tuple(getattr(weights, "shape", ())) not in ((K,), (n_queries, K)) or not hasattr(weights, "backward"):
        found = f"shape {tuple(weights.shape)}" if hasattr(weights, "backward") else short(weights)
        raise ValueError(f"{type(scheme).__name__} must return a tensor with a weight for each place of the lists, ({K},) or "
                         f"({n_queries}, {K}), got {found}")  # fmt: skip
    return weights


def trainable(model) -> None:
    """Refuses a model that is not one, or in which there is nothing to train."""
    if not hasattr(model, "query_loss"):
        raise ValueError(f"{type(model).__name__} must be a subclass of rdcore.models.Model")
    if not any(True for _ in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no parameters to train: its settings need fit(interactions), not build")


def short(value: object) -> str:
    """A value for a message. Containers, which may be endless, models, and huge integers, which Python
    does not print, by their type."""
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if hasattr(value, "state_dict"):  # a model, whose repr has many lines
        return f"a {type(value).__name__}"
    return repr(value)[:100]


class Named(dict):
    """A dict whose missing names raise a ValueError that says which names there are."""

    def __init__(self, what: str, things: Mapping):
        super().__init__(things)
        self.what = what

    def __missing__(self, name: object):
        raise ValueError(f"no {self.what} {short(name)}; there are: {', '.join(map(str, self))}")
