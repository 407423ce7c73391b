// Runs the kernels of `kernels.h` on a device. The only file that nvcc compiles; it knows no PyTorch.
#include "launch.h"

#include <type_traits>

namespace ccl {
namespace {

/// A thread of the device. All accesses are relaxed: volatile ones are so by PTX's memory model, and with them the compiler sees which
/// memory is shared, which it does not through cuda::atomic_ref. `raise` and `lower` look first: mostly there is nothing to change.
struct DeviceThread {
  __device__ std::uint32_t block() const { return blockIdx.x; }
  __device__ int index() const { return int(threadIdx.x); }

  template <class T>
  using Word = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;
  template <class T>
  __device__ static Word<T>* word(T* at) {
    return reinterpret_cast<Word<T>*>(at);
  }

  template <class T>
  __device__ T load(const T* at) const {
    return *static_cast<const volatile T*>(at);
  }
  template <class T>
  __device__ void store(T* at, T value) const {
    *static_cast<volatile T*>(at) = value;
  }
  template <class T>
  __device__ T compare_and_swap(T* at, T expected, T desired) const {
    return T(atomicCAS(word(at), Word<T>(expected), Word<T>(desired)));
  }
  template <class T>
  __device__ void add(T* at, T value) const {
    atomicAdd(word(at), Word<T>(value));
  }
  template <class T>
  __device__ void set_bits(T* at, T value) const {
    atomicOr(word(at), Word<T>(value));
  }
  template <class T>
  __device__ void raise(T* at, T value) const {
    if (load(at) < value) atomicMax(word(at), Word<T>(value));
  }
  template <class T>
  __device__ void lower(T* at, T value) const {
    if (load(at) > value) atomicMin(word(at), Word<T>(value));
  }
};

template <int Phase, class Kernel, class Shared>
__device__ __forceinline__ void run_from(const Kernel& kernel, DeviceThread& thread, Shared& shared,
                                         typename Kernel::Local& local) {
  kernel.template run<Phase>(thread, shared, local);
  if constexpr (Phase + 1 < Kernel::kPhases) {
    __syncthreads();
    run_from<Phase + 1>(kernel, thread, shared, local);
  }
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) run_kernel(const __grid_constant__ Kernel kernel) {
  __shared__ typename Kernel::Shared shared;
  DeviceThread thread;
  typename Kernel::Local local{};
  run_from<0>(kernel, thread, shared, local);
}

struct Launch {
  CUstream_st* stream;
  template <class Kernel>
  void operator()(const Kernel& kernel, std::int64_t blocks) const {
    if (blocks) run_kernel<<<unsigned(blocks), Kernel::kThreads, 0, stream>>>(kernel);
  }
};

}  // namespace

void keep_parts_cuda(const Request& request, const Rule& rule, void* workspace, std::uint8_t* out, CUstream_st* stream) {
  keep_parts(Launch{stream}, request, rule, workspace, out);
}

void label_parts_cuda(const Request& request, void* workspace, void* out, CUstream_st* stream) {
  label_parts(Launch{stream}, request, workspace, out);
}

void tabulate_parts_cuda(const std::int64_t sizes[4], bool is_3d, bool is_wide, const void* labels, std::int64_t rows,
                         std::uint64_t* table, CUstream_st* stream) {
  tabulate_parts(Launch{stream}, sizes, is_3d, is_wide, labels, rows, table);
}

}  // namespace ccl
