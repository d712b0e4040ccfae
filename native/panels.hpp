// Forward weights in panels: the products of state rows with the weights of some units at a time.
#pragma once

#include "packing.hpp"

namespace {

// The products of a step's rows with a panel of the weights: those of x and 1, for some columns of 1 alone, and of h.
template <class Cell, class Real> struct PanelProducts {
  using P = PanelColumns<Cell>;
  static constexpr int COLUMNS = P::COLUMNS, X_END = P::BY_INPUT, H_FIRST = COLUMNS - P::BY_STATE;
  Operands<Real> by_input, by_bias, by_state;
  Index distance = lanes<Real>;  // from one vector of sums to the next

  // Of so many units from `unit` on.
  __attribute__((always_inline)) PanelProducts(const LayerSizes<Real>& size, const Real* weights, const Real* rows, Index unit,
                                               Index units) {
    const Index h_width = P::BY_STATE * units, x_width = P::BY_INPUT * units;
    const Real *x = rows + size.H_pad, *W_h = weights + unit * size.per_unit, *W_x = W_h + size.H * h_width;
    by_state = {rows, size.row, 1, W_h, h_width, size.H};
    by_input = {x, size.row, 1, W_x, x_width, size.D + 1};
    by_bias = {x + size.D, size.row, 1, W_x + (size.D + 1) * x_width, 0, 1};
  }

  Index depth() const { return by_input.depth + by_state.depth; }
  // The input's share comes first: it does not wait for the state of the step before.
  template <int ROWS, int VECTORS, int SPLIT>
  __attribute__((always_inline)) void add_to(Vector<Real> (&sum)[SPLIT][ROWS][VECTORS], Index row) const {
    constexpr int units = VECTORS / COLUMNS;
    accumulate<0, X_END * units>(sum, by_input, row, distance);
    if constexpr (X_END < COLUMNS) accumulate<X_END * units, VECTORS>(sum, by_bias, row, distance);
    accumulate<H_FIRST * units, VECTORS>(sum, by_state, row, distance);
  }
  // Of a single vector of these units.
  PanelProducts of_vector(Index first, Index units) const {
    PanelProducts one = *this;
    one.distance = units;
    one.by_input.b += first, one.by_bias.b += first, one.by_state.b += first;
    return one;
  }
};

// Calls visit(unit, units) for every panel of the weights.
template <class Cell, class Real, class Visit>
inline __attribute__((always_inline)) void each_panel(const LayerSizes<Real>& size, bool backwards, const Visit& visit) {
  const Parts& panels = size.panels;
  Index unit = backwards ? size.H_pad : 0, next;
  for (Index i = 0; i < panels.count; ++i, unit = next) {
    const Index units = panels[backwards ? panels.count - 1 - i : i] * lanes<Real>;
    next = backwards ? unit -= units : unit + units;
    visit(unit, units);
  }
}

// The same with visit(vectors, unit), whose vectors of units are a constant.
template <class Cell, class Real, class Visit>
inline __attribute__((always_inline)) void each_known_panel(const LayerSizes<Real>& size, bool backwards, const Visit& visit) {
  each_panel<Cell>(size, backwards, [&](Index unit, Index units) __attribute__((always_inline)) {
    const auto some = [&](auto vectors) __attribute__((always_inline)) {
      if constexpr (vectors.value <= PanelColumns<Cell>::MOST_VECTORS) visit(vectors, unit);
    };
    switch (units / lanes<Real>) {
      case 1: some(Number<1>{}); break;
      case 2: some(Number<2>{}); break;
      case 3: some(Number<3>{}); break;
      default: some(Number<4>{});
    }
  });
}

}  // namespace
