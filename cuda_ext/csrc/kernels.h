// The kernels, as functors that know nothing of CUDA: phase by phase, with a barrier of the block between two phases. `launch.cu` runs
// them on a device, `emulate.cpp` on the host. Accesses that may race go through the thread (`load`, `store`, `add`, ...), which makes
// them relaxed atomics; everything else is written by one thread and read by others only after a barrier or in a later kernel.
//
// Source: Allegretti, Bolelli and Grana 2020 (blocks of voxels as nodes); Playne and Hawick 2018 (local labels, then borders, without
// iterating over the image); Hennequin et al. 2018 (runs of a row first, statistics on the fly).
#pragma once

#include "union_find.h"

namespace ccl {

/// What all kernels of one run work on. Arrays have an entry for every node, over the batch.
template <class Index>
struct Work {
  Grid grid;
  const std::uint8_t* mask;  // strided
  bool is_background;        // the parts are those of the zeros
  int max_axes;              // neighbours differ in at most this many coordinates
  std::uint8_t* bits;
  Index* parents;
  Index* sizes;   // at roots: voxels, and the top bit where the part touches the image's border
  Index* firsts;  // at roots: the part's first voxel in raster order; null where nodes are voxels, as the root then is that voxel
  Index* best_size;   // per image
  Index* best_first;  // per image

