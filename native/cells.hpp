// The cells: forward beside backward, one vector of units at a time, in the names of the textbook.
//
// A cell has COLUMNS pre-activations per unit. The first X_END of them see the input and b_h, those from H_FIRST on see the
// state; GATE says which gate's block of W_x and W_h each column is the product with.
#pragma once

#include "vecmath.hpp"

namespace {

using rnn::Activation;
using rnn::Cell;

// What forward and backward of a cell see of a vector of units: the state before and after the step, what the weights saw of
// the state before, the memory, the gates (pre-activations before forward), and one more value that backward needs; and of
// the Elman cell its activation.
template <class Real> struct Units {
  Vector<Real> h_before, seen, h, c_before, c, kept;
  Vector<Real> gate[4];
  Activation activation{};
};

// Gradients on the way back: by h and c, which become those that flow past the weights into the step before; and by the
// pre-activations.
template <class Real> struct UnitGradients {
  Vector<Real> d_h, d_c;
  Vector<Real> d_a[4];
};

template <Activation ACTIVATION, class Real> inline Vector<Real> activation(Vector<Real> a) {
  if constexpr (ACTIVATION == Activation::tanh) return tanh_of<Real>(a);
  if constexpr (ACTIVATION == Activation::sigmoid) return sigmoid_of<Real>(a);
  if constexpr (ACTIVATION == Activation::relu) return a < 0 ? Vector<Real>{} : a;  // in this order NaN stays NaN
  return a;
}

// The slope of the activation where its value is h.
template <class Real> inline Vector<Real> slope(Activation activation, Vector<Real> h) {
  const Vector<Real> one = broadcast<Real>(1);
  switch (activation) {
    case Activation::tanh: return one - h * h;
    case Activation::sigmoid: return h * (one - h);
    case Activation::relu: return h > 0 ? one : Vector<Real>{};
    default: return one;
  }
}

// What every cell has until it says otherwise.
struct AnyCell {
  static constexpr bool has_memory = false;     // c beside h
  static constexpr bool keeps = false;          // uses Units::kept
  static constexpr bool carries_d_h = false;    // d_h flows into the step before past the weights too
  static constexpr bool resets_before = false;  // the column n waits for a product with what the reset gate lets through
  static constexpr int P_FIRST = 0;             // the first column of the panels that forward weights lie in
  static constexpr int GATES_FIRST = 0;         // the first column whose gate does not wait for others
};

// Forward has two halves: `gates`, and `state`, which waits for them.

// h = f(a), and d_a = d_h ⊙ f'(a). See textbook/elman.py. On the way forward each f has code of its own; f' is a product or
// less, and one way back serves all.
template <class Real> struct ElmanCell : AnyCell {
  static constexpr Index COLUMNS = 1, X_END = 1, H_FIRST = 0;
  static constexpr int GATE[] = {0};

  static void backward(const Units<Real>& u, UnitGradients<Real>& d) { d.d_a[0] = d.d_h * slope<Real>(u.activation, u.h); }
};
template <Activation ACTIVATION, class Real> struct ActiveElmanCell : ElmanCell<Real> {
  static void gates(Units<Real>&) {}
  static void state(Units<Real>& u) { u.h = activation<ACTIVATION, Real>(u.gate[0]); }
};

// i, f, g, o; c = f ⊙ c + i ⊙ g; h = o ⊙ tanh c. Keeps tanh c. See textbook/lstm.py.
template <class Real> struct LSTMCell : AnyCell {
  static constexpr Index COLUMNS = 4, X_END = 4, H_FIRST = 0;
  static constexpr int GATE[] = {0, 1, 2, 3};
  static constexpr bool has_memory = true, keeps = true;

  static void gates(Units<Real>& u) {
    Vector<Real>&i = u.gate[0], &f = u.gate[1], &g = u.gate[2], &o = u.gate[3];
    i = sigmoid_of<Real>(i), f = sigmoid_of<Real>(f), g = tanh_of<Real>(g), o = sigmoid_of<Real>(o);
    u.c = f * u.c_before + i * g;
  }
  static void state(Units<Real>& u) {
    const Vector<Real> o = u.gate[3];
    u.kept = tanh_of<Real>(u.c);
    u.h = o * u.kept;
  }
  static void backward(const Units<Real>& u, UnitGradients<Real>& d) {
    const Vector<Real> i = u.gate[0], f = u.gate[1], g = u.gate[2], o = u.gate[3], tanh_c = u.kept;
    const Vector<Real> d_c = d.d_c + d.d_h * o * (1 - tanh_c * tanh_c);
    d.d_a[0] = d_c * g * i * (1 - i);
    d.d_a[1] = d_c * u.c_before * f * (1 - f);
    d.d_a[2] = d_c * i * (1 - g * g);
    d.d_a[3] = d.d_h * tanh_c * o * (1 - o);
    d.d_c = d_c * f;
  }
};

// r, z and n = tanh(n_x + r ⊙ q) with q = W_hn h + b_hn; h = (1 − z) ⊙ n + z ⊙ h. The two parts of n are columns of their own:
// n_x, r, z, q. See textbook/gru.py.
template <class Real> struct GRUCell : AnyCell {
  static constexpr Index COLUMNS = 4, X_END = 3, H_FIRST = 1;
  static constexpr int GATE[] = {2, 0, 1, 2};
  static constexpr bool carries_d_h = true;
  static constexpr int GATES_FIRST = 1;

  static void gates(Units<Real>& u) {
    Vector<Real>&a_n = u.gate[0], &r = u.gate[1], &z = u.gate[2], q = u.gate[3];
    r = sigmoid_of<Real>(r), z = sigmoid_of<Real>(z);
    a_n += r * q;
  }
  static void state(Units<Real>& u) {
    Vector<Real>&n = u.gate[0], z = u.gate[2];
    n = tanh_of<Real>(n);
    u.h = n + z * (u.h_before - n);
  }
  static void backward(const Units<Real>& u, UnitGradients<Real>& d) {
    const Vector<Real> n = u.gate[0], r = u.gate[1], z = u.gate[2], q = u.gate[3];
    const Vector<Real> d_n = d.d_h * (1 - z) * (1 - n * n);
    d.d_a[0] = d_n;
    d.d_a[1] = d_n * q * r * (1 - r);
    d.d_a[2] = d.d_h * (u.h_before - n) * z * (1 - z);
    d.d_a[3] = d_n * r;
    d.d_h = d.d_h * z;
  }
};

// The same with the reset before the product: n = tanh(n_x + W_hn s) with s = r ⊙ h, which is kept; columns n, r, z. The
// product with W_hn waits for r, and on the way back r waits for d_s = W_hnᵀ d_n: `gates` and `backward` come before these
// products, `state` and `d_reset` after them.
template <class Real> struct GRUResetBeforeCell : AnyCell {
  static constexpr Index COLUMNS = 3, X_END = 3, H_FIRST = 1;
  static constexpr int GATE[] = {2, 0, 1};
  static constexpr bool keeps = true, carries_d_h = true, resets_before = true;
  static constexpr int P_FIRST = 1;  // n has weights of its own
  static constexpr int GATES_FIRST = 1;

  static void gates(Units<Real>& u) {
    u.gate[1] = sigmoid_of<Real>(u.gate[1]), u.gate[2] = sigmoid_of<Real>(u.gate[2]);
    u.kept = u.gate[1] * u.seen;
  }
  static void state(Units<Real>& u) {
    Vector<Real>&n = u.gate[0], &z = u.gate[2];
    n = tanh_of<Real>(n);
    u.h = n + z * (u.h_before - n);
  }
  static void backward(const Units<Real>& u, UnitGradients<Real>& d) {
    const Vector<Real> n = u.gate[0], z = u.gate[2];
    d.d_a[0] = d.d_h * (1 - z) * (1 - n * n);
    d.d_a[1] = Vector<Real>{};  // by d_reset
    d.d_a[2] = d.d_h * (u.h_before - n) * z * (1 - z);
    d.d_h = d.d_h * z;
  }
  // d_s by s gives d_a of r, and the gradient by what the reset gate let through.
  static Vector<Real> d_reset(const Units<Real>& u, Vector<Real> d_s, Vector<Real>& d_r) {
    const Vector<Real> r = u.gate[1];
    d_r = d_s * u.seen * r * (1 - r);
    return d_s * r;
  }
};

// Calls run(cell) with the cell of a layer; the only place that turns the word of a specification into a type.
template <class Real, class Run> auto with_cell(const rnn::LayerShape& layer, const Run& run) {
  if (layer.cell == Cell::lstm) return run(LSTMCell<Real>{});
  if (layer.cell == Cell::gru_reset_after) return run(GRUCell<Real>{});
  if (layer.cell == Cell::gru_reset_before) return run(GRUResetBeforeCell<Real>{});
  return run(ElmanCell<Real>{});
}

// The same with a cell that can go forward.
template <class Real, class Run> void with_active_cell(const rnn::LayerShape& layer, const Run& run) {
  with_cell<Real>(layer, [&](auto cell) {
    if constexpr (decltype(cell)::COLUMNS > 1) return run(cell);
    else switch (layer.activation) {
      case Activation::sigmoid: return run(ActiveElmanCell<Activation::sigmoid, Real>{});
      case Activation::relu: return run(ActiveElmanCell<Activation::relu, Real>{});
      case Activation::linear: return run(ActiveElmanCell<Activation::linear, Real>{});
      default: return run(ActiveElmanCell<Activation::tanh, Real>{});
    }
  });
}

}  // namespace
