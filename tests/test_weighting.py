"""Sample weights and the schedules that change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import CLASSIFIERS, MODELS, params_of, problem, small_ridge
from torch import Tensor

from torchlogreg import (
    L2,
    Batch,
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ClassWeights,
    FitState,
    Focal,
    Hook,
    LogisticRegression,
    Model,
    Objective,
    Product,
    Smoothed,
    Snapshot,
    SoftmaxRegression,
    Uniform,
    Weighting,
    fit,
)
from torchlogreg.sample_weights import mean_one

F64 = torch.float64
ADAPTIVE: dict[str, Callable[[], Weighting]] = {
    "boost": BoostMisclassified,
    "boost capped": lambda: BoostMisclassified(1.5, cap=4.0, sticky=False),
    "class mean": ClassMean,
    "focal": Focal,
    "smoothed focal": lambda: Smoothed(Focal()),
    "product": lambda: Product(BoostMisclassified(), Focal(1.0), ClassBalanced()),
}


class Spy(Hook):
    """Remembers sample weights and what was wrong before each epoch."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.wrong: list[Tensor] = []

    def on_fit_start(self, state: FitState) -> None:
        """The errors that the first epoch's weights are made from."""
        self._look(state)

    def on_epoch_end(self, state: FitState) -> None:
        """The weights of this epoch; the errors that the next one's are made from."""
        self.weights.append(state.data.sample_weight.clone())
        self._look(state)

    def _look(self, state: FitState) -> None:
        with torch.no_grad():
            predicted = state.model.predict(state.model(state.data.X))
        self.wrong.append(predicted != state.data.y)


def snapshot(losses: list[float], y: list[int], predicted: list[int], previous: Any = None) -> Any:
    """A snapshot of a binary problem."""
    return Snapshot(
        torch.tensor(y, dtype=F64),
        torch.zeros(len(y), 1, dtype=F64),
        torch.tensor(losses, dtype=F64),
        torch.tensor(predicted),
        previous,
    )


