// How a batch is dealt, and how its rows are laid out.
#include "shares.hpp"

#include <algorithm>
#include <numeric>

namespace rnn {

void Schedule::build(const Index* lengths, const Index* chosen, Index sequences) {
  const Index before = Index(order_.size());
  order_.resize(std::size_t(sequences));
  if (chosen) {
    std::copy(chosen, chosen + sequences, order_.begin());
  } else {
    std::iota(order_.begin(), order_.end(), Index(0));
  }
  const Index first = lengths[order_[0]];
  const bool same = std::all_of(order_.begin(), order_.end(), [&](Index n) { return lengths[n] == first; });
  if (same && same_length_ == first && before == sequences) return;  // the same shape as last time
  same_length_ = 0;  // until the tables below are whole
  if (!same) {
    std::stable_sort(order_.begin(), order_.end(), [&](Index a, Index b) { return lengths[a] > lengths[b]; });
  }
  lay_out(lengths);
  same_length_ = same ? first : 0;
}

void Schedule::lay_out(const Index* lengths) {
  const Index sequences = Index(order_.size());
  steps_ = lengths[order_[0]];
  lengths_.resize(std::size_t(sequences));
  std::transform(order_.begin(), order_.end(), lengths_.begin(), [&](Index n) { return lengths[n]; });
  active_.assign(std::size_t(steps_) + 1, 0);
  block_.assign(std::size_t(steps_) + 2, 0);
  Index running = sequences;
  for (Index t = 0; t < steps_; ++t) {
    while (lengths_[std::size_t(running - 1)] <= t) --running;
    active_[std::size_t(t)] = running;
  }
  block_[1] = sequences;
  for (Index t = 0; t < steps_; ++t) block_[std::size_t(t) + 2] = block_[std::size_t(t) + 1] + active_[std::size_t(t)];
}

Timetable Schedule::timetable(Pulse& pulse, bool forgets) const {
  return {pulse, Index(order_.size()), steps_, order_.data(), lengths_.data(), active_.data(), block_.data(), 0, forgets};
}

template <class Real>
void Shares<Real>::deal(const Index* lengths, const Index* chosen, Index sequences, Index count, Index most_in_group) {
  const Index most = (sequences + count - 1) / count, groups = (most - 1) / most_in_group + 1;
  count_ = count, group_ = (most + groups - 1) / groups;  // all about as large
  if (Index(shares_.size()) < count) shares_.resize(std::size_t(count));
  if (count == 1 && groups == 1) {
    shares_[0].dealt.clear();
    return shares_[0].schedule.build(lengths, chosen, sequences);
  }
  sorted_.resize(std::size_t(sequences));
  for (Index i = 0; i < sequences; ++i) sorted_[std::size_t(i)] = chosen ? chosen[i] : i;
  const auto longer = [&](Index a, Index b) { return lengths[a] > lengths[b]; };
  if (!std::is_sorted(sorted_.begin(), sorted_.end(), longer)) std::stable_sort(sorted_.begin(), sorted_.end(), longer);
  for (Index share = 0; share < count; ++share) {
    Share& own = shares_[std::size_t(share)];
    own.dealt.clear(), own.begun = 0;
    for (Index i = share; i < sequences; i += count) own.dealt.push_back(sorted_[std::size_t(i)]);
    begin_next_group(share, lengths);
  }
}

template <class Real> bool Shares<Real>::begin_next_group(Index number, const Index* lengths) {
  Share& share = shares_[std::size_t(number)];
  const Index size = std::min(group_, Index(share.dealt.size()) - share.begun);
  if (size <= 0) return false;
  share.schedule.build(lengths, share.dealt.data() + share.begun, size);
  share.begun += size;
  return true;
}

template class Shares<float>;
template class Shares<double>;

}  // namespace rnn
