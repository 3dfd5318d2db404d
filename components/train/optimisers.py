"""The recipe's optimisers and schedules of the learning rate, each a row of a table.

In: a candidate and the length of the training. Out: a Keras optimiser, with weight decay and averaging of the weights set up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from components.common.candidate import Candidate, Optimizer, Schedule

#: `step_decay`: the rate falls to a tenth each time so many epochs are over.
_EPOCHS_PER_STEP = 5
#: `one_cycle`: share of the training in which the rate rises.
_WARM_UP = 0.25
#: Biases and what normalisation learns are not decayed: it would not simplify the function, only shift it.
_UNDECAYED = ["bias", "gamma", "beta"]


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear from near 0 to the peak, then linear to 0 (Smith and Topin, "Super-Convergence", 2019, without its momentum cycle)."""

    def __init__(self, peak: float, num_steps: int) -> None:
        super().__init__()
        self._peak, self._num_steps, self._num_rising = peak, num_steps, max(1, round(_WARM_UP * num_steps))

    def __call__(self, step: Any) -> Any:
        """The rate at a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        falling = (self._num_steps + 1 - done) / (self._num_steps + 1 - self._num_rising)
        return self._peak * keras.ops.maximum(0.0, keras.ops.minimum(done / self._num_rising, falling))


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Muon, with weight decay, for convolutions, and Adam for all else.

    A kernel's step is the nearest matrix to its momentum whose singular values are all 1, so that no direction of the many that a few large
    ones outshine goes unlearned (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024). Keras's own does so for
    matrices only; a kernel (height, width, inputs, outputs) counts here as one of height x width x inputs rows. A depthwise one, with one
    output for each input, would be a single column, of which a loud channel takes all.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) != 4 or variable.shape[-1] == 1

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign(m, self.momentum * m + gradient)
        ahead = keras.ops.reshape(gradient + self.momentum * m, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(ahead, self.ns_steps))
        self.assign_sub(variable, keras.ops.reshape(step, variable.shape))


#: From peak rate, steps in an epoch, and epochs, to what Keras takes for a learning rate.
SCHEDULES: dict[Schedule, Callable[[float, int, int], Any]] = {
    "constant": lambda rate, steps, epochs: rate,
    "cosine": lambda rate, steps, epochs: keras.optimizers.schedules.CosineDecay(rate, steps * epochs),
    "step_decay": lambda rate, steps, epochs: keras.optimizers.schedules.ExponentialDecay(
        rate, steps * _EPOCHS_PER_STEP, decay_rate=0.1, staircase=True
    ),
    "one_cycle": lambda rate, steps, epochs: OneCycle(rate, steps * epochs),
}

OPTIMIZERS: dict[Optimizer, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    # Keras decouples the weight decay of any optimiser from the gradient, which is all that AdamW adds to Adam; a recipe must give one.
    "adamw": keras.optimizers.Adam,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
    # The decay that suits kernels before a normalisation, whose length does not matter, would flatten what Adam updates: the head.
    "muon": partial(Muon, momentum=0.9, adam_weight_decay=None),
}


def last_rate(candidate: Candidate, peak: float, steps_per_epoch: int, num_epochs: int, epoch: int) -> float:
    """The learning rate in the last step of an epoch, which is counted from 0; the others are as for `make_optimizer`."""
    schedule = SCHEDULES[candidate.schedule](peak, steps_per_epoch, num_epochs)
    return float(keras.ops.convert_to_numpy(schedule((epoch + 1) * steps_per_epoch - 1))) if callable(schedule) else peak


def make_optimizer(candidate: Candidate, rate: float, steps_per_epoch: int, num_epochs: int) -> keras.optimizers.Optimizer:
    """The candidate's optimiser for one phase.

    Args:
        candidate: Says which, and by which schedule.
        rate: At which the learning rate peaks.
        steps_per_epoch: Batches.
        num_epochs: Of the phase.
    """
    optimizer = OPTIMIZERS[candidate.optimizer](
        learning_rate=SCHEDULES[candidate.schedule](rate, steps_per_epoch, num_epochs),
        weight_decay=candidate.weight_decay or None,
        use_ema=candidate.ema > 0,
        ema_momentum=candidate.ema or 0.99,
    )
    if candidate.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
    return optimizer
