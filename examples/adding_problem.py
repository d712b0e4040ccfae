"""The adding problem: remember two numbers out of a hundred, and say their sum.

Run it: ``python examples/adding_problem.py [--quick]``; the full run takes some minutes.

Each step shows a random number between 0 and 1 and a mark, which is 1 at two steps, one in either half. After the last
step the network says the sum of the two marked numbers. Who always says 1 has a mean squared error of 1/6; to do better,
something seen dozens of steps ago has to be kept (Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997).
"""

import sys

import numpy as np

from rnn_from_scratch import GRU, LSTM, Elman, GlobalNorm, Network, ScaledIdentity

GOAL = 0.01  # mean squared error on sequences that were never trained on
BATCH = 32
UPDATES_PER_EPOCH = 100  # after so many updates of new sequences the others are looked at

# The name of each network, its layer and the initialiser. The identity for a relu network is that of Le, Jaitly and Hinton,
# "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", 2015, who find it comparable to an LSTM.
NETWORKS = {
    "Elman tanh, Xavier": (lambda H: Elman(H), "xavier_uniform"),
    "Elman relu, scaled identity": (lambda H: Elman(H, activation="relu"), {"W_h": ScaledIdentity()}),
    "GRU": (lambda H: GRU(H), "xavier_uniform"),
    "LSTM": (lambda H: LSTM(H), "xavier_uniform"),
}


def fill(X, y, rng):
    """Write new sequences into X (N, T, 2), and their sums into y (N, 1)."""
    N, T, _ = X.shape
    rows = np.arange(N)
    first, second = rng.integers(0, T // 2, N), rng.integers(T // 2, T, N)
    X[:, :, 0] = rng.random((N, T))
    X[:, :, 1] = 0
    X[rows, first, 1] = X[rows, second, 1] = 1
    y[:, 0] = X[rows, first, 0] + X[rows, second, 0]


def updates_until_solved(name, T, H, budget, seed):
    """Train until the goal is reached or the budget of updates is spent: how many there were, and the error at the end."""
    rng = np.random.default_rng(seed)
    X, y = np.empty((BATCH * UPDATES_PER_EPOCH, T, 2), np.float32), np.empty((BATCH * UPDATES_PER_EPOCH, 1), np.float32)
    X_test, y_test = np.empty((1000, T, 2), np.float32), np.empty((1000, 1), np.float32)
    fill(X_test, y_test, np.random.default_rng(12345))  # the same for every network
    fill(X, y, rng)

    def after_epoch(epoch, history):
        # Float32 arrays are not copied by a float32 network, so that what is written here is what the next epoch sees:
        # no sequence is ever shown twice.
        fill(X, y, rng)
        return history.validation_loss[-1] < GOAL

    layer, initializer = NETWORKS[name]
    network = Network(2, [layer(H)], 1, readout="last", initializer=initializer, dtype="float32", random_state=seed)
    history = network.fit(
        X,
        y,
        epochs=budget // UPDATES_PER_EPOCH,
        batch_size=BATCH,
        learning_rate=1e-3,
        clip=GlobalNorm(1.0),
        validation=(X_test, y_test),
        callbacks=after_epoch,
    )
    return len(history) * UPDATES_PER_EPOCH, history.validation_loss[-1], float(((y_test - 1) ** 2).mean())


def main(quick=False):
    """Print the table and return {name: (updates, error)} of every seed, in lists."""
    T, H, budget, seeds = (20, 32, 2000, 1) if quick else (100, 64, 10_000, 3)
    print(f"Adding problem, T = {T}, {H} units, Adam 0.001, mini-batches of {BATCH} new sequences, {seeds} seed(s)")
    print(f"{'':30}{f'updates until MSE < {GOAL}':>34}   MSE at the end")
    figures = {}
    for name in NETWORKS:
        runs = [updates_until_solved(name, T, H, budget, seed) for seed in range(seeds)]
        figures[name] = [(updates, error) for updates, error, _ in runs]
        counts = ", ".join(str(updates) if error < GOAL else f"not in {budget}" for updates, error, _ in runs)
        print(f"{name:30}{counts:>34}   {', '.join(f'{error:.4f}' for _, error, _ in runs)}", flush=True)
    print(f"{'memoryless: always 1':30}{'':34}   {runs[0][2]:.4f} (1/6 = {1 / 6:.4f})")
    return figures


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
