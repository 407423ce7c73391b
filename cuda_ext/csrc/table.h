// Statistics of numbered parts: size, border contact and bounding box, for as many parts as the caller's table has rows.
#pragma once

#include "kernels.h"

namespace ccl {

/// Columns of a row of the table.
enum Column { kSize, kTouchesBorder, kMinZ, kMinY, kMinX, kMaxZ, kMaxY, kMaxX, kColumns };

/// Adds every run of a row of the images to its part's row of the table. The caller sets sizes and contacts to 0, lows to the largest
/// and highs to 0; highs are one past the last voxel.
template <class Index>
struct Tabulate {
  static constexpr int kThreads = 256, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  std::int64_t batch, depth, height, width, rows;
  bool is_3d;
  const Index* labels;   // contiguous, 1, 2, ... in every image
  std::uint64_t* table;  // (batch, rows, kColumns)

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const std::int64_t voxel = std::int64_t(thread.block()) * kThreads + thread.index();
    if (voxel >= batch * depth * height * width) return;
    const Index label = labels[voxel];
    const std::int64_t x = voxel % width, line = voxel / width;
    if (label == 0 || label > std::uint64_t(rows)) return;
    if (x % kRow != 0 && labels[voxel - 1] == label) return;
    std::int64_t end = x + 1;
    while (end < width && end % kRow != 0 && labels[voxel + end - x] == label) ++end;
    const std::int64_t y = line % height, z = line / height % depth, n = line / height / depth;
    std::uint64_t* row = table + (n * rows + std::int64_t(label) - 1) * kColumns;
    thread.add(row + kSize, std::uint64_t(end - x));
    const bool touches = x == 0 || end == width || y == 0 || y == height - 1 || (is_3d && (z == 0 || z == depth - 1));
    if (touches) thread.raise(row + kTouchesBorder, std::uint64_t(1));
    thread.lower(row + kMinZ, std::uint64_t(z));
    thread.lower(row + kMinY, std::uint64_t(y));
    thread.lower(row + kMinX, std::uint64_t(x));
    thread.raise(row + kMaxZ, std::uint64_t(z + 1));
    thread.raise(row + kMaxY, std::uint64_t(y + 1));
    thread.raise(row + kMaxX, std::uint64_t(end));
  }
};

}  // namespace ccl
