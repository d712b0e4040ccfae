"""What is shown while training runs: a bar where there is a terminal and tqdm, else a line per tenth of the run."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rnn_from_scratch.training.history import History

__all__ = ["Progress"]


class Progress:
    """Shows a run of some epochs; a context, so that a bar is closed whatever happens.

    Parameters
    ----------
    epochs : int
    verbose : bool
        Whether anything is shown at all.
    done : int, default=0
        Epochs that an earlier run has finished.

    Examples
    --------
    >>> history = History()
    >>> with Progress(2, verbose=True) as progress:
    ...     for loss in (0.5, 0.25):
    ...         history.loss.append(loss)
    ...         history.learning_rate.append(0.1)
    ...         progress.show(history)
    epoch 1/2: loss 0.5, rate 0.1
    epoch 2/2: loss 0.25, rate 0.1
    """

    def __init__(self, epochs: int, verbose: bool, done: int = 0) -> None:
        self.epochs, self.verbose, self.shown = epochs, verbose, done
        self.bar: Any = _bar(epochs, done) if verbose and sys.stdout.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    @property
    def epochs_at_once(self) -> int:
        """How many epochs may pass until the next call of `show`: up to the end of this tenth of the run."""
        if not self.verbose:
            return self.epochs
        tenth = self.shown * 10 // self.epochs + 1
        return max(1, -(-tenth * self.epochs // 10) - self.shown)

    def show(self, history: History) -> None:
        """After some epochs."""
        if not self.verbose:
            return
        done = len(history)
        words = {"loss": history.loss[-1], "rate": history.learning_rate[-1]}
        if history.validation_loss:
            words["validation loss"] = history.validation_loss[-1]
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in words.items()}, refresh=False)
            self.bar.update(done - self.shown)
        elif done * 10 // self.epochs > self.shown * 10 // self.epochs or done == self.epochs:
            said = ", ".join(f"{name} {value:.4g}" for name, value in words.items())
            print(f"epoch {done}/{self.epochs}: {said}", flush=True)
        self.shown = done


def _bar(epochs: int, done: int) -> Any:
    """A tqdm bar, or None without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=epochs, initial=done, unit="epoch", file=sys.stdout)
