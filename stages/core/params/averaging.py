"""The moving average of the weights that `ema_decay: auto` stands for."""

EMA_SHARE, MIN_EMA_DECAY, MAX_EMA_DECAY = 0.25, 0.9, 0.9998


def average_decay(steps: int) -> float:
    """Decay of an average over the last `EMA_SHARE` of a training of so many steps.

    A decay of 1 - 1/n weighs about the last n.
    """
    return min(max(1 - 1 / (EMA_SHARE * steps), MIN_EMA_DECAY), MAX_EMA_DECAY)
