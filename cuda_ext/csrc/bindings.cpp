// The CUDA kernels of the operators that NeuroSAM2Core/components/device defines: checks, memory, streams. The operators' schemas, their
// fake kernels and what runs without this library are over there.
#include <Python.h>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <tuple>
#include <vector>

#include "launch.h"

namespace {

using at::Tensor;

bool is_planar(int64_t connectivity) { return connectivity == 4 || connectivity == 8; }

/// A mask with its batch dimensions folded into one, whatever its strides; it keeps the tensor alive.
struct Masks {
  Tensor folded;
  ccl::Request request{};

  Masks(const Tensor& mask, int64_t connectivity, bool is_background) {
    TORCH_CHECK(mask.scalar_type() == at::kBool || mask.scalar_type() == at::kByte, "mask must be bool or uint8; got ",
                mask.scalar_type());
    TORCH_CHECK(is_planar(connectivity) || connectivity == 6 || connectivity == 18 || connectivity == 26,
                "connectivity must be 4 or 8 (2-D), 6, 18 or 26 (3-D); got ", connectivity);
    const int64_t dims = is_planar(connectivity) ? 2 : 3;
    TORCH_CHECK(mask.dim() >= dims, "connectivity ", connectivity, " needs ", dims, " dimensions or more; got ", mask.dim());
    std::vector<int64_t> shape{-1};
    if (dims == 2) shape.push_back(1);
    for (int64_t d = mask.dim() - dims; d < mask.dim(); ++d) shape.push_back(mask.size(d));
    folded = mask.reshape(shape);  // a view where strides allow it
    request.mask = static_cast<const std::uint8_t*>(folded.const_data_ptr());
    for (int d = 0; d < 4; ++d) {
      TORCH_CHECK(folded.size(d) < ccl::kLargestIndex, "a mask has at most 2^31 - 2 voxels along an axis");
      request.sizes[d] = folded.size(d), request.strides[d] = folded.stride(d);
    }
    request.connectivity = int(connectivity), request.is_background = is_background;
    request.is_wide = ccl::needs_wide(request.sizes);
    TORCH_CHECK(ccl::tiles_of(request) <= std::numeric_limits<int>::max(), "the mask is too large for one launch");
  }

  Tensor workspace() const { return at::empty({ccl::workspace_bytes(request)}, folded.options().dtype(at::kByte)); }
  CUstream_st* stream() const { return c10::cuda::getCurrentCUDAStream(folded.get_device()).stream(); }
};

Tensor keep(const Tensor& mask, int64_t connectivity, bool is_background, const ccl::Rule& rule) {
  Tensor out = at::empty(mask.sizes(), mask.options().dtype(at::kBool).memory_format(at::MemoryFormat::Contiguous));
  if (mask.numel() == 0) return out;
  const c10::cuda::CUDAGuard guard(mask.device());
  const Masks masks(mask, connectivity, is_background);
  const Tensor workspace = masks.workspace();
  ccl::keep_parts_cuda(masks.request, rule, workspace.data_ptr(), static_cast<std::uint8_t*>(out.data_ptr()),
                       masks.stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

Tensor keep_parts(const Tensor& mask, int64_t connectivity, int64_t min_size, int64_t max_size, bool is_enclosed,
                  bool keeps_largest) {
  return keep(mask, connectivity, false,
              {std::uint64_t(min_size), std::uint64_t(max_size), is_enclosed, keeps_largest});
}

Tensor fill(const Tensor& mask, int64_t connectivity, int64_t max_size, bool is_enclosed) {
  return keep(mask, connectivity, true, {0, std::uint64_t(max_size), is_enclosed, false});
}

Tensor label(const Tensor& mask, int64_t connectivity) {
  if (mask.numel() == 0) return at::empty(mask.sizes(), mask.options().dtype(at::kInt));
  const c10::cuda::CUDAGuard guard(mask.device());
  const Masks masks(mask, connectivity, false);
  const auto dtype = masks.request.is_wide ? at::kLong : at::kInt;
  Tensor out = at::empty(mask.sizes(), mask.options().dtype(dtype).memory_format(at::MemoryFormat::Contiguous));
  const Tensor workspace = masks.workspace();
  ccl::label_parts_cuda(masks.request, workspace.data_ptr(), out.data_ptr(), masks.stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

/// Labels 1, 2, ... in the order of first voxels, and how many there are: a prefix sum over first voxels.
std::tuple<Tensor, Tensor> number_parts(const Tensor& labels) {
  const Tensor is_first = labels == at::arange(1, labels.size(1) + 1, labels.options());
  const Tensor rank = is_first.cumsum(1, labels.scalar_type());
  const Tensor numbered = rank.gather(1, (labels - 1).clamp_min(0).to(at::kLong)).masked_fill(labels == 0, 0);
  return {numbered, rank.select(1, labels.size(1) - 1)};
}

std::tuple<Tensor, Tensor, Tensor> tabulate(const Tensor& mask, int64_t connectivity, int64_t rows) {
  TORCH_CHECK(rows >= 0, "rows must be 0 or more; got ", rows);
  TORCH_CHECK(mask.numel() > 0, "there is no voxel to tabulate");
  const c10::cuda::CUDAGuard guard(mask.device());
  const Masks masks(mask, connectivity, false);
  const Tensor raw = label(mask, connectivity);
  const auto [numbered, counts] = number_parts(raw.view({masks.request.sizes[0], -1}));
  Tensor table = at::zeros({masks.request.sizes[0], rows, ccl::kColumns}, raw.options().dtype(at::kLong));
  table.slice(2, ccl::kMinZ, ccl::kMaxZ).fill_(std::numeric_limits<int64_t>::max());
  ccl::tabulate_parts_cuda(masks.request.sizes, !is_planar(connectivity), masks.request.is_wide, numbered.data_ptr(), rows,
                           reinterpret_cast<std::uint64_t*>(table.data_ptr<int64_t>()), masks.stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  table = table.masked_fill(table.slice(2, ccl::kSize, ccl::kSize + 1) == 0, 0);
  auto batch = mask.sizes().slice(0, size_t(mask.dim() - (is_planar(connectivity) ? 2 : 3))).vec();
  auto table_shape = batch;
  table_shape.insert(table_shape.end(), {rows, int64_t(ccl::kColumns)});
  return {numbered.view(mask.sizes()), counts.reshape(batch).to(at::kLong), table.view(table_shape)};
}

}  // namespace

TORCH_LIBRARY_IMPL(neurosam2, CUDA, m) {
  m.impl("label", &label);
  m.impl("keep_parts", &keep_parts);
  m.impl("fill", &fill);
  m.impl("tabulate", &tabulate);
}

/// Importing the library registers the kernels; the module itself is empty.
PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module{PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