def optimum(name: str, X: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Parameters of the ridge fit to convergence."""
    model = problem(name).model()
    fit(model, X, y, sample_weight=weight, penalty=L2(0.1), optimizer="newton", tol=1e-12)
    return params_of(model)


# --- sample_weight: what it means --------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_integer_weight_equals_repeated_row(name: str) -> None:
    case = problem(name)
    times = 1 + torch.arange(case.n) % 3
    repeated = optimum(name, case.X.repeat_interleave(times, 0), case.y.repeat_interleave(times))
    torch.testing.assert_close(
        optimum(name, case.X, case.y, times), repeated, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", MODELS)
def test_zero_weight_equals_removal(name: str) -> None:
    case = problem(name)
    kept = torch.arange(case.n) % 4 != 0
    removed = optimum(name, case.X[kept], case.y[kept])
    torch.testing.assert_close(optimum(name, case.X, case.y, kept), removed, rtol=1e-10, atol=1e-10)


@given(name=st.sampled_from(MODELS), times=st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_weighted_objective_equals_that_of_repeated_rows(name: str, times: list[int]) -> None:
    # The value and gradient, not only the optimum; zeros are removals.
    case = problem(name)
    count = torch.tensor([max(times[0], 1), *times[1:]])
    model, y = case.model(), case.model().target(case.y)
    weighted = Batch(case.X, y, mean_one(count.double()))
    repeated = Batch(
        case.X.repeat_interleave(count, 0),
        y.repeat_interleave(count),
        torch.ones(int(count.sum()), dtype=F64),
    )
    a, b = (Objective(model).closure(data, data) for data in (weighted, repeated))
    torch.testing.assert_close(a.value(), b.value(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(a.gradient(), b.gradient(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(a.hessian(), b.hessian(), rtol=1e-12, atol=1e-14)


@given(scale=st.floats(1e-300, 1e300), name=st.sampled_from(MODELS))
def test_the_scale_of_sample_weights_does_not_matter(scale: float, name: str) -> None:
    case = problem(name)
    weight = 0.5 + torch.arange(case.n, dtype=F64) % 5
    results = []
    for factor in (1.0, scale):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            sample_weight=weight * factor,
            optimizer="sgd",
            max_epochs=3,
            tol=0,
        )
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


@given(
    name=st.sampled_from(MODELS),
    cuts=st.sets(st.integers(1, 59), max_size=6),
    seed=st.integers(0, 100),
)
def test_a_partition_of_the_rows_changes_nothing(name: str, cuts: set[int], seed: int) -> None:
    case = problem(name)
    model = case.model()
    source = torch.Generator().manual_seed(seed)
    weight = mean_one(torch.rand(case.n, generator=source, dtype=F64) + 0.1)
    data = Batch(case.X, model.target(case.y), weight)
    objective = Objective(model, None, L2(0.3))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=source, dtype=F64))
    order = torch.randperm(case.n, generator=source)
    value, gradient = torch.zeros((), dtype=F64), torch.zeros_like(params_of(model))
    for index in torch.tensor_split(order, sorted(cuts)):
        part = objective.closure(data.rows(index), data)
        value += part.value() * len(index) / case.n
        gradient += part.gradient() * len(index) / case.n
    whole = objective.closure(data, data)
    torch.testing.assert_close(value, whole.value(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, whole.gradient(), rtol=1e-12, atol=1e-14)


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=50).filter(lambda w: max(w) > 0))
def test_mean_one_has_mean_one(weights: list[float]) -> None:
    scaled = mean_one(torch.tensor(weights, dtype=F64))
    assert float(scaled.mean()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 60, 1001])
def test_mean_one_leaves_ones_bit_for_bit(n: int) -> None:
    for dtype in (torch.float32, F64):
        ones = torch.ones(n, dtype=dtype)
        assert torch.equal(mean_one(ones), ones)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([1.0, -1.0, 1.0], r"sample_weight: row 1 has weight -1.*not negative"),
        ([1.0, 1.0, float("nan")], r"sample_weight: row 2 has weight nan"),
        ([float("inf"), 1.0, 1.0], r"sample_weight: row 0 has weight inf"),
        ([0.0, 0.0, 0.0], r"sample_weight: all weights are zero"),
        ([1.0, 1.0], r"sample_weight has shape \(2,\).*3 rows"),
        ([[1.0], [1.0], [1.0]], r"sample_weight has shape \(3, 1\)"),
    ],
)
def test_bad_sample_weights_are_named(weights: Any, text: str) -> None:
    model = LogisticRegression(1, dtype=F64)
    with pytest.raises(ValueError, match=text) as caught:
        fit(model, [[0.0], [1.0], [2.0]], [0, 1, 0], sample_weight=weights)
    assert "\n" not in str(caught.value)


# --- switched off ------------------------------------------------------------------------------

OFF: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "boost by one": lambda: BoostMisclassified(1.0),
    "class mean of ones": lambda: ClassMean(BoostMisclassified(1.0)),
    "class weights of ones": lambda: ClassWeights({0: 1.0, 1: 1.0}),
    "no class weights": lambda: ClassWeights({}),
    "focal with gamma zero": lambda: Focal(0.0),
    "smoothed uniform": lambda: Smoothed(Uniform()),
    "product of uniforms": lambda: Product(Uniform(), Uniform()),
}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("off", OFF)
def test_a_schedule_switched_off_is_the_plain_fit_bit_for_bit(
    off: str, batch_size: int | None, own: bool
) -> None:
    case = problem("logistic")
    weight = 0.3 + torch.arange(case.n, dtype=F64) % 7 if own else None
    results = []
    for weighting in (None, OFF[off]()):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            weighting=weighting,
            sample_weight=weight,
            optimizer="sgd",
            batch_size=batch_size,
            max_epochs=5,
            tol=0,
            generator=torch.Generator().manual_seed(1),
        )
        results.append(params_of(model))
    assert torch.equal(*results)


# --- the rules ---------------------------------------------------------------------------------


def states(rule: Weighting, y: list[int], predictions: list[list[int]]) -> list[list[float]]:
    """The rule's states over epochs, each handed on to the next."""
    memory, seen = None, []
    for predicted in predictions:
        memory = rule.update(snapshot([1.0] * len(y), y, predicted, memory))
        seen.append(memory.tolist())
    return seen


def test_boost_leaves_the_first_epoch_plain() -> None:
    # An untrained model calls every row class 1; its mistakes would stick to class 0.
    assert states(BoostMisclassified(), [0, 1, 0], [[1, 1, 1]]) == [[1, 1, 1]]


def test_boost_doubles_once_and_keeps_it() -> None:
    seen = states(BoostMisclassified(), [0, 1, 0], [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert seen == [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 1]]


def test_boost_grows_to_its_cap() -> None:
    seen = states(BoostMisclassified(3.0, cap=10.0), [0, 1], [[1, 1]] * 5)
    assert seen == [[1, 1], [3, 1], [9, 1], [10, 1], [10, 1]]


def test_boost_that_does_not_stick_falls_back_to_one() -> None:
    rule = BoostMisclassified(2.0, cap=8.0, sticky=False)
    seen = states(rule, [0, 1], [[1, 1], [1, 0], [0, 0], [1, 1]])
    assert seen == [[1, 1], [2, 2], [1, 4], [2, 1]]


@pytest.mark.parametrize("sticky", [True, False])
@pytest.mark.parametrize("batch_size", [None, 10])
def test_boost_follows_the_errors_before_each_epoch(sticky: bool, batch_size: int | None) -> None:
    case, spy = problem("logistic"), Spy()
    rule = BoostMisclassified(2.0, cap=16.0, sticky=sticky)
    fit(
        case.model(),
        case.X,
        case.y,
        weighting=rule,
        optimizer="sgd",
        batch_size=batch_size,
        max_epochs=8,
        tol=0,
        hooks=[spy],
        generator=torch.Generator().manual_seed(0),
    )
    factor = [1.0] * case.n
    for epoch, (weights, wrong) in enumerate(zip(spy.weights, spy.wrong, strict=False)):
        for i, miss in enumerate(wrong.tolist() if epoch else []):
            kept = factor[i] if sticky else 1.0
            factor[i] = min(2 * factor[i], 16.0) if miss else kept
        expected = torch.tensor(factor, dtype=F64)
        torch.testing.assert_close(weights, expected / expected.mean(), rtol=1e-14, atol=0)


def test_class_mean_is_the_original_cost_loggers_rule() -> None:
    # class_weight = {0: 1, 1: mean(row weights)}, the row weights being 1 or, once wrong, 2.
    rule, memory, seen = ClassMean(), None, []
    y = [0, 1, 0, 1, 1]
    for predicted in ([1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 0, 0, 0, 1]):
        snap = snapshot([1] * 5, y, predicted, memory)
        memory = rule.update(snap)
        seen.append(rule.factor(memory, snap.y).tolist())
    ones = pytest.approx([1, 1, 1, 1, 1])
    assert seen == [
        ones,
        pytest.approx([1, 1.4, 1, 1.4, 1.4]),
        pytest.approx([1, 1.6, 1, 1.6, 1.6]),
    ]


@given(st.lists(st.floats(0, 700), min_size=1, max_size=20), st.floats(0, 5))
def test_focal_is_its_formula(losses: list[float], gamma: float) -> None:
    n = len(losses)
    factor = Focal(gamma)(snapshot(losses, [1] * n, [1] * n)).numpy()
    expected = (-np.expm1(-np.array(losses))) ** gamma
    expected = expected if expected.sum() > 0 else np.ones(n)
    np.testing.assert_allclose(factor, expected, rtol=1e-12)


def test_smoothed_focal_converges_where_bare_focal_does_not() -> None:
    case = problem("logistic", n=200)
    bare = fit(case.model(), case.X, case.y, weighting=Focal(), optimizer="newton", tol=1e-8)
    smooth = fit(
        case.model(), case.X, case.y, weighting=Smoothed(Focal()), optimizer="newton", tol=1e-8
    )
    assert smooth.converged and smooth.n_epochs < 60
    assert not bare.converged


def test_the_message_says_that_sample_weights_still_change() -> None:
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=Focal(), optimizer="sgd", max_epochs=3)
    assert "sample weights still change by" in result.message


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5, float("nan")])
def test_smoothed_refuses_a_rate_outside_its_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate is"):
        Smoothed(Focal(), rate=rate)


