"""The smallest complete program: learn one number per step of one short sequence, and look at the predictions.

Run it: ``python examples/basic_usage.py``
"""

import numpy as np

from rnn_from_scratch import RNNScratch


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Five steps of three features, (5, 3), and half the sum of each row, (5, 1)."""
    X = np.array(
        [
            [0.1, 0.2, 0.3],
            [0.2, 0.3, 0.4],
            [0.3, 0.4, 0.5],
            [0.4, 0.5, 0.6],
            [0.5, 0.6, 0.7],
        ]
    )
    y = X.sum(axis=1, keepdims=True) / 2
    return X, y


def main() -> dict[str, float]:
    """Train, print, and return the figures that were printed."""
    X, y = make_data()
    model = RNNScratch(
        input_features=3,
        hidden_units=5,
        num_output=1,
        learning_rate=0.001,
        loss="mse",
        activation="tanh",
        output_activation="linear",
        random_state=0,  # the same weights in every run
    )
    history = model.fit(X, y, epochs=1000, verbose=True, return_history=True)
    predictions = model.predict(X)  # a list with one array (1, 1) for each step

    print("\nstep  target  prediction")
    for step, (target, prediction) in enumerate(zip(y, predictions, strict=True), start=1):
        print(f"{step:>4}  {target[0]:6.3f}  {prediction[0, 0]:10.3f}")
    print(f"\nLoss: {history[0]:.6f} before training, {history[-1]:.6f} in the last epoch")
    return {"first_loss": history[0], "final_loss": history[-1]}


if __name__ == "__main__":
    main()
