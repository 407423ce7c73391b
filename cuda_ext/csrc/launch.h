// The pipelines on a CUDA stream. Every function returns at once.
#pragma once

#include "pipeline.h"

struct CUstream_st;

namespace ccl {

void keep_parts_cuda(const Request& request, const Rule& rule, void* workspace, std::uint8_t* out, CUstream_st* stream);
void label_parts_cuda(const Request& request, void* workspace, void* out, CUstream_st* stream);
void tabulate_parts_cuda(const std::int64_t sizes[4], bool is_3d, bool is_wide, const void* labels, std::int64_t rows,
                         std::uint64_t* table, CUstream_st* stream);

}  // namespace ccl
