"""What happens to sequences before a network sees them: features are scaled, sequences padded to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_from_scratch.alphabet import FloatArray
from rnn_from_scratch.file_format import FileFormatError
from rnn_from_scratch.prediction.forms import Sequences
from rnn_from_scratch.validation import numeric_array, shown

__all__ = ["SIDES", "Padding", "Scaling", "Step", "step_from_words"]

SIDES = ("after", "before")
MAX_FEATURES = 1 << 16
MAX_STEPS = 1 << 32


@dataclass(frozen=True, eq=False)
class Scaling:
    """Every feature less its center, divided by its scale.

    >>> from rnn_from_scratch.prediction.forms import as_sequences
    >>> Scaling(np.array([1.0]), np.array([2.0]))(as_sequences([[1.0, 5.0]]))
    array([[0., 2.]])
    """

    center: FloatArray
    scale: FloatArray

    def __call__(self, sequences: Sequences) -> Any:
        """The same in the form that came: (N, T, D), (N, T), or a list of (T_i, D)."""
        return self._each(sequences, lambda x: (x - self.center.astype(x.dtype)) / self.scale.astype(x.dtype))

    def inverse(self, sequences: Sequences) -> Any:
        """What was before."""
        return self._each(sequences, lambda x: x * self.scale.astype(x.dtype) + self.center.astype(x.dtype))

    def _each(self, sequences: Sequences, change: Any) -> Any:
        X, D = sequences.X, len(self.center)
        if not isinstance(X, list):
            changed = change(_floats(X, D, "X", 3))
            return changed[:, :, 0] if sequences.univariate else changed
        return [change(_floats(x, D, f"X[{n}]", 2)) for n, x in enumerate(X)]

    def to_words(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {"center": self.center.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_words(cls, words: Any) -> Scaling:
        """The scaling that a file says, checked."""
        if not isinstance(words, dict) or words.keys() != {"center", "scale"}:
            raise FileFormatError(f"its scaling must have 'center' and 'scale'. Got {shown(words)}.")
        center, scale = (_numbers(words[name], name) for name in ("center", "scale"))
        if len(center) != len(scale) or (scale <= 0).any():
            raise FileFormatError(f"its scale must be a number > 0 for each center. Got {shown(words['scale'])}.")
        return cls(center, scale)


def _floats(values: object, D: int, name: str, dimensions: int) -> FloatArray:
    array = numeric_array(values, name)
    if array.ndim != dimensions or array.shape[-1] != D:
        raise ValueError(f"{name} must be ({'N, ' if dimensions == 3 else ''}T, D={D}). Got {array.shape}.")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _numbers(values: Any, name: str) -> FloatArray:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_FEATURES:
        raise FileFormatError(f"its {name} must be a list of numbers. Got {shown(values)}.")
    if not all(type(value) is float and np.isfinite(value) for value in values):
        raise FileFormatError(f"its {name} must hold finite floats. Got {shown(values)}.")
    return np.array(values)


@dataclass(frozen=True)
class Padding:
    """Sequences of any lengths as one array (N, T, D), or flat (N, T·D).

    Attributes
    ----------
    steps : int
        T. Of longer sequences the last T steps are kept.
    value : float
        What stands where a sequence has no step.
    side : {'after', 'before'}
        Where that is.
    mask : bool
        Whether a further feature says which steps are real, by 1 and 0.
    flatten : bool
        Whether the steps stand side by side.

    Examples
    --------
    >>> from rnn_from_scratch.prediction.forms import as_sequences
    >>> Padding(2, 0.0, "before", True, False)(as_sequences([[[5.0]], [[6.0], [7.0], [8.0]]]))
    array([[[0., 0.],
            [5., 1.]],
    <BLANKLINE>
           [[7., 1.],
            [8., 1.]]])
    """

    steps: int
    value: float
    side: str
    mask: bool
    flatten: bool

    def __call__(self, sequences: Sequences) -> FloatArray:
        """(N, T, D), with a mask (N, T, D + 1); or (N, T·D)."""
        items = [numeric_array(x, f"X[{n}]") for n, x in enumerate(sequences.X)]
        D, lengths = items[0].shape[-1], sequences.lengths
        for n, item in enumerate(items):
            if item.ndim != 2 or item.shape[1] != D:
                raise ValueError(f"X[{n}] must be (T, D={D}). Got {item.shape}.")
        dtype = np.dtype(np.float32 if all(item.dtype == np.float32 for item in items) else np.float64)
        padded = np.full((len(items), self.steps, D + self.mask), self.value, dtype)
        if self.mask:
            padded[..., D] = 0
        for row, item, length in zip(padded, items, lengths.tolist(), strict=True):
            x = item[max(0, length - self.steps) : length]
            place = slice(0, len(x)) if self.side == "after" else slice(self.steps - len(x), self.steps)
            row[place, :D] = x
            if self.mask:
                row[place, D] = 1
        return padded.reshape(len(items), -1) if self.flatten else padded

    def to_words(self) -> dict[str, Any]:
        """As JSON can say it."""
        return dict(vars(self))

    @classmethod
    def from_words(cls, words: Any) -> Padding:
        """The padding that a file says, checked."""
        kinds: dict[str, type] = {"steps": int, "value": float, "side": str, "mask": bool, "flatten": bool}
        if not isinstance(words, dict) or words.keys() != kinds.keys():
            raise FileFormatError(f"its padding must have {sorted(kinds)}. Got {shown(words)}.")
        right = all(type(words[name]) is kind for name, kind in kinds.items())
        if not right or not 1 <= words["steps"] <= MAX_STEPS or words["side"] not in SIDES:
            raise FileFormatError(f"its padding must be one that can be. Got {shown(words)}.")
        if np.isinf(words["value"]):
            raise FileFormatError(f"the value of its padding must be finite or NaN. Got {words['value']}.")
        return cls(**words)


Step = Scaling | Padding
STEPS: dict[str, type[Scaling] | type[Padding]] = {"SequenceScaler": Scaling, "SequencePadder": Padding}


def step_from_words(kind: Any, words: Any) -> Step:
    """The step of a kind that a file says."""
    if kind not in list(STEPS):
        raise FileFormatError(f"its steps must be of the kinds {', '.join(STEPS)}. Got {shown(kind)}.")
    return STEPS[kind].from_words(words)