  CCL_BOTH Index first_of(Index root, int n) const {
    return firsts ? firsts[root] : root - Index(n) * Index(grid.nodes());
  }
};

template <class Index>
constexpr Index kTouches = Index(1) << (8 * sizeof(Index) - 1);
template <class Index>
constexpr Index kNone = ~Index(0);

struct Nothing {};

/// Bits of the nodes of a tile, in shared memory.
template <class S>
struct TileBits {
  const std::uint8_t* bits;
  CCL_BOTH std::uint32_t operator()(Step in_tile) const {
    return is_in_tile<S>(in_tile) ? bits[thread_of<S>(in_tile)] : 0;
  }
};

/// Bits of the nodes of an image.
struct ImageBits {
  const Grid& grid;
  const std::uint8_t* bits;  // of the image's first node
  CCL_BOTH std::uint32_t operator()(Step at) const {
    const bool is_inside = at.z >= 0 && at.z < grid.nz && at.y >= 0 && at.y < grid.ny && at.x >= 0 && at.x < grid.nx;
    return is_inside ? bits[(std::int64_t(at.z) * grid.ny + at.y) * grid.nx + at.x] : 0;
  }
};

/// A node's voxels of the strided mask.
template <class S, class Index>
CCL_BOTH std::uint32_t read_bits(const Work<Index>& work, const Place<Index>& place) {
  const Grid& g = work.grid;
  std::uint32_t bits = 0;
  for (int b = 0; b < S::kVoxels; ++b) {
    const std::int64_t z = std::int64_t(place.at.z) * S::kBz + b / (S::kBy * S::kBx);
    const std::int64_t y = std::int64_t(place.at.y) * S::kBy + b / S::kBx % S::kBy;
    const std::int64_t x = std::int64_t(place.at.x) * S::kBx + b % S::kBx;
    if (z >= g.depth || y >= g.height || x >= g.width) continue;
    const bool is_set = work.mask[place.n * g.stride_n + z * g.stride_z + y * g.stride_y + x * g.stride_x] != 0;
    bits |= std::uint32_t(is_set != work.is_background) << b;
  }
  return bits;
}

/// The voxels of a node that lie on the image's border.
template <class S>
CCL_BOTH std::uint32_t border_bits(const Grid& g, Step at) {
  std::uint32_t bits = 0;
  if (S::kIs3d && at.z == 0) bits |= S::layer(0, -1, -1);
  if (S::kIs3d && at.z == g.nz - 1) bits |= S::layer(int((g.depth - 1) % S::kBz), -1, -1);
  if (at.y == 0) bits |= S::layer(-1, 0, -1);
  if (at.y == g.ny - 1) bits |= S::layer(-1, int((g.height - 1) % S::kBy), -1);
  if (at.x == 0) bits |= S::layer(-1, -1, 0);
  if (at.x == g.nx - 1) bits |= S::layer(-1, -1, int((g.width - 1) % S::kBx));
  return bits;
}

/// The raster index, within its image, of the first voxel of a node that is set.
template <class S, class Index>
CCL_BOTH Index first_voxel(const Grid& g, Step at, std::uint32_t bits) {
  const int b = lowest_bit(bits);
  const Index z = Index(at.z) * S::kBz + b / (S::kBy * S::kBx), y = Index(at.y) * S::kBy + b / S::kBx % S::kBy;
  return (z * Index(g.height) + y) * Index(g.width) + Index(at.x) * S::kBx + b % S::kBx;
}

/// Labels every tile on its own: runs of each row first, then unions between rows, all in shared memory.
template <class S, class Index>
struct LabelTiles {
  static constexpr int kThreads = S::kThreads, kPhases = 5;
  struct Shared {
    std::uint32_t parents[kThreads];
    std::uint32_t links[S::kRows];
    std::uint8_t bits[kThreads];
  };
  struct Local {
    Place<Index> place;
    std::uint32_t bits;
  };
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared& shared, Local& local) const {
    const int t = thread.index(), row = t / kRow;
    const TileBits<S> bits_at{shared.bits};
    const Step here = local.place.in_tile;  // from phase 1 on
    if constexpr (Phase == 0) {
      local.place = place_of<S, Index>(work.grid, thread.block(), t);
      local.bits = local.place.is_inside ? read_bits<S>(work, local.place) : 0;
      shared.bits[t] = std::uint8_t(local.bits);
      if (t % kRow == 0) shared.links[row] = 0;
    } else if constexpr (Phase == 1) {
      if (is_connected<S>(bits_at, here, kLeft)) thread.set_bits(shared.links + row, 1u << here.x);
    } else if constexpr (Phase == 2) {
      shared.parents[t] = std::uint32_t(row * kRow + run_start(shared.links[row], here.x));
    } else if constexpr (Phase == 3) {
      if (!local.bits) return;
      CCL_UNROLL
      for (int k = S::kFirstStep; k < kSteps - 1; ++k) {
        const Step d = preceding(k);
        if (axes_of(d) <= work.max_axes && needs_union<S>(bits_at, here, d)) {
          unite(thread, shared.parents, std::uint32_t(t), std::uint32_t(thread_of<S>(here + d)));
        }
      }
    } else {
      if (!local.place.is_inside) return;
      const Index node = local.place.node;
      work.bits[node] = std::uint8_t(local.bits);
      if (work.firsts) work.firsts[node] = kNone<Index>;
      work.sizes[node] = 0;
      if (!local.bits) return;
      const int root = int(find_root(thread, shared.parents, std::uint32_t(t)));
      const Index planes = Index(here.z - root / (kRow * S::kTy)), rows = Index(here.y - root / kRow % S::kTy);
      work.parents[node] = node - (planes * Index(work.grid.ny) + rows) * Index(work.grid.nx) -
                           Index(here.x - root % kRow);
    }
  }
};

/// Joins what touches across the sides of tiles.
template <class S, class Index>
struct MergeTiles {
  static constexpr int kThreads = S::kThreads, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const Place<Index> place = place_of<S, Index>(work.grid, thread.block(), thread.index());
    if (!place.is_inside || !work.bits[place.node]) return;
    const ImageBits bits_at{work.grid, work.bits + std::int64_t(place.n) * work.grid.nodes()};
    CCL_UNROLL
    for (int k = S::kFirstStep; k < kSteps; ++k) {
      const Step d = preceding(k);
      if (axes_of(d) > work.max_axes || is_in_tile<S>(place.in_tile + d) || !needs_union<S>(bits_at, place.at, d)) continue;
      const Index other = place.node + (Index(d.z) * Index(work.grid.ny) + Index(d.y)) * Index(work.grid.nx) + Index(d.x);
      unite(thread, work.parents, thread.load(work.parents + place.node), thread.load(work.parents + other));
    }
  }
};

