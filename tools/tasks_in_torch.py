"""The recurrent tasks of `examples/` in PyTorch, with the same configurations: the figures beside ours in docs/tasks.md.

    python tools/tasks_in_torch.py [vowels] [adding] [characters]

Needs PyTorch and, for the first, aeon. Data, numbers of units, optimiser, clipping and schedule are those of the examples;
the first weights are PyTorch's own, except for the scaled identity. Without a word all three run, on one thread.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import adding_problem
import character_model
import japanese_vowels

CELLS = {"Elman": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class Last(nn.Module):
    """A recurrent layer and a linear readout of the last real step."""

    def __init__(self, recurrent: nn.Module, H: int, O: int) -> None:  # noqa: E741  # the alphabet's letter
        super().__init__()
        self.recurrent, self.readout = recurrent, nn.Linear(H, O)

    def forward(self, X: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        h, _ = self.recurrent(X)  # (N, T, H); what stands past the end of a sequence comes after its last step
        return self.readout(h[torch.arange(len(X)), lengths - 1])


def update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def vowels() -> None:
    (X, y), (X_test, y_test) = japanese_vowels.load_data()
    steps = np.concatenate(X)
    center, scale = steps.mean(axis=0), steps.std(axis=0)

    def padded(X: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        tensors = [torch.tensor((x - center) / scale) for x in X]
        return nn.utils.rnn.pad_sequence(tensors, batch_first=True), torch.tensor([len(x) for x in X])

    (inputs, lengths), (inputs_test, lengths_test) = padded(X), padded(X_test)
    labels = torch.tensor(y)
    for name, cell in CELLS.items():
        scores = []
        for seed in range(5):
            torch.manual_seed(seed)
            model = Last(cell(12, 64, batch_first=True), 64, 9)
            optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
            for _ in range(100):
                for batch in torch.randperm(len(labels)).split(32):
                    outputs = model(inputs[batch], lengths[batch])
                    update(model, optimizer, nn.functional.cross_entropy(outputs, labels[batch]))
            with torch.no_grad():
                found = model(inputs_test, lengths_test).argmax(1).numpy()
            scores.append(100 * (found == y_test).mean())
        print(f"vowels, {name}: {np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}", flush=True)


def adding(T: int = 100, H: int = 64, budget: int = 10_000) -> None:
    count, batch = adding_problem.UPDATES_PER_EPOCH, adding_problem.BATCH
    test_data = np.empty((1000, T, 2), np.float32), np.empty((1000, 1), np.float32)
    adding_problem.fill(*test_data, np.random.default_rng(12345))
    X_test, y_test = map(torch.from_numpy, test_data)
    X, y = np.empty((batch, T, 2), np.float32), np.empty((batch, 1), np.float32)
    last, last_test = torch.full((batch,), T), torch.full((1000,), T)
    for name in ("Elman", "Elman relu, scaled identity", "GRU", "LSTM"):
        found = []
        for seed in range(3):
            torch.manual_seed(seed)
            rng = np.random.default_rng(seed)
            words = {"nonlinearity": "relu"} if "relu" in name else {}
            layer = CELLS[name.split()[0]](2, H, batch_first=True, **words)
            if words:
                nn.init.eye_(layer.weight_hh_l0)
                nn.init.zeros_(layer.bias_hh_l0)
                nn.init.zeros_(layer.bias_ih_l0)
            model = Last(layer, H, 1)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for updates in range(1, budget + 1):
                adding_problem.fill(X, y, rng)
                update(model, optimizer, nn.functional.mse_loss(model(torch.from_numpy(X), last), torch.from_numpy(y)))
                if updates % count == 0:
                    with torch.no_grad():
                        error = float(nn.functional.mse_loss(model(X_test, last_test), y_test))
                    if error < adding_problem.GOAL:
                        break
            found.append(f"{updates} ({error:.4f})")
        print(f"adding, {name}: updates (MSE at the end) {', '.join(found)}", flush=True)


def characters(H: int = 256, epochs: int = 12, learning_rate: float = 3e-3) -> None:
    tokens, alphabet = character_model.load_text()
    V, cut = len(alphabet), len(tokens) * 9 // 10
    X, y = (torch.from_numpy(part.copy()) for part in character_model.as_streams(tokens[:cut]))
    rows, steps = character_model.ROWS, character_model.TBPTT_STEPS
    torch.manual_seed(0)
    embedding, layer, readout = nn.Embedding(V, 32), nn.GRU(32, H, batch_first=True), nn.Linear(H, V)
    model = nn.ModuleList([embedding, layer, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    starts = [(n, t) for n in range(0, len(X), rows) for t in range(0, X.shape[1], steps)]
    total = epochs * len(starts)
    for count in range(total):
        if count % len(starts) == 0:
            h = torch.zeros(1, rows, H)
        optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * count / total))
        n, t = starts[count % len(starts)]
        states, h = layer(embedding(X[n : n + rows, t : t + steps]), h.detach())
        target = y[n : n + rows, t : t + steps].reshape(-1)
        update(model, optimizer, nn.functional.cross_entropy(readout(states).reshape(-1, V), target))
    test = torch.from_numpy(tokens[cut:])
    with torch.no_grad():
        outputs = readout(layer(embedding(test[None, :-1]))[0])[0]
        bits = float(nn.functional.cross_entropy(outputs, test[1:])) / math.log(2)
    print(f"characters, GRU: {bits:.3f} bits per character", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tasks = {"vowels": vowels, "adding": adding, "characters": characters}
    for word in sys.argv[1:] or tasks:
        tasks[word]()
