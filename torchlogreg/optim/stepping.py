"""What is around every step of an optimizer of ours: no gradients, and torch's own ceremony."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import _profiler_enabled
from torch.optim import Optimizer
from torch.optim import optimizer as theirs

_ANYBODY = (
    getattr(theirs, "_global_optimizer_pre_hooks", True),
    getattr(theirs, "_global_optimizer_post_hooks", True),
)
"""Torch's hooks for the steps of all optimizers; should it name them otherwise, it is asked."""


def quiet_step(step: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    """``step`` without gradients, and without the hooks and the profiler that nobody uses.

    Torch wraps the ``step`` of every class of optimizers, which takes ten microseconds where few
    rows are done in a hundred. Here it does so where a hook is registered or a profiler runs.

    Parameters
    ----------
    step : callable
        A method, of ``self`` and a closure.
    """
    watched = Optimizer.profile_hook_step(torch.no_grad()(step))

    @functools.wraps(step)
    def wrapper(self: Any, closure: Any = None) -> Tensor:
        """The step."""
        if (
            any(_ANYBODY)
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _profiler_enabled()
        ):
            return watched(self, closure)
        with torch.no_grad():
            return step(self, closure)

    wrapper.hooked = True  # type: ignore[attr-defined]  # Optimizer.__init__ then leaves it alone
    return wrapper