/// Points every node to its root and sums up what belongs to a root, tile by tile and run by run: one global atomic for each part of a
/// tile instead of one for each voxel.
template <class S, class Index>
struct Measure {
  static constexpr int kThreads = S::kThreads, kPhases = 5;
  struct Shared {
    Index roots[kThreads];
    Index firsts[kThreads];
    std::uint32_t sizes[kThreads];
    std::uint32_t links[S::kRows];
    std::uint16_t slots[kThreads];
    std::uint8_t bits[kThreads];
  };
  struct Local {
    Place<Index> place;
    std::uint32_t bits;
    int head;
  };
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared& shared, Local& local) const {
    const int t = thread.index(), row = t / kRow;
    const Index node = local.place.node;  // from phase 1 on
    if constexpr (Phase == 0) {
      local.place = place_of<S, Index>(work.grid, thread.block(), t);
      local.bits = local.place.is_inside ? work.bits[local.place.node] : 0;
      shared.bits[t] = std::uint8_t(local.bits);
      shared.sizes[t] = 0;
      shared.firsts[t] = kNone<Index>;
      if (t % kRow == 0) shared.links[row] = 0;
    } else if constexpr (Phase == 1) {
      if (is_connected<S>(TileBits<S>{shared.bits}, local.place.in_tile, kLeft)) {
        thread.set_bits(shared.links + row, 1u << local.place.in_tile.x);
      }
    } else if constexpr (Phase == 2) {
      local.head = row * kRow + run_start(shared.links[row], local.place.in_tile.x);
      if (local.bits && local.head == t) add_run(thread, shared, local.place);
    } else if constexpr (Phase == 3) {
      const std::uint32_t size = shared.sizes[t];
      if (!size) return;
      const Index root = find_root(thread, work.parents, node);
      shared.roots[t] = root;
      thread.add(work.sizes + root, Index(size & ~kTouches<std::uint32_t>));
      if (size & kTouches<std::uint32_t>) thread.set_bits(work.sizes + root, kTouches<Index>);
      if (work.firsts) thread.lower(work.firsts + root, shared.firsts[t]);
    } else {
      if (local.bits) thread.store(work.parents + node, shared.roots[shared.slots[local.head]]);
    }
  }

  /// A run's voxels, border contact and first voxel, at the slot of the node it hangs from in this tile, or at its own.
  template <class Thread>
  CCL_BOTH void add_run(Thread& thread, Shared& shared, const Place<Index>& place) const {
    const int t = thread.index();
    const int slot = slot_of(thread.load(work.parents + place.node), place, t);
    std::uint32_t size = 0, touches = 0;
    Index first = kNone<Index>;
    int u = t;
    Step at = place.at;
    do {
      const std::uint32_t bits = shared.bits[u];
      size += std::uint32_t(count_bits(bits));
      touches |= bits & border_bits<S>(work.grid, at);
      if (work.firsts) {
        const Index voxel = first_voxel<S, Index>(work.grid, at, bits);
        first = voxel < first ? voxel : first;
      }
      ++u;
      ++at.x;
    } while (u % kRow != 0 && (shared.links[t / kRow] >> (u % kRow) & 1));
    shared.slots[t] = std::uint16_t(slot);
    thread.add(shared.sizes + slot, size);
    if (touches) thread.set_bits(shared.sizes + slot, kTouches<std::uint32_t>);
    if (work.firsts) thread.lower(shared.firsts + slot, first);
  }

  CCL_BOTH int slot_of(Index parent, const Place<Index>& place, int t) const {
    const Grid& g = work.grid;
    const Index local = parent - Index(place.n) * Index(g.nodes()), line = local / Index(g.nx);
    const Step at{int(line / Index(g.ny)), int(line % Index(g.ny)), int(local % Index(g.nx))};
    const Step in_tile = place.in_tile + at + -place.at;
    return is_in_tile<S>(in_tile) ? thread_of<S>(in_tile) : t;
  }
};

/// The size of each image's largest part.
template <class S, class Index>
struct FindLargest {
  static constexpr int kThreads = S::kThreads, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const Place<Index> place = place_of<S, Index>(work.grid, thread.block(), thread.index());
    if (!place.is_inside || !work.bits[place.node] || work.parents[place.node] != place.node) return;
    thread.raise(work.best_size + place.n, work.sizes[place.node] & ~kTouches<Index>);
  }
};

