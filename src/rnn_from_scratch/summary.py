"""A network at a glance: layers, shapes and counts as a table."""

from __future__ import annotations

import math

from rnn_from_scratch.specification import NetworkSpecification

__all__ = ["summary"]


def summary(specification: NetworkSpecification, dtype: object, engine: str) -> str:
    """The table that `Network.summary` returns.

    >>> from rnn_from_scratch.layers import GRU
    >>> print(summary(NetworkSpecification(3, [GRU(4)], 2, "last"), "float32", "numpy"))
    Network: 3 features to 2 outputs
    <BLANKLINE>
    part            tensor    shape      parameters
    layer0  GRU(4)  W_x       (12, 3)            36
                    W_h       (12, 4)            48
                    b_h       (12,)              12
                    b_hn      (4,)                4   layer0: 100
    readout linear  W_y       (2, 4)              8
                    b_y       (2,)                2   readout: 10
                                        total   110
    <BLANKLINE>
    readout 'last', output 'linear', loss 'mse', dtype float32, engine 'numpy'
    """
    kinds = {direction.name: repr(direction.layer) for direction in specification.directions}
    kinds["readout"] = specification.output_activation
    kinds["embedding"] = f"{specification.vocabulary_size} tokens"
    places: dict[str, list[tuple[str, str, int]]] = {}
    for tensor in specification.tensors():
        place = tensor.name.rsplit(".", 1)[0]
        places.setdefault(place, []).append((tensor.symbol, str(tensor.shape), math.prod(tensor.shape)))
    first = max(map(len, places))
    labels = {place: f"{place:<{first}} {kinds[place]}" for place in places}
    width = max(map(len, labels.values())) + 2
    lines = [_line(width, "part", "tensor", "shape", "parameters")]
    total = 0
    for place, tensors in places.items():
        own = sum(count for _, _, count in tensors)
        total += own
        for n, (symbol, shape, count) in enumerate(tensors):
            line = _line(width, labels[place] if n == 0 else "", symbol, shape, f"{count:,}")
            lines.append(line + (f"   {place}: {own:,}" if n == len(tensors) - 1 else ""))
    lines.append(_line(width, "", "", "   total", f"{total:,}"))
    return "\n".join([_title(specification), "", *lines, "", _words(specification, dtype, engine)])


def _line(width: int, part: str, tensor: str, shape: str, count: str) -> str:
    return f"{part:<{width}}{tensor:<10}{shape:<12}{count:>9}"


def _title(specification: NetworkSpecification) -> str:
    features = specification.input_size
    read = f"{features} feature{'s' * (features != 1)}"
    if specification.vocabulary_size is not None:
        read = f"{specification.vocabulary_size} tokens, embedded in {features}"
    outputs = specification.output_size
    return f"Network: {read} to {outputs} output{'s' * (outputs != 1)}"


def _words(specification: NetworkSpecification, dtype: object, engine: str) -> str:
    loss = (
        getattr(specification.loss, "__name__", "a callable")
        if callable(specification.loss)
        else repr(specification.loss)
    )
    said = [f"readout {specification.readout!r}", f"output {specification.output_activation!r}", f"loss {loss}"]
    if specification.dropout:
        said.append(f"dropout {specification.dropout}")
    return ", ".join([*said, f"dtype {dtype or 'that of the first data'}", f"engine {engine!r}"])
