// One direction of a layer through time: forward beside backward, and the gradients of its weights, inputs and first states.
//
// The product of a state row [h | x | 1] with [W_h | W_x | b_h] is the whole pre-activation, and products of d_a with the rows
// are the gradients of all three.
#pragma once

#include "dropout.hpp"
#include "panels.hpp"
#include "rows.hpp"

namespace {

// What forward leaves behind: state rows of blocks 0 … T; where the true states lie, which are the rows themselves unless
// a mask changes what the weights see; memories c; and for each step the gates and what else the cell keeps.
template <class Real> struct LayerTape {
  Real *rows, *h, *c, *gates, *kept, *mask;
  Index h_row;
  Index size;

  LayerTape(const LayerSizes<Real>& layer, const Timetable& when, bool masked, Real* memory) {
    const Index H_pad = layer.H_pad, steps = when.kept_rows();
    rows = memory;
    h = rows + when.rows() * layer.row;
    c = h + (layer.masks_state ? when.rows() * H_pad : 0);
    gates = c + (layer.has_memory ? when.rows() * H_pad : 0);
    kept = gates + (layer.columns > 1 ? steps * layer.A : 0);
    mask = kept + (layer.keeps ? steps * H_pad : 0);
    size = mask + (layer.masks_state ? when.sequences * H_pad : 0) - memory;
    h_row = H_pad;
    if (!masked) mask = nullptr, h = rows, h_row = layer.row;
  }
};

// Loads and stores what a cell works on, a vector of units of one row at one step.
template <class Cell, class Real> struct Step {
  const Index H_pad, row_size, h_row, A;
  const Activation activation;
  const bool forgets;
  const Real *h_before, *seen, *c_before;
  Real *h, *c, *gates, *kept;

  Step(const LayerSizes<Real>& size, const Timetable& when, const LayerTape<Real>& tape, Index t)
      : H_pad(size.H_pad), row_size(size.row), h_row(tape.h_row), A(size.A), activation(size.activation),
        forgets(when.forgets), h_before(tape.h + when.block[t] * h_row),
        seen(tape.rows + when.block[t] * size.row), c_before(tape.c + when.block[t] * size.H_pad),
        h(tape.h + when.block[t + 1] * h_row), c(tape.c + when.block[t + 1] * size.H_pad),
        gates(tape.gates + when.kept_row(t) * A), kept(tape.kept + when.kept_row(t) * size.H_pad) {}

  Units<Real> load_states(Index row, Index unit) const {
    Units<Real> u;
    if constexpr (Cell::carries_d_h) u.h_before = load(h_before + row * h_row + unit);
    if constexpr (Cell::resets_before) u.seen = load(seen + row * row_size + unit);
    if constexpr (Cell::has_memory) u.c_before = load(c_before + row * H_pad + unit);
    return u;
  }
  Units<Real> load_units(Index row, Index unit) const {
    Units<Real> u = load_states(row, unit);
    if constexpr (Cell::keeps) u.kept = load(kept + row * H_pad + unit);
    if constexpr (Cell::COLUMNS == 1) {
      u.h = load(h + row * h_row + unit);
      u.activation = activation;
    } else {
#pragma GCC unroll 4
      for (Index p = 0; p < Cell::COLUMNS; ++p) u.gate[p] = load(gates + row * A + p * H_pad + unit);
    }
    return u;
  }
  // After Cell::gates, and after Cell::state.
  void store_gates(Index row, Index unit, const Units<Real>& u) const {
    if constexpr (Cell::has_memory) store(c + row * H_pad + unit, u.c);
    if constexpr (Cell::resets_before) store(kept + row * H_pad + unit, u.kept);
    if (Cell::resets_before || !forgets) store_some_gates<Cell::GATES_FIRST, Cell::COLUMNS>(row, unit, u);
  }
  void store_state(Index row, Index unit, const Units<Real>& u) const {
    if (!forgets) {
      if constexpr (Cell::keeps && !Cell::resets_before) store(kept + row * H_pad + unit, u.kept);
      store_some_gates<0, Cell::GATES_FIRST>(row, unit, u);
    }
    store(h + row * h_row + unit, u.h);
  }
  template <int FIRST, int LAST> void store_some_gates(Index row, Index unit, const Units<Real>& u) const {
#pragma GCC unroll 4
    for (Index p = FIRST; Cell::COLUMNS > 1 && p < LAST; ++p) store(gates + row * A + p * H_pad + unit, u.gate[p]);
  }
};

// What the weights see of the states of a block: the states times the mask, where there is one.
template <class Real>
void mask_states(const LayerSizes<Real>& size, const Timetable& when, const LayerTape<Real>& tape, Index block) {
  each_unit<Real>(when, when.block[block + 1] - when.block[block], size.H_pad, [&](Index row, Index unit) {
    const Vector<Real> h = load(tape.h + (when.block[block] + row) * tape.h_row + unit);
    store(tape.rows + (when.block[block] + row) * size.row + unit, h * load(tape.mask + row * size.H_pad + unit));
  });
}

// A step of one sequence: so short that calling a product for it would be felt. The pre-activations of some units stay in
// registers until the cell has made states of them.
template <class Cell, class Real>
inline __attribute__((always_inline)) void advance_alone(
    Purse& purse, const LayerSizes<Real>& size, const Step<Cell, Real>& step, const Real* weights, const Real* rows,
    bool backwards) {
  each_known_panel<Cell>(size, backwards, [&](auto vectors, Index unit) __attribute__((always_inline)) {
    constexpr int COLUMNS = Cell::COLUMNS, VECTORS = COLUMNS * vectors.value;
    const PanelProducts<Cell, Real> products(size, weights, rows, unit, vectors.value * lanes<Real>);
    Vector<Real> sums[VECTORS];
    const auto take = [&](Index, Index column, Vector<Real> sum) __attribute__((always_inline)) {
      sums[column / lanes<Real>] = sum;
    };
    constexpr int SPLIT = VECTORS > 4 ? 1 : VECTORS > 3 ? 2 : 4;  // chains enough to keep the processor busy
    tile<1, VECTORS, SPLIT, Real>(purse, 0, 0, products, take);
    Units<Real> u[vectors.value];
#pragma GCC unroll 4
    for (int v = 0; v < vectors.value; ++v) {
      u[v] = step.load_states(0, unit + v * lanes<Real>);
#pragma GCC unroll 4
      for (int p = 0; p < COLUMNS; ++p) u[v].gate[p] = sums[p * vectors.value + v];
      Cell::gates(u[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors.value; ++v) {
      Cell::state(u[v]);
      step.store_gates(0, unit + v * lanes<Real>, u[v]);
      step.store_state(0, unit + v * lanes<Real>, u[v]);
    }
  });
}

// Makes states of pre-activations, of some rows and units: in a row of `sums` one column lies behind the other. Where the reset
// comes before the product, there are gates and what they let through so far. A state waits for its gates: meanwhile the next
// ones are made. The step is a copy, which no store can change.
template <class Cell, class Real>
inline void finish_rows(const Step<Cell, Real> step, Index row, Index rows, Index unit, Index units, const Places<Real>& sums) {
  Units<Real> waiting{};
  Index row_of_waiting = 0, unit_of_waiting = -1;
  const auto finish = [&](Units<Real>& u, Index of_row, Index of_unit) __attribute__((always_inline)) {
    Cell::state(u);
    step.store_state(of_row, of_unit, u);
  };
  const Real* a = sums.to;
  for (const Index end = row + rows, width = sums.width; row < end; ++row, a += width) {
    for (Index i = 0; i < units; i += lanes<Real>) {
      Units<Real> u = step.load_states(row, unit + i);
#pragma GCC unroll 4
      for (int p = Cell::P_FIRST; p < Cell::COLUMNS; ++p) u.gate[p] = load(a + (p - Cell::P_FIRST) * units + i);
      Cell::gates(u);
      step.store_gates(row, unit + i, u);
      if constexpr (Cell::COLUMNS == 1) {
        finish(u, row, unit + i);
      } else if constexpr (!Cell::resets_before) {
        if (unit_of_waiting >= 0) finish(waiting, row_of_waiting, unit_of_waiting);
        waiting = u, row_of_waiting = row, unit_of_waiting = unit + i;
      }
    }
  }
  if (unit_of_waiting >= 0) finish(waiting, row_of_waiting, unit_of_waiting);
}

// A step of the rows that still run, the first of its block. The cell makes states of some pre-activations while they are near,
// but not of so few that it would wait for itself.
template <class Cell, class Real>
inline __attribute__((always_inline)) void advance_rows(
    const Timetable& when, const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Step<Cell, Real>& step,
    const Real* rows, Index t) {
  using P = PanelColumns<Cell>;
  const Index active = when.active[t], H_pad = size.H_pad;
  const Parts parts(active, most_rows_at_once);
  each_panel<Cell>(size, when.turns_back(t), [&](Index unit, Index units) {
    const Index at_once = P::ALL ? units : lanes<Real>, width = at_once * P::COLUMNS;
    Real room[P::COLUMNS == 1 ? 1 : most_rows_at_once * P::COLUMNS * (P::ALL ? P::MOST_VECTORS : 1) * lanes<Real>];
    for (Index part = 0, row = 0; part < parts.count; row += parts[part++]) {
      const PanelProducts<Cell, Real> products(size, weights.forward, rows + row * size.row, unit, units);
      for (Index i = 0; i < units; i += at_once) {
        Places<Real> into{room, width};
        if constexpr (P::COLUMNS == 1) into = {step.h + row * step.h_row + unit, step.h_row};  // where the states will be
        if constexpr (P::ALL) {
          product<Real>(when.pulse, parts[part], width, products.by_input, products.by_state, into);
        } else {
          const Parts heights(parts[part], P::MOST_ROWS);
          tiles_of_columns<P::COLUMNS, Real, P::MOST_ROWS>(when.pulse, 0, heights, products.of_vector(i, units), into);
        }
        finish_rows<Cell>(step, row, parts[part], unit + i, at_once, into);
      }
    }
  });
  if constexpr (Cell::resets_before) {
    zero(step.kept + active * H_pad, (when.block_rows(t) - active) * H_pad);  // rows without a step weigh nothing
    const Operands<Real> by_input{rows + H_pad, size.row, 1, weights.reset_forward + size.H * H_pad, H_pad, size.D + 1},
        by_reset{step.kept, H_pad, 1, weights.reset_forward, H_pad, size.H};
    product<Real>(when.pulse, active, H_pad, by_input, by_reset, Places<Real>{step.gates, step.A});
    each_unit<Real>(when, active, H_pad, [&](Index row, Index unit) {
      Units<Real> u = step.load_units(row, unit);
      Cell::state(u);
      step.store_state(row, unit, u);
    });
  }
}

// Block 0 holds the first states already, and every row its x and 1; fills in the rest of the tape. It takes a copy of
// the sizes, which no store can change: they are not read again at every step.
template <class Cell, bool ALONE, class Real>
void layer_forward(const LayerSizes<Real> size, const LayerWeights<Real>& weights, const Timetable& when,
                   const LayerTape<Real>& tape) {
  if (!ALONE && tape.mask) mask_states(size, when, tape, 0);
  Purse purse{when.pulse};
  for (Index t = 0; t < when.steps; ++t) {
    const Step<Cell, Real> step(size, when, tape, t);
    const Real* rows = tape.rows + when.block[t] * size.row;
    if constexpr (ALONE) {
      advance_alone(purse, size, step, weights.forward, rows, when.turns_back(t));
      continue;
    }
    advance_rows(when, size, weights, step, rows, t);
    if (tape.mask) mask_states(size, when, tape, t + 1);
  }
}

// The gradient by what a direction gives at each step of its own: rows for all real steps, in the order of time; or none.
template <class Real> struct GradientAbove {
  const Real* d_h;
  Index width;
  bool reverse;
  const Timetable& when;

  // Of a row at a step, or null.
  const Real* at(Index step, Index row) const {
    return d_h ? d_h + when.place(when.time_of(reverse, step, row), row) * width : nullptr;
  }
};

// Room for backward: d_a (rows of blocks 0 … T-1, A); and (N, H_pad) each: the gradients by the last states, which become
// those by the first ones on the way, and what comes through the weights; the gradient of the weights by [x | 1], turned round
// (D + 1, A); and where that of W_h goes, in the flat order.
template <class Real> struct LayerGradients {
  Real *d_a, *d_h, *d_c, *through, *turned, *d_W_h;
};

// The gradient by the states that a step began with, from the step itself: what came through the weights, and past them.
template <class Cell, class Real>
inline __attribute__((always_inline)) Vector<Real> d_h_before(const LayerTape<Real>& tape, const LayerGradients<Real>& d,
                                                              Index place) {
  Vector<Real> d_h = load(d.through + place);
  if (tape.mask) d_h *= load(tape.mask + place);
  if constexpr (Cell::carries_d_h) d_h += load(d.d_h + place);
  return d_h;
}

// Adds the share of some rows of all blocks to d_W_h, in the flat order, and to the gradient by [x | 1]; or begins with it.
// Products over so many rows at a time. Those of a column's W_h come out as they are wanted. Those by [x | 1], of which there
// may be few, come out turned round, so that the padding between them is not multiplied. It takes copies: what others see is
// read again after every store.
template <class Cell, class Real>
__attribute__((noinline)) void add_weight_gradient(const LayerSizes<Real> size, const Timetable& when,
                                                   const LayerTape<Real> tape, const LayerGradients<Real> d, Index row,
                                                   Index last, bool adds) {
  const Index H = size.H, H_pad = size.H_pad, D = size.D, A = size.A, seen = Cell::X_END * H_pad;
  for (Index depth; row < last; row += depth, adds = true) {
    depth = last - row <= most_depth * 3 / 2 ? last - row : most_depth;  // a short rest would cost as much as a long one
    const Real *states = tape.rows + row * size.row, *d_a = d.d_a + row * A;
    for (Index p = Cell::H_FIRST; p < Cell::COLUMNS; ++p) {
      const Operands<Real> by_state{d_a + p * H_pad, 1, A, states, size.row, depth};
      product_into_rows(when.pulse, H, by_state, d.d_W_h + Cell::GATE[p] * H * H, H, H, adds);
    }
    if constexpr (Cell::resets_before) {
      const Operands<Real> by_s{d_a, 1, A, tape.kept + row * H_pad, H_pad, depth};
      product_into_rows(when.pulse, H, by_s, d.d_W_h + Cell::GATE[0] * H * H, H, H, adds);
    }
    const Operands<Real> by_input{states + H_pad, 1, size.row, d_a, A, depth};
    product<Real>(when.pulse, D + 1, seen, by_input, no_operands<Real>, Places<Real>{d.turned, A, adds});
    if constexpr (Cell::X_END < Cell::COLUMNS) {  // columns that see no input have a bias
      const Operands<Real> by_one{states + H_pad + D, 1, size.row, d_a + seen, A, depth};
      const Places<Real> biases{d.turned + D * A + seen, A, adds};
      product<Real>(when.pulse, 1, (Cell::COLUMNS - Cell::X_END) * H_pad, by_one, no_operands<Real>, biases);
    }
  }
}

// Leaves in d.d_a the gradients by the pre-activations, zero where a sequence has ended, and in d.d_h and d.d_c what reaches
// the first states past the weights. After some steps their d_a goes into the gradients of the weights, while it is near.
template <class Cell, bool ALONE, class Real>
void layer_backward(const LayerSizes<Real> size, const LayerWeights<Real> weights, const Timetable& when,
                    const LayerTape<Real> tape, const GradientAbove<Real> above, const LayerGradients<Real> d) {
  const Index H = size.H, H_pad = size.H_pad, A = size.A;
  Index summed = when.step_rows();  // from this row on, the weights have their share
  Purse purse{when.pulse};
  for (Index t = when.steps - 1; t >= 0; --t) {
    const Step<Cell, Real> step(size, when, tape, t);
    Real* d_a = d.d_a + when.block[t] * A;
    const auto back = [&](Index row, Index unit, Vector<Real> d_h, const Real* d_above) __attribute__((always_inline)) {
      if (d_above) d_h += load(d_above + unit);
      UnitGradients<Real> g;
      g.d_h = d_h;
      if constexpr (Cell::has_memory) g.d_c = load(d.d_c + row * H_pad + unit);
      Cell::backward(step.load_units(row, unit), g);
#pragma GCC unroll 4
      for (Index p = 0; p < Cell::COLUMNS; ++p) store(d_a + row * A + p * H_pad + unit, g.d_a[p]);
      if constexpr (Cell::has_memory) store(d.d_c + row * H_pad + unit, g.d_c);
      if constexpr (Cell::carries_d_h) store(d.d_h + row * H_pad + unit, g.d_h);
    };
    const Index going_on = when.active[t + 1];
    const Operands<Real> by_step_after{d.d_a + when.block[t + 1] * A + Cell::H_FIRST * H_pad, A, 1,
                                       weights.recurrent, size.W_h_row(),
                                       size.summed(Cell::COLUMNS - Cell::H_FIRST)};
    if constexpr (ALONE) {
      const Real* d_above = above.at(t, 0);
      const auto finish = [&](Index row, Index unit, Vector<Real> d_h) __attribute__((always_inline)) {
        back(row, unit, d_h, d_above);
      };
      if (going_on) row_product(purse, H_pad, when.turns_back(t), by_step_after, no_operands<Real>, finish);
    } else {
      const Places<Real> into{d.through, H_pad};
      product<Real>(when.pulse, going_on, H_pad, by_step_after, no_operands<Real>, into, when.turns_back(t));
      each_row(when.pulse, 0, going_on, H_pad, [&](Index row) {
        const Real* d_above = above.at(t, row);
        for (Index unit = 0; unit < H_pad; unit += lanes<Real>) {
          back(row, unit, d_h_before<Cell>(tape, d, row * H_pad + unit), d_above);
        }
      });
    }
    each_row(when.pulse, going_on, when.active[t], H_pad, [&](Index row) {  // sequences whose last step this is
      const Real* d_above = above.at(t, row);
      for (Index unit = 0; unit < H_pad; unit += lanes<Real>) back(row, unit, load(d.d_h + row * H_pad + unit), d_above);
    });
    if constexpr (Cell::resets_before) {
      const Operands<Real> by_n{d_a, A, 1, weights.reset_recurrent, H_pad, H};
      product<Real>(when.pulse, when.active[t], H_pad, by_n, no_operands<Real>, Places<Real>{d.through, H_pad});
      each_unit<Real>(when, when.active[t], H_pad, [&](Index row, Index unit) {
        Vector<Real> d_r, d_seen = Cell::d_reset(step.load_units(row, unit), load(d.through + row * H_pad + unit), d_r);
        if (tape.mask) d_seen *= load(tape.mask + row * H_pad + unit);
        store(d_a + row * A + H_pad + unit, d_r);
        store(d.d_h + row * H_pad + unit, load(d.d_h + row * H_pad + unit) + d_seen);
      });
    }
    zero(d_a + when.active[t] * A, (when.block_rows(t) - when.active[t]) * A);
    if (t == 0 || summed - when.block[t] >= most_depth) {
      add_weight_gradient<Cell>(size, when, tape, d, when.block[t], summed, summed < when.step_rows());
      summed = when.block[t];
    }
  }
}

// From rows for the numbers of [x | 1], as the forward weights have them, to d_W_x, d_b_h and d_b_hn in the flat order.
template <class Cell, class Real>
void turn_input_gradient(const LayerSizes<Real>& size, const Real* turned, Real* gradient) {
  const Index H = size.H, H_pad = size.H_pad, A = size.A, numbers = size.below.numbers();
  Real *d_W_x = gradient, *d_b_h = d_W_x + size.W_x() + size.gates * H * H, *d_b_hn = d_b_h + size.gates * H;
  for (Index p = 0; p < Cell::COLUMNS; ++p) {
    const Index gate = Cell::GATE[p] * H;
    copy_row(p < Cell::X_END ? d_b_h + gate : d_b_hn, turned + size.D * A + p * H_pad, H);
    for (Index b = 0; p < Cell::X_END && b < size.below.count; ++b) {
      const Real* block = turned + b * size.below.distance * A + p * H_pad;
      transpose<false>(block, A, size.below.size, H, d_W_x + gate * numbers + b * size.below.size, numbers);
    }
  }
}

// d_x = d_a W_x into rows (real steps, width ≥ D_pad) in the order of time. A reverse direction adds to what is there, to rows
// whose place depends on the length of their sequence.
template <class Real>
void layer_input_gradient(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when, bool reverse,
                          const Real* d_a, Real* d_x, Index width) {
  for (Index t = 0; t < when.steps; ++t) {
    const Operands<Real> by_step{d_a + when.block[t] * size.A, size.A, 1, weights.input, size.W_x_row(),
                                 size.summed(size.x_end)};
    if (!reverse) {
      const Places<Real> into{d_x + when.place(t, 0) * width, width};
      product<Real>(when.pulse, when.active[t], size.D_pad, by_step, no_operands<Real>, into);
      continue;
    }
    const auto add = [&](Index row, Index rows, Index column, const Real* sums, Index columns) {
      for (Index r = 0; r < rows; ++r, sums += columns) {
        Real* place = d_x + when.place(when.time_of(true, t, row + r), row + r) * width + column;
        for (Index c = 0; c < columns; c += lanes<Real>) store(place + c, load(place + c) + load(sums + c));
      }
    };
    product_through_memory(when.pulse, when.active[t], size.D_pad, by_step, add);
  }
}

// The gradient by the first states: what layer_backward left in d.d_h (zeros where nothing passes the weights by), and what
// comes through W_h.
template <class Cell, class Real>
void layer_state_gradient(const LayerSizes<Real>& size, const LayerWeights<Real>& weights, const Timetable& when,
                          const LayerTape<Real>& tape, const LayerGradients<Real>& d) {
  const Index H_pad = size.H_pad;
  const Operands<Real> by_first_step{d.d_a + Cell::H_FIRST * H_pad, size.A, 1, weights.recurrent, size.W_h_row(),
                                     size.summed(Cell::COLUMNS - Cell::H_FIRST)};
  product<Real>(when.pulse, when.sequences, H_pad, by_first_step, no_operands<Real>, Places<Real>{d.through, H_pad});
  each_unit<Real>(when, when.sequences, H_pad, [&](Index row, Index unit) {
    store(d.d_h + row * H_pad + unit, d_h_before<Cell>(tape, d, row * H_pad + unit));
  });
}

template <bool VALUE> struct Bool {
  static constexpr bool value = VALUE;
};

// Calls run(alone): whether a run of a layer may take the short way, which is there for one sequence.
template <class Cell, class Run> void alone_or_not(const Timetable& when, bool masked, const Run& run) {
  if constexpr (!Cell::resets_before) {
    if (when.sequences == 1 && !masked) return run(Bool<true>{});
  }
  run(Bool<false>{});
}

}  // namespace