def test_smoothed_at_rate_one_is_the_inner_rule() -> None:
    case = problem("logistic")
    results = [
        fit(case.model(), case.X, case.y, weighting=w, optimizer="sgd", max_epochs=6, tol=0)
        for w in (Focal(), Smoothed(Focal(), rate=1.0))
    ]
    torch.testing.assert_close(
        results[0].sample_weight, results[1].sample_weight, rtol=1e-13, atol=0
    )


def test_product_keeps_the_memories_of_its_parts_apart() -> None:
    parts = (BoostMisclassified(2.0, cap=8.0), BoostMisclassified(3.0, cap=27.0, sticky=False))
    product, memory, memories = Product(*parts), None, [None, None]
    for predicted in ([0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1]):
        snap = snapshot([1, 1, 1], [0, 1, 0], predicted)
        memory = product.update(snap._replace(previous=memory))
        memories = [
            part.update(snap._replace(previous=m)) for part, m in zip(parts, memories, strict=True)
        ]
        assert torch.equal(product.factor(memory, snap.y), memories[0] * memories[1])
    assert product.factor(memory, snap.y).tolist() == [4, 36, 8 * 27]


def test_smoothed_inside_a_product_remembers() -> None:
    case = problem("logistic")
    inner = [Smoothed(Focal()), Product(Smoothed(Focal()), Uniform())]
    results = [
        fit(case.model(), case.X, case.y, weighting=w, optimizer="sgd", max_epochs=6, tol=0)
        for w in inner
    ]
    torch.testing.assert_close(
        results[0].sample_weight, results[1].sample_weight, rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_balanced_equals_sklearn(name: str) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    case = problem(name)
    y = case.y.numpy()
    per_class = compute_class_weight("balanced", classes=np.unique(y), y=y)
    expected = per_class[y.astype(int)]
    result = fit(case.model(), case.X, case.y, weighting=ClassBalanced(), max_epochs=1, tol=0)
    np.testing.assert_allclose(result.sample_weight.numpy(), expected / expected.mean())


def test_class_weights_multiply_by_class() -> None:
    case = problem("softmax")
    result = fit(case.model(), case.X, case.y, weighting=ClassWeights({1: 3.0, 2: 0.5}), tol=1e-3)
    expected = torch.tensor([1.0, 3.0, 0.5], dtype=F64)[case.y]
    torch.testing.assert_close(result.sample_weight, expected / expected.mean())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_class_weights_refuse_what_is_no_weight(value: float) -> None:
    with pytest.raises(ValueError, match="class 1 has weight"):
        ClassWeights({1: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: BoostMisclassified(0.5),
        lambda: BoostMisclassified(2.0, cap=0.5),
        lambda: BoostMisclassified(float("nan")),
        lambda: BoostMisclassified(float("inf")),
        lambda: Focal(-1.0),
        lambda: Focal(float("nan")),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Weighting]) -> None:
    with pytest.raises(ValueError, match=r"factor=|gamma is"):
        make()


# --- in a fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ADAPTIVE)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_schedule_trains_every_classifier(name: str, rule: str) -> None:
    case, model = problem(name), problem(name).model()
    result = fit(
        model, case.X, case.y, weighting=ADAPTIVE[rule](), penalty=small_ridge(name), max_epochs=15
    )
    assert bool(torch.isfinite(params_of(model)).all())
    assert float(result.sample_weight.mean()) == pytest.approx(1)
    assert bool((result.sample_weight >= 0).all())


@pytest.mark.parametrize("rule", ADAPTIVE)
def test_soft_targets_at_the_corners_equal_hard_ones(rule: str) -> None:
    case = problem("softmax")
    soft = torch.nn.functional.one_hot(case.y, 3).to(F64)
    results = []
    for y in (case.y, soft):
        model = case.model()
        fit(model, case.X, y, weighting=ADAPTIVE[rule](), penalty=L2(0.1), max_epochs=5, tol=0)
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_the_users_weights_multiply_the_factors() -> None:
    case = problem("logistic")
    own = 0.5 + torch.arange(case.n, dtype=F64) % 3
    factors = 1 + torch.arange(case.n, dtype=F64) % 2
    result = fit(
        case.model(), case.X, case.y, sample_weight=own, weighting=lambda s: factors, max_epochs=1
    )
    product = own * factors
    torch.testing.assert_close(result.sample_weight, product / product.mean())


@pytest.mark.parametrize("name", MODELS)
def test_any_callable_is_a_weighting(name: str) -> None:
    case, seen = problem(name), []

    def by_loss(rows: Snapshot) -> Tensor:
        seen.append(rows)
        return 1 / (1 + rows.losses)

    fit(case.model(), case.X, case.y, weighting=by_loss, max_epochs=4, tol=0)
    assert len(seen) == 4 and seen[0].previous is None and seen[1].previous is not None
    assert seen[0].losses.shape == (case.n,) and not seen[0].eta.requires_grad


@pytest.mark.parametrize("wrap", [Smoothed, Product])
def test_a_callable_may_stand_inside_another_weighting(wrap: Any) -> None:
    # fit takes plain functions; a combinator that does not would surprise.
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=wrap(lambda s: 1 + s.losses), max_epochs=3)
    assert bool(torch.isfinite(result.sample_weight).all())


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (float("nan"), r"row 3 has weight nan"),
        (-1.0, r"row 3 has weight -1"),
        (float("inf"), r"row 3 has weight inf"),
    ],
)
def test_a_callables_bad_factor_is_named_with_its_row(bad: float, text: str) -> None:
    case = problem("logistic")

    def broken(rows: Snapshot) -> Tensor:
        factor = torch.ones_like(rows.losses)
        factor[3] = bad
        return factor

    with pytest.raises(ValueError, match=r"weighting broken: " + text):
        fit(case.model(), case.X, case.y, weighting=broken)


