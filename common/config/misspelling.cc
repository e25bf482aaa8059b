#include "common/config/misspelling.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sqlite_s3 {
namespace {

// Optimal string alignment: one for an insertion, a deletion, a substitution, or two neighbours
// swapped. Both texts are short.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string_view NearestName(std::string_view name, std::span<const std::string_view> names) {
  constexpr size_t kLongest = 32;  // also bounds the work for hostile input
  if (name.empty() || name.size() > kLongest) {
    return {};
  }
  std::string_view nearest;
  size_t least = std::max<size_t>(1, std::min<size_t>(name.size() / 3, 3)) + 1;
  for (const std::string_view other : names) {
    const size_t distance = EditDistance(name, other);
    if (distance < least) {
      least = distance;
      nearest = other;
    }
  }
  return nearest;
}

}  // namespace sqlite_s3