/// The first voxel of each image's largest part; of several equal ones, that of the first.
template <class S, class Index>
struct FindFirstLargest {
  static constexpr int kThreads = S::kThreads, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const Place<Index> place = place_of<S, Index>(work.grid, thread.block(), thread.index());
    if (!place.is_inside || !work.bits[place.node] || work.parents[place.node] != place.node) return;
    if ((work.sizes[place.node] & ~kTouches<Index>) != work.best_size[place.n]) return;
    thread.lower(work.best_first + place.n, work.first_of(place.node, place.n));
  }
};

/// Sets what `FindLargest` and `FindFirstLargest` begin from.
template <class Index>
struct ClearLargest {
  static constexpr int kThreads = 256, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const std::int64_t n = std::int64_t(thread.block()) * kThreads + thread.index();
    if (n >= work.grid.batch) return;
    work.best_size[n] = 0;
    work.best_first[n] = kNone<Index>;
  }
};

/// Which parts are kept.
struct Rule {
  std::uint64_t min_size, max_size;  // voxels
  bool is_enclosed;                  // only parts that do not touch the image's border
  bool keeps_largest;                // and the largest one whatever its size
};

/// Writes a value for every voxel of a node; images are contiguous in `out`.
template <class S, class Index, class Value, class Of>
CCL_BOTH void write_voxels(const Grid& g, const Place<Index>& place, Value* out, const Of& of) {
  for (int b = 0; b < S::kVoxels; ++b) {
    const std::int64_t z = std::int64_t(place.at.z) * S::kBz + b / (S::kBy * S::kBx);
    const std::int64_t y = std::int64_t(place.at.y) * S::kBy + b / S::kBx % S::kBy;
    const std::int64_t x = std::int64_t(place.at.x) * S::kBx + b % S::kBx;
    if (z >= g.depth || y >= g.height || x >= g.width) continue;
    out[((place.n * g.depth + z) * g.height + y) * g.width + x] = of(b);
  }
}

/// Bit b of a word, as the value of voxel b.
struct BitOf {
  std::uint32_t word;
  CCL_BOTH std::uint8_t operator()(int b) const { return std::uint8_t(word >> b & 1); }
};

/// The parts that the rule keeps; of the background: the mask with them added.
template <class S, class Index>
struct WriteKept {
  static constexpr int kThreads = S::kThreads, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;
  Rule rule;
  std::uint8_t* out;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const Place<Index> place = place_of<S, Index>(work.grid, thread.block(), thread.index());
    if (!place.is_inside) return;
    const std::uint32_t bits = work.bits[place.node];
    const std::uint32_t kept = bits && keeps(work.parents[place.node], place.n) ? bits : 0;
    write_voxels<S>(work.grid, place, out, BitOf{work.is_background ? ~bits | kept : kept});
  }

  CCL_BOTH bool keeps(Index root, int n) const {
    const Index size = work.sizes[root] & ~kTouches<Index>;
    const bool touches = work.sizes[root] & kTouches<Index>;
    if (size >= rule.min_size && size <= rule.max_size && !(rule.is_enclosed && touches)) return true;
    return rule.keeps_largest && work.first_of(root, n) == work.best_first[n];
  }
};

/// A label where bit b is set, else 0.
template <class Index>
struct LabelOf {
  std::uint32_t bits;
  Index label;
  CCL_BOTH Index operator()(int b) const { return bits >> b & 1 ? label : 0; }
};

/// Every voxel's label: one more than the raster index of its part's first voxel; 0 where there is no part.
template <class S, class Index>
struct WriteLabels {
  static constexpr int kThreads = S::kThreads, kPhases = 1;
  using Shared = Nothing;
  using Local = Nothing;
  Work<Index> work;
  Index* out;

  template <int Phase, class Thread>
  CCL_BOTH void run(Thread& thread, Shared&, Local&) const {
    const Place<Index> place = place_of<S, Index>(work.grid, thread.block(), thread.index());
    if (!place.is_inside) return;
    const std::uint32_t bits = work.bits[place.node];
    const Index label = bits ? work.first_of(work.parents[place.node], place.n) + 1 : 0;
    write_voxels<S>(work.grid, place, out, LabelOf<Index>{bits, label});
  }
};

}  // namespace ccl