class Broken(Weighting):
    """A user's own schedule that divides zero by zero."""

    def update(self, snapshot: Snapshot) -> Tensor:
        """NaN in row 2."""
        factor = torch.ones_like(snapshot.losses)
        factor[2] = torch.nan
        return factor


def test_a_users_weighting_with_a_bad_factor_is_named_with_its_row() -> None:
    # Only callables were checked; a subclass with NaN trained to NaN and "converged".
    case = problem("logistic")
    with pytest.raises(ValueError, match=r"Broken: row 2 has weight nan"):
        fit(case.model(), case.X, case.y, weighting=Broken())


def test_class_weights_that_leave_no_row_are_refused() -> None:
    # The scaling to mean one divided zero by zero, and the fit "converged" to NaN.
    case = problem("logistic")
    with pytest.raises(ValueError, match="zero"):
        fit(case.model(), case.X, case.y, weighting=ClassWeights({0: 0.0, 1: 0.0}))


def test_factors_that_leave_no_row_of_those_with_weight_are_refused() -> None:
    # Each is fine alone: the user weighs the upper half, the schedule the lower half.
    case = problem("linear")
    upper = case.X[:, 0] > 0
    with pytest.raises(ValueError, match="zero"):
        fit(case.model(), case.X, case.y, sample_weight=upper, weighting=lambda s: ~upper)


