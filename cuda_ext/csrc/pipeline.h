// Which kernels run in which order on which memory: one source for the device and for the host emulation. A launcher is a functor
// `launch(kernel, blocks)`; nothing here waits for a result.
#pragma once

#include "table.h"

namespace ccl {

/// A batch of masks and how their voxels are connected.
struct Request {
  const std::uint8_t* mask;
  std::int64_t sizes[4];    // n, z, y, x; z is 1 in a plane
  std::int64_t strides[4];  // elements
  int connectivity;         // 4, 8; 6, 18, 26
  bool is_background;       // the parts are those of the zeros
  bool is_wide;             // 64-bit indices
};

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t kLargestIndex = 0x7fffffff;  // labels are signed, and sizes share their top bit

inline bool needs_wide(const std::int64_t sizes[4]) {
  return sizes[0] * sizes[1] * sizes[2] * sizes[3] >= kLargestIndex;
}

inline int max_axes_of(int connectivity) {
  return connectivity == 4 || connectivity == 6 ? 1 : connectivity == 8 || connectivity == 18 ? 2 : 3;
}

template <class S>
Grid grid_of(const Request& r) {
  Grid g{};
  g.batch = r.sizes[0], g.depth = r.sizes[1], g.height = r.sizes[2], g.width = r.sizes[3];
  g.stride_n = r.strides[0], g.stride_z = r.strides[1], g.stride_y = r.strides[2], g.stride_x = r.strides[3];
  g.nz = int(ceil_div(g.depth, S::kBz)), g.ny = int(ceil_div(g.height, S::kBy)), g.nx = int(ceil_div(g.width, S::kBx));
  g.tz = std::uint32_t(ceil_div(g.nz, S::kTz)), g.ty = std::uint32_t(ceil_div(g.ny, S::kTy));
  g.tx = std::uint32_t(ceil_div(g.nx, kRow));
  return g;
}

/// Calls `act(shape)` with the shape that a connectivity is labelled in.
template <class Act>
auto with_shape(int connectivity, const Act& act) {
  switch (connectivity) {
    case 4: return act(Pixels{});
    case 8: return act(Quads{});
    case 26: return act(Octets{});
    default: return act(Voxels{});
  }
}

/// Calls `act(index)` with the index type of a request.
template <class Act>
auto with_index(bool is_wide, const Act& act) {
  return is_wide ? act(std::uint64_t{}) : act(std::uint32_t{});
}

/// Cuts one piece of memory into arrays; without memory it only counts.
class Carver {
 public:
  explicit Carver(void* memory) : memory_(static_cast<std::uint8_t*>(memory)) {}
  std::int64_t used() const { return used_; }

  template <class T>
  T* take(std::int64_t count) {
    T* array = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += ceil_div(count * std::int64_t(sizeof(T)), 256) * 256;
    return array;
  }

 private:
  std::uint8_t* memory_;
  std::int64_t used_ = 0;
};

template <class S, class Index>
Work<Index> work_of(const Request& r, Carver& carver) {
  Work<Index> work{};
  work.grid = grid_of<S>(r);
  work.mask = r.mask, work.is_background = r.is_background, work.max_axes = max_axes_of(r.connectivity);
  const std::int64_t nodes = work.grid.batch * work.grid.nodes();
  work.parents = carver.take<Index>(nodes);
  work.sizes = carver.take<Index>(nodes);
  if (S::kVoxels > 1) work.firsts = carver.take<Index>(nodes);
  work.best_size = carver.take<Index>(work.grid.batch);
  work.best_first = carver.take<Index>(work.grid.batch);
  work.bits = carver.take<std::uint8_t>(nodes);
  return work;
}

/// Bytes of workspace that a request needs.
inline std::int64_t workspace_bytes(const Request& r) {
  return with_shape(r.connectivity, [&](auto shape) {
    return with_index(r.is_wide, [&](auto index) {
      Carver carver(nullptr);
      work_of<decltype(shape), decltype(index)>(r, carver);
      return carver.used();
    });
  });
}

/// Tiles of a request; a grid has room for 2^31 - 1.
inline std::int64_t tiles_of(const Request& r) {
  return with_shape(r.connectivity, [&](auto shape) { return grid_of<decltype(shape)>(r).tiles(); });
}

template <class S, class Index, class Launch>
void find_parts(const Launch& launch, const Work<Index>& work) {
  const std::int64_t tiles = work.grid.tiles();
  launch(LabelTiles<S, Index>{work}, tiles);
  launch(MergeTiles<S, Index>{work}, tiles);
  launch(Measure<S, Index>{work}, tiles);
}

/// The parts of a batch of masks that a rule keeps, one byte a voxel; see `WriteKept`.
template <class Launch>
void keep_parts(const Launch& launch, const Request& r, const Rule& rule, void* workspace, std::uint8_t* out) {
  with_shape(r.connectivity, [&](auto shape) {
    with_index(r.is_wide, [&](auto index) {
      using S = decltype(shape);
      using Index = decltype(index);
      Carver carver(workspace);
      const Work<Index> work = work_of<S, Index>(r, carver);
      find_parts<S>(launch, work);
      if (rule.keeps_largest) {
        launch(ClearLargest<Index>{work}, ceil_div(work.grid.batch, ClearLargest<Index>::kThreads));
        launch(FindLargest<S, Index>{work}, work.grid.tiles());
        launch(FindFirstLargest<S, Index>{work}, work.grid.tiles());
      }
      launch(WriteKept<S, Index>{work, rule, out}, work.grid.tiles());
    });
  });
}

/// Labels of a batch of masks, 32 or 64 bits wide as the request; see `WriteLabels`.
template <class Launch>
void label_parts(const Launch& launch, const Request& r, void* workspace, void* out) {
  with_shape(r.connectivity, [&](auto shape) {
    with_index(r.is_wide, [&](auto index) {
      using S = decltype(shape);
      using Index = decltype(index);
      Carver carver(workspace);
      const Work<Index> work = work_of<S, Index>(r, carver);
      find_parts<S>(launch, work);
      launch(WriteLabels<S, Index>{work, static_cast<Index*>(out)}, work.grid.tiles());
    });
  });
}

/// Statistics of the first `rows` parts of every image; see `Tabulate`.
template <class Launch>
void tabulate_parts(const Launch& launch, const std::int64_t sizes[4], bool is_3d, bool is_wide, const void* labels,
                    std::int64_t rows, std::uint64_t* table) {
  with_index(is_wide, [&](auto index) {
    using Index = decltype(index);
    const std::int64_t voxels = sizes[0] * sizes[1] * sizes[2] * sizes[3];
    const Tabulate<Index> kernel{sizes[0], sizes[1], sizes[2], sizes[3], rows, is_3d, static_cast<const Index*>(labels), table};
    launch(kernel, ceil_div(voxels, Tabulate<Index>::kThreads));
  });
}

}  // namespace ccl
