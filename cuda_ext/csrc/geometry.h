// How an image is cut into nodes and tiles, and which nodes are neighbours. Pure integers, the same on the host and on the device.
//
// A *node* is what the union-find knows: one voxel, or a block of 2 x 2 (x 2) voxels that always belong together because each touches
// each (8- and 26-connectivity). A *tile* is what one thread block labels in shared memory, one thread a node, rows of 32 nodes along x.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define CCL_BOTH __host__ __device__ __forceinline__
#define CCL_UNROLL _Pragma("unroll")
#else
#define CCL_BOTH inline
#define CCL_UNROLL
#endif

namespace ccl {

constexpr int kRow = 32;  // nodes in a row of a tile: one word of links

/// A place or a difference in nodes.
struct Step {
  int z, y, x;
};

CCL_BOTH constexpr Step operator+(Step a, Step b) { return {a.z + b.z, a.y + b.y, a.x + b.x}; }
CCL_BOTH constexpr Step operator-(Step a) { return {-a.z, -a.y, -a.x}; }
CCL_BOTH constexpr int axes_of(Step d) { return (d.z != 0) + (d.y != 0) + (d.x != 0); }

constexpr Step kLeft{0, 0, -1};

/// The neighbours that come before a node in raster order: steps 0 to 12 in 3-D, 9 to 12 in a plane; the last one is `kLeft`.
constexpr int kSteps = 13;
CCL_BOTH constexpr Step preceding(int k) { return {k / 9 - 1, k / 3 % 3 - 1, k % 3 - 1}; }

/// Voxels per node (BZ, BY, BX) and nodes per tile (TZ, TY, 32). Bit (z * BY + y) * BX + x of a node's bits is one of its voxels.
template <int BZ, int BY, int BX, int TZ, int TY, bool Is3d>
struct Shape {
  static constexpr int kBz = BZ, kBy = BY, kBx = BX, kTz = TZ, kTy = TY;
  static constexpr int kVoxels = BZ * BY * BX, kRows = TZ * TY, kThreads = kRows * kRow;
  static constexpr bool kIs3d = Is3d;
  static constexpr int kFirstStep = Is3d ? 0 : 9;

  /// The bits with coordinate `z`, `y`, `x` within the node; -1 for any.
  CCL_BOTH static constexpr std::uint32_t layer(int z, int y, int x) {
    std::uint32_t bits = 0;
    for (int b = 0; b < kVoxels; ++b) {
      const bool hit = (z < 0 || b / (BY * BX) == z) && (y < 0 || b / BX % BY == y) && (x < 0 || b % BX == x);
      bits |= std::uint32_t(hit) << b;
    }
    return bits;
  }

  /// The voxels of a node that touch the neighbour in direction `d`. Any of them touches any of the neighbour's that face back.
  CCL_BOTH static constexpr std::uint32_t facing(Step d) {
    return layer(d.z < 0 ? 0 : d.z > 0 ? BZ - 1 : -1, d.y < 0 ? 0 : d.y > 0 ? BY - 1 : -1,
                 d.x < 0 ? 0 : d.x > 0 ? BX - 1 : -1);
  }
};

using Pixels = Shape<1, 1, 1, 1, 8, false>;  // 4-connectivity
using Quads = Shape<1, 2, 2, 1, 8, false>;   // 8
using Voxels = Shape<1, 1, 1, 4, 4, true>;   // 6 and 18
using Octets = Shape<2, 2, 2, 4, 4, true>;   // 26

/// A batch of images of one size: sizes in voxels, strides in elements, then the same in nodes and tiles.
struct Grid {
  std::int64_t batch, depth, height, width;
  std::int64_t stride_n, stride_z, stride_y, stride_x;
  int nz, ny, nx;
  std::uint32_t tz, ty, tx;