@pytest.mark.parametrize("rule", [ClassBalanced, ClassMean, lambda: Smoothed(Focal())])
def test_zero_weight_equals_removal_under_a_schedule(rule: Callable[[], Weighting]) -> None:
    # Counts and means over rows must not count rows that weigh nothing.
    case = problem("logistic")
    kept = (torch.arange(case.n) % 4 != 0) | (case.y == 0)
    results = []
    for X, y, weight in ((case.X, case.y, kept), (case.X[kept], case.y[kept], None)):
        model = case.model()
        fit(
            model,
            X,
            y,
            sample_weight=weight,
            weighting=rule(),
            penalty=L2(0.1),
            max_epochs=4,
            tol=0,
        )
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_a_fixed_weighting_is_asked_once_and_an_adaptive_one_every_epoch() -> None:
    class Fixed(Weighting):
        adaptive = False
        calls = 0

        def update(self, snapshot: Snapshot) -> Tensor:
            type(self).calls += 1
            return torch.ones_like(snapshot.losses)

    class Moving(Fixed):
        adaptive = True
        calls = 0

    case = problem("logistic")
    for rule in (Fixed(), Moving()):
        fit(case.model(), case.X, case.y, weighting=rule, optimizer="sgd", max_epochs=7, tol=0)
    assert (Fixed.calls, Moving.calls) == (1, 7)


@pytest.mark.parametrize("reference", [True, False])
def test_binary_and_two_class_softmax_follow_one_schedule(reference: bool) -> None:
    case = problem("logistic")
    softmax: Model = SoftmaxRegression(3, 2, reference=reference, dtype=F64)
    logistic = case.model()
    rule = Smoothed(BoostMisclassified())
    for model, y in ((logistic, case.y), (softmax, case.y.long())):
        fit(model, case.X, y, weighting=rule, optimizer="newton", tol=1e-10)
    torch.testing.assert_close(
        logistic.mean(logistic(case.X)), softmax.mean(softmax(case.X))[:, 1], rtol=0, atol=1e-8
    )
