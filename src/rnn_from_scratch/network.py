"""`Network`: the methods that people call on a specification, its parameters and an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from rnn_from_scratch.alphabet import FloatArray, IndexArray
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.network_training import NetworkTraining
from rnn_from_scratch.training_set import as_inputs
from rnn_from_scratch.validation import boolean, generator, integer, non_negative

if TYPE_CHECKING:
    from rnn_from_scratch import by_hand, generation, states
    from rnn_from_scratch import stream as streaming
    from rnn_from_scratch.training import evaluation
else:
    by_hand = deferred_module("rnn_from_scratch.by_hand")
    evaluation = deferred_module("rnn_from_scratch.training.evaluation")
    generation = deferred_module("rnn_from_scratch.generation")
    states = deferred_module("rnn_from_scratch.states")
    streaming = deferred_module("rnn_from_scratch.stream")

__all__ = ["Network"]

StateLike = Mapping[str, Any]
"""Arrays (N, H) by the names of states."""


class Network(NetworkTraining):
    """A stack of recurrent layers and a readout, trained by exact backpropagation through time.

    ::

        h_t = layer(x_t, h_{t-1})                     each layer; see `Elman`, `GRU`, `LSTM`
        y_t = g(W_y h_t + b_y)                        readout of the top layer

    Parameters
    ----------
    input_size : int
        Input features, D; with a vocabulary, the features of a token's embedding.
    layers : sequence of Elman, GRU or LSTM
        The recurrent layers, from the input upwards.
    output_size : int
        Outputs, O.
    readout : {'every', 'last', 'mean'}, default='every'
        An output for every time step, one for the last, or one for the mean state of all real steps.
    output_activation : {'linear', 'sigmoid', 'softmax'}, default='linear'
        The function g.
    loss : {'mse', 'mae', 'huber', 'ce'} or callable, default='mse'
        What training makes small, averaged over real steps: an error, or the cross-entropy (binary after 'sigmoid',
        categorical after 'softmax'). A callable takes outputs and targets, both (M, O) with a row for each real step, and
        returns the loss and its gradient by the outputs (M, O).
    dropout : float, default=0.0
        Probability with which training drops each output of a layer on its way to the next, so nothing with one layer;
        layers have their own for inputs and states.
    vocabulary_size : None or int, default=None
        V, if the inputs are tokens, ints in [0, V), instead of features: each has a row of the matrix W_e (V, D).
    huber_delta : float, default=1.0
        Where the loss 'huber' turns from quadratic to linear.
    initializer : str, ScaledIdentity or mapping, default='xavier_uniform'
        First values of weight matrices: 'xavier_uniform', 'xavier_normal', 'he', 'orthogonal', or a scaled identity (for
        W_h, the others keep their default); or a mapping from tensors ('layer0.W_h', or 'W_h' for all of them) to words or
        arrays. Embeddings start standard normal, biases and learned states at zero (see `LSTM`), unless named.
    dtype : {None, 'float32', 'float64'}, default=None
        Precision of parameters and arithmetic. None takes that of the first data: float32 stays float32, everything else,
        tokens included, becomes float64.
    random_state : None, int, SeedSequence, BitGenerator or Generator, default=None
        Seeds the first weights, the order of sequences in training, and dropout.
    engine : {'auto', 'numpy', 'native'}, default='auto'
        Who computes; 'auto' takes the compiled engine where this installation has it. `show_config` says what runs.
    n_threads : None or int, default=None
        Threads among which the native engine deals the sequences of a mini-batch or of a call, never more than there are
        sequences. None is 1 for work too small to be shared and in worker processes (joblib, multiprocessing), and else as
        many as this process may use: processors that it is bound to, quotas of control groups. With the same number the bits
        are the same from run to run; with another one the sums of the gradient are rounded differently. The NumPy engine
        leaves it alone: there NumPy's own threads are the user's business.

    Attributes
    ----------
    specification : NetworkSpecification
    engine : str
        'numpy' or 'native'.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Examples
    --------
    Learn to say the mean of what has been heard:

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(64, 5, 1))
    >>> y = X.mean(axis=1)
    >>> from rnn_from_scratch import Elman, Network
    >>> network = Network(1, [Elman(8)], 1, readout="last", random_state=0)
    >>> history = network.fit(X, y, epochs=60, batch_size=16, learning_rate=0.01)
    >>> history.loss[-1] < 0.05 * history.loss[0]
    True
    >>> network.predict(X[:2]).shape
    (2, 1)
    """

    @overload
    def predict(
        self, X: Any, *, lengths: Any = None, state: StateLike | None = None, return_states: Literal[False] = False
    ) -> FloatArray: ...

    @overload
    def predict(
        self, X: Any, *, lengths: Any = None, state: StateLike | None = None, return_states: Literal[True]
    ) -> tuple[FloatArray, dict[str, FloatArray]]: ...

    def predict(
        self, X: Any, *, lengths: Any = None, state: StateLike | None = None, return_states: bool = False
    ) -> FloatArray | tuple[FloatArray, dict[str, FloatArray]]:
        """Outputs for whole sequences.

        Parameters
        ----------
        X : array_like (N, T, D), or list of N array_like (T_i, D)
            With a vocabulary (N, T) or (T_i,) of int. Or `Windows`. Large data are run in pieces: apart from the answer, the
            memory that it takes does not grow with N.
        lengths : array_like (N,) of int, optional
            Real steps of each sequence of a padded X.
        state : mapping of str to array_like (N, H), optional
            The state before the first step, under all the names of ``specification.state_shapes``; the learned state where
            the network has one, else zeros, when not given.
        return_states : bool, default=False
            Whether the state at the last real step of each sequence comes with the outputs. Given to the next call, it
            carries a sequence on; not so in a bidirectional network, whose reverse state is that of the first step.

        Returns
        -------
        outputs : ndarray (N, T, O) with ``readout="every"``, zero past the end of a sequence; else (N, O)
        states : dict of str to ndarray (N, H)
            Only with `return_states`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> from rnn_from_scratch import GRU, Network
        >>> network = Network(1, [GRU(2)], 1, random_state=0)
        >>> X = np.arange(6.0).reshape(1, 6, 1)
        >>> first, state = network.predict(X[:, :4], return_states=True)
        >>> second = network.predict(X[:, 4:], state=state)
        >>> np.allclose(np.concatenate([first, second], axis=1), network.predict(X))
        True
        """
        if self._plan is not None and lengths is None and state is None and return_states is False:
            at_once = self._plan.at_once(X)
            if at_once is not None:
                return at_once
        wanted = boolean(return_states, "return_states", "Network.predict")
        dtype = self._dtype_for(X)
        inputs = as_inputs(self.specification, dtype, X, lengths)
        before = None if state is None else states.as_state(state, self.specification, len(inputs), dtype)
        plan = self._planned(dtype)
        outputs, final_state = evaluation.run_all(self._engine, plan, inputs, before, wanted)
        return (outputs, final_state) if wanted else outputs

    def stream(self, streams: int | None = None, *, state: StateLike | None = None) -> streaming.Stream:
        """The network at work on data that come a step at a time; it keeps the state from one step to the next.

        Parameters
        ----------
        streams : None or int, default=None
            How many streams advance together, N. None: one, whose inputs (D,) and outputs (O,) lack the axis of streams.
        state : mapping of str to array_like (N, H), optional
            The state before the first step, to which `Stream.reset` goes back, as in `predict`; the learned state where the
            network has one, else zeros, when not given.

        Returns
        -------
        Stream
            With ``step(x, out=None)``, ``reset()`` and ``state``. A network without a dtype becomes float64.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; if a layer is bidirectional, or the readout is 'mean'.

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
        >>> network = Network(1, [Elman(4)], 1, random_state=0)
        >>> stream = network.stream()
        >>> [stream.step([x]).shape for x in (0.5, -0.2)]
        [(1,), (1,)]
        >>> both = network.stream(2)
        >>> both.step([[0.5], [-0.2]]).shape
        (2, 1)
        """
        return streaming.make_stream(self._engine, self._planned(np.dtype(np.float64)), streams, state)

    def forward(
        self, X: Any, *, lengths: Any = None, state: StateLike | None = None, dropout_key: int | None = None
    ) -> by_hand.Run:
        """Run whole sequences and keep what `backward` needs.

        Parameters
        ----------
        X, lengths, state
            As in `predict`.
        dropout_key : None or int, default=None
            Names the masks of dropout: the same key drops the same numbers. None drops nothing.

        Returns
        -------
        Run
            With ``outputs`` and ``preactivations`` in the shape of the outputs of `predict`, and ``final_state``.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        See `backward`.
        """
        dtype = self._dtype_for(X)
        inputs = as_inputs(self.specification, dtype, X, lengths)
        before = None if state is None else states.as_state(state, self.specification, len(inputs), dtype)
        dropout = by_hand.as_dropout(dropout_key, len(inputs))
        return by_hand.forward(self._engine, self._planned(dtype), inputs, before, dropout)

    def backward(
        self,
        run: by_hand.Run,
        d_outputs: Any = None,
        *,
        d_preactivations: Any = None,
        d_state: StateLike | None = None,
    ) -> by_hand.Gradients:
        """The gradient of whatever you compute from a run, by every parameter, the inputs and the state before.

        Parameters
        ----------
        run : Run
            What `forward` returned; the parameters have not changed since.
        d_outputs : array_like, in the shape of ``run.outputs``
            The gradient of your function by the outputs; what stands past the end of a sequence is never looked at.
        d_preactivations : array_like, in the same shape
            The gradient by the outputs before the function g, instead of `d_outputs`.
        d_state : mapping of str to array_like (N, H), optional
            The gradient by the final state; zero for names that are not there.

        Returns
        -------
        Gradients
            With ``gradient`` by the names of `parameters`, ``d_inputs`` (N, T, D) and ``d_state``, by the state before the
            first step. Learned states have their gradient only where they were used: if `forward` was given no state.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.

        Examples
        --------
        >>> from rnn_from_scratch import GRU, Network
        >>> network = Network(1, [GRU(2)], 1, random_state=0)
        >>> X = np.ones((1, 3, 1))
        >>> run = network.forward(X)
        >>> by_hand = network.backward(run, 2 * run.outputs / 3)  # of the mean of the squares
        >>> loss, gradient = network.loss_and_gradient(X, np.zeros((1, 3, 1)))
        >>> np.allclose(by_hand.gradient["layer0.W_h"], gradient["layer0.W_h"])
        True
        """
        plan = self._planned(np.dtype(np.float64))
        return by_hand.backward(self._engine, plan, run, d_outputs, d_preactivations, d_state)

    def generate(self, prompt: Any, steps: int, temperature: float = 1.0, rng: Any = None) -> IndexArray:
        """Tokens that follow a prompt, drawn one after the other from the network's own probabilities.

        For networks with a vocabulary and a softmax output for each of its tokens, that read forward only and answer at
        every step or at the last; nothing is dropped.

        Parameters
        ----------
        prompt : array_like (T,) of int, (N, T) for several, or list of N array_like (T_i,)
        steps : int
            How many tokens.
        temperature : float, default=1.0
            Pre-activations are divided by it before the softmax: below 1 likely tokens become likelier; 0 takes the most
            probable one.
        rng : None, int, SeedSequence, BitGenerator or Generator, default=None
            Draws the tokens; None draws others each time.

        Returns
        -------
        ndarray (steps,) of int64, or (N, steps) for several prompts

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or if the network cannot generate.

        Examples
        --------
        >>> from rnn_from_scratch import Elman, Network
        >>> words = {"output_activation": "softmax", "loss": "ce", "vocabulary_size": 3}
        >>> network = Network(4, [Elman(8)], 3, random_state=0, **words)
        >>> tokens = np.tile([0, 1, 2], 10)
        >>> history = network.fit(tokens[None, :-1], tokens[None, 1:], epochs=100, learning_rate=0.01)
        >>> network.generate([0, 1], steps=4, temperature=0)
        array([2, 0, 1, 2])
        """
        owner = "Network.generate"
        steps, temperature = integer(steps, "steps", owner), non_negative(temperature, "temperature", owner)
        drawer = generator(rng, owner, "rng")
        inputs, alone = generation.as_prompts(self.specification, prompt)
        tokens = generation.generate(
            self._engine, self.specification, self._built(), inputs, steps, temperature, drawer
        )
        return tokens[0] if alone else tokens
