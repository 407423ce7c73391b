// The emulated device behind a C interface for the tests: the same kernels and pipelines, compiled by the host's compiler alone.
#include <cstring>

#include "fibers.h"
#include "pipeline.h"

namespace {

constexpr std::uint8_t kCanary = 0xa5;
constexpr std::size_t kMargin = 4096;

/// Workspace between two margins that nobody may write on; what is between them begins as anything.
class Fenced {
 public:
  explicit Fenced(std::int64_t bytes) : bytes_(std::size_t(bytes)), memory_(bytes_ + 2 * kMargin, kCanary) {
    std::fill(memory_.begin() + kMargin, memory_.end() - kMargin, std::uint8_t(0xcd));
  }
  void* data() { return memory_.data() + kMargin; }
  bool is_intact() const {
    const auto is_canary = [](std::uint8_t byte) { return byte == kCanary; };
    return std::all_of(memory_.begin(), memory_.begin() + kMargin, is_canary) &&
           std::all_of(memory_.end() - kMargin, memory_.end(), is_canary);
  }

 private:
  std::size_t bytes_;
  std::vector<std::uint8_t> memory_;
};

}  // namespace

extern "C" {

/// Returns whether nothing was written outside the workspace.
int emulate_keep(const ccl::Request* request, const ccl::Rule* rule, std::uint64_t seed, double switch_probability,
                 std::uint8_t* out) {
  ccl::Random random(seed);
  Fenced workspace(ccl::workspace_bytes(*request));
  ccl::keep_parts(ccl::Emulator{&random, switch_probability}, *request, *rule, workspace.data(), out);
  return workspace.is_intact();
}

int emulate_label(const ccl::Request* request, std::uint64_t seed, double switch_probability, void* out) {
  ccl::Random random(seed);
  Fenced workspace(ccl::workspace_bytes(*request));
  ccl::label_parts(ccl::Emulator{&random, switch_probability}, *request, workspace.data(), out);
  return workspace.is_intact();
}

int emulate_tabulate(const std::int64_t* sizes, int is_3d, int is_wide, const void* labels, std::int64_t rows,
                     std::uint64_t seed, double switch_probability, std::uint64_t* table) {
  ccl::Random random(seed);
  ccl::tabulate_parts(ccl::Emulator{&random, switch_probability}, sizes, is_3d != 0, is_wide != 0, labels, rows, table);
  return 1;
}

int needs_wide(const std::int64_t* sizes) { return ccl::needs_wide(sizes); }

}  // extern "C"
