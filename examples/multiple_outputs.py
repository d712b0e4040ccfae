"""Three outputs for every step, compared with their labels correctly, and a picture of the loss.

Run it: ``python examples/multiple_outputs.py [folder for the picture]``

The picture needs matplotlib: ``pip install "rnn-from-scratch[plot]"``. Without it the example runs and says so.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from rnn_from_scratch import RNNScratch

NAMES = ("x0 + x1", "x2 - x3", "mean of the row")


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Thirty steps of four standard normals, (30, 4), and three functions of each row, (30, 3)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    y = np.column_stack([X[:, 0] + X[:, 1], X[:, 2] - X[:, 3], X.mean(axis=1)])
    return X, y


def plot(history: list[float], folder: str | Path | None) -> Path | None:
    """Draw the loss of every epoch into a file and return where it is; None if matplotlib is not installed."""
    try:
        # A figure without pyplot opens no window, so nothing waits for somebody to close it.
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(history) + 1), history)
    axes.set(xlabel="Epoch", ylabel="Loss", yscale="log", title="Training loss, three outputs")
    path = Path(folder or tempfile.mkdtemp(prefix="rnn-from-scratch-")) / "multiple_outputs.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(folder: str | Path | None = None) -> dict[str, float]:
    """Train, print, draw into `folder` (a new temporary one if None), and return the figures that were printed."""
    X, y = make_data()
    model = RNNScratch(
        input_features=4,
        hidden_units=20,
        num_output=3,
        learning_rate=0.005,
        loss="mse",
        activation="tanh",
        output_activation="linear",
        random_state=0,
    )
    history = model.fit(X, y, epochs=3000, verbose=False, return_history=True)
    predictions = model.predict(X)  # a list of 30 columns (3, 1)

    # A trap: a prediction is a column (3, 1), a row of labels is (3,), and `(predictions[0] - y[0]) ** 2` broadcasts
    # the two to (3, 3), every output against every label, without a word. Give both the same shape first.
    aligned = np.stack(predictions)[:, :, 0]  # (30, 3), like y
    errors = ((aligned - y) ** 2).mean(axis=0)  # (3,)

    print(f"Loss: {history[0]:.6f} before training, {history[-1]:.6f} in the last epoch")
    for name, error in zip(NAMES, errors, strict=True):
        print(f"MSE of {name}: {error:.6f}")

    path = plot(history, folder)
    if path is None:
        print('No picture: matplotlib is not installed. Try: pip install "rnn-from-scratch[plot]"')
    else:
        print(f"Picture of the loss: {path}")
    return {"first_loss": history[0], "final_loss": history[-1], "mse": float(errors.mean())}


if __name__ == "__main__":
    main(*sys.argv[1:2])