  CCL_BOTH std::int64_t nodes() const { return std::int64_t(nz) * ny * nx; }
  CCL_BOTH std::int64_t tiles() const { return batch * tz * ty * tx; }
};

/// The node of one thread.
template <class Index>
struct Place {
  int n;          // image of the batch
  Step at;        // node in the image
  Step in_tile;   // node in the tile
  bool is_inside; // tiles at the far sides reach beyond the image
  Index node;     // linear, over the batch
};

template <class S, class Index>
CCL_BOTH Place<Index> place_of(const Grid& grid, std::uint32_t block, int thread) {
  Place<Index> place;
  place.in_tile = {thread / (kRow * S::kTy), thread / kRow % S::kTy, thread % kRow};
  const std::uint32_t tile_x = block % grid.tx, row = block / grid.tx;
  const std::uint32_t tile_y = row % grid.ty, slab = row / grid.ty;
  const std::uint32_t tile_z = slab % grid.tz;
  place.n = int(slab / grid.tz);
  place.at = Step{int(tile_z) * S::kTz, int(tile_y) * S::kTy, int(tile_x) * kRow} + place.in_tile;
  place.is_inside = place.at.z < grid.nz && place.at.y < grid.ny && place.at.x < grid.nx;
  place.node = ((Index(place.n) * Index(grid.nz) + Index(place.at.z)) * Index(grid.ny) + Index(place.at.y)) *
                   Index(grid.nx) + Index(place.at.x);
  return place;
}

/// The thread of a place in its tile.
template <class S>
CCL_BOTH int thread_of(Step in_tile) {
  return (in_tile.z * S::kTy + in_tile.y) * kRow + in_tile.x;
}

template <class S>
CCL_BOTH bool is_in_tile(Step in_tile) {
  return in_tile.z >= 0 && in_tile.z < S::kTz && in_tile.y >= 0 && in_tile.y < S::kTy && in_tile.x >= 0 &&
         in_tile.x < kRow;
}

/// Whether a node touches its neighbour. `bits_at(step)` gives a node's voxels, none outside.
template <class S, class BitsAt>
CCL_BOTH bool is_connected(const BitsAt& bits_at, Step at, Step d) {
  return (bits_at(at) & S::facing(d)) && (bits_at(at + d) & S::facing(-d));
}

/// Whether the union of a node with a preceding neighbour has to be made: they touch, and no chain of unions that are made anyway joins
/// them. Links to the left are always made; a straight step is spared where the nodes to the left of both make it and are linked to
/// both; a diagonal one where a straight step and a link go around the corner. (By induction along x nothing is lost.)
template <class S, class BitsAt>
CCL_BOTH bool needs_union(const BitsAt& bits_at, Step at, Step d) {
  if (!is_connected<S>(bits_at, at, d)) return false;
  if (d.z == 0 && d.y == 0) return true;
  const Step straight{d.z, d.y, 0}, side{0, 0, d.x == 0 ? -1 : d.x};
  if (d.x == 0) {
    return !(is_connected<S>(bits_at, at, side) && is_connected<S>(bits_at, at + d, side) &&
             is_connected<S>(bits_at, at + side, d));
  }
  return !(is_connected<S>(bits_at, at, side) && is_connected<S>(bits_at, at + side, straight)) &&
         !(is_connected<S>(bits_at, at, straight) && is_connected<S>(bits_at, at + straight, side));
}

CCL_BOTH int count_bits(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __popc(word);
#elif defined(__GNUC__)
  return __builtin_popcount(word);
#else
  int count = 0;
  for (; word; word &= word - 1) ++count;
  return count;
#endif
}

CCL_BOTH int lowest_bit(std::uint32_t word) { return count_bits((word & (~word + 1)) - 1); }

CCL_BOTH int highest_bit(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(int(word));
#elif defined(__GNUC__)
  return 31 - __builtin_clz(word);
#else
  int bit = 31;
  while (!(word >> bit & 1)) --bit;
  return bit;
#endif
}

/// Where the run of linked nodes that holds node `x` of a row begins; bit x of `links` says that x is linked to x - 1.
CCL_BOTH int run_start(std::uint32_t links, int x) { return highest_bit(~links & (~0u >> (kRow - 1 - x))); }

}  // namespace ccl
