"""Regression: three random walks go in, half their sum comes out, at every step.

Run it: ``python examples/regression.py``
"""

import numpy as np

from rnn_from_scratch import RNNScratch


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Three random walks of 20 steps, (20, 3), and half the sum of each row, (20, 1)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3)).cumsum(axis=0)
    y = X.sum(axis=1, keepdims=True) / 2
    return X, y


def main() -> dict[str, float]:
    """Train, print, and return the figures that were printed."""
    X, y = make_data()
    model = RNNScratch(
        input_features=3,
        hidden_units=10,
        num_output=1,
        learning_rate=0.01,
        loss="mse",
        activation="tanh",
        output_activation="linear",  # the targets are any real numbers; a sigmoid could only say 0 to 1
        random_state=0,
    )
    history = model.fit(X, y, epochs=2000, verbose=False, return_history=True)

    # Twenty arrays (1, 1) become one array of the labels' shape, (20, 1), before anything is subtracted.
    predictions = np.concatenate(model.predict(X))
    mse = float(np.mean((predictions - y) ** 2))

    print(f"Loss: {history[0]:.6f} before training, {history[-1]:.6f} in the last epoch")
    print(f"MSE of the predictions: {mse:.6f} (variance of the targets: {y.var():.6f})")
    return {"first_loss": history[0], "final_loss": history[-1], "mse": mse}


if __name__ == "__main__":
    main()
