// Dropout masks from a counter-based generator, addressed by where they are used. See textbook/dropout.py.
#pragma once

#include "network.hpp"

namespace {

using rnn::Index;

enum class Mask : std::uint64_t { between_layers, input, recurrent, recurrent_reverse };

struct Words {
  std::uint64_t word[4];
};

// Philox4x64-10 (Salmon et al. 2011).
inline Words philox(std::uint64_t key0, std::uint64_t key1, Words counter) {
  std::uint64_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93u * c0, b = (unsigned __int128)0xCA5A826395121157u * c2;
    c0 = std::uint64_t(b >> 64) ^ c1 ^ key0;
    c2 = std::uint64_t(a >> 64) ^ c3 ^ key1;
    c1 = std::uint64_t(b);
    c3 = std::uint64_t(a);
    key0 += 0x9E3779B97F4A7C15u;
    key1 += 0xBB67AE8584CAA73Bu;
  }
  return {{c0, c1, c2, c3}};
}

// One mask of one layer and one sequence, at one step (0 for masks that are the same at every step).
struct MaskAddress {
  const rnn::Dropout& dropout;
  Mask kind;
  Index level, sequence, step;
};

// Multiplies values, which are the units first_unit, first_unit + 1, … of the mask, with 0 or 1 / (1 − probability).
template <class Real>
void drop(Real* values, Index first_unit, Index count, double probability, const MaskAddress& address) {
  const std::uint64_t threshold = std::uint64_t(probability * 18446744073709551616.0);  // p · 2⁶⁴
  const std::uint64_t place = 4 * std::uint64_t(address.level) + std::uint64_t(address.kind);
  const Real scale = Real(1 / (1 - probability));
  const std::uint64_t sequence = address.dropout.name(address.sequence);
  const std::uint64_t time = address.kind == Mask::between_layers ? address.dropout.time(address.sequence, address.step) : 0;
  Words words{};
  for (Index i = 0; i < count; ++i) {
    const std::uint64_t unit = std::uint64_t(first_unit + i);
    if (i == 0 || unit % 4 == 0) {
      words = philox(address.dropout.key, address.dropout.epoch, {{unit / 4, time, sequence, place}});
    }
    values[i] *= words.word[unit % 4] < threshold ? Real(0) : scale;
  }
}

}  // namespace
