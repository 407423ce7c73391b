// A GPU on one host thread. Blocks are executed in a random order and, within a block, the threads of each phase. With a switch
// probability above zero the threads are fibers: several blocks and many of their threads are under way at once, and before any access that
// may race a die decides whether another one goes on. So interleavings occur that a real device shows once in a month.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace ccl {

using Random = std::mt19937_64;

/// Code with a stack of its own that can be left and resumed.
class Fiber {
 public:
  Fiber() : stack_(kStackBytes) {}
  Fiber(const Fiber&) = delete;

  bool is_alive() const { return is_alive_; }

  void start(void (*body)(void*), void* argument) {
    body_ = body, argument_ = argument, is_alive_ = true;
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_.data();
    inside_.uc_stack.ss_size = stack_.size();
    inside_.uc_link = &outside_;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&inside_, reinterpret_cast<void (*)()>(&enter), 2, unsigned(self >> 32), unsigned(self));
  }
  void resume() { swapcontext(&outside_, &inside_); }
  void leave() { swapcontext(&inside_, &outside_); }

 private:
  static constexpr std::size_t kStackBytes = 64 << 10;

  static void enter(unsigned high, unsigned low) {
    auto* fiber = reinterpret_cast<Fiber*>((std::uintptr_t(high) << 32) | low);
    fiber->body_(fiber->argument_);
    fiber->is_alive_ = false;
  }

  std::vector<char> stack_;
  ucontext_t inside_{}, outside_{};
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool is_alive_ = false;
};

/// A thread of the emulated device; the twin of `DeviceThread` in launch.cu.
class HostThread {
 public:
  HostThread(std::uint32_t block, int index, Fiber* fiber, Random* random, std::uint64_t switch_below)
      : block_(block), index_(index), fiber_(fiber), random_(random), switch_below_(switch_below) {}

  std::uint32_t block() const { return block_; }
  int index() const { return index_; }

  template <class T>
  T load(const T* at) const {
    return *reach(at);
  }
  template <class T>
  void store(T* at, T value) const {
    *reach(at) = value;
  }
  template <class T>
  T compare_and_swap(T* at, T expected, T desired) const {
    const T seen = *reach(at);
    if (seen == expected) *at = desired;
    return seen;
  }
  template <class T>
  void add(T* at, T value) const {
    *reach(at) += value;
  }
  template <class T>
  void set_bits(T* at, T value) const {
    *reach(at) |= value;
  }
  template <class T>
  void raise(T* at, T value) const {
    if (load(at) < value) *at = std::max(*reach(at), value);
  }
  template <class T>
  void lower(T* at, T value) const {
    if (load(at) > value) *at = std::min(*reach(at), value);
  }

 private:
  template <class T>
  T* reach(T* at) const {
    if (fiber_ && (*random_)() < switch_below_) fiber_->leave();
    return at;
  }

  std::uint32_t block_;
  int index_;
  Fiber* fiber_;
  Random* random_;
  std::uint64_t switch_below_;
};

/// A kernel whose type is forgotten, so that one scheduler serves all.
struct AnyKernel {
  const void* kernel;
  int threads, phases;
  std::size_t shared_bytes, local_bytes;
  void (*run)(const void* kernel, int phase, HostThread& thread, void* shared, void* local);
};

template <int Phase = 0, class Kernel>
void run_phase(const Kernel& kernel, int phase, HostThread& thread, typename Kernel::Shared& shared,
               typename Kernel::Local& local) {
  if (phase == Phase) return kernel.template run<Phase>(thread, shared, local);
  if constexpr (Phase + 1 < Kernel::kPhases) run_phase<Phase + 1>(kernel, phase, thread, shared, local);
}

template <class Kernel>
AnyKernel forget_type(const Kernel& kernel) {
  using Shared = typename Kernel::Shared;
  using Local = typename Kernel::Local;
  static_assert((Kernel::kThreads & (Kernel::kThreads - 1)) == 0);
  return {&kernel, Kernel::kThreads, Kernel::kPhases, sizeof(Shared), sizeof(Local),
          [](const void* self, int phase, HostThread& thread, void* shared, void* local) {
            run_phase(*static_cast<const Kernel*>(self), phase, thread, *static_cast<Shared*>(shared),
                      *static_cast<Local*>(local));
          }};
}

/// A block under way: its shared memory, its threads' registers, and how far it is.
class Block {
 public:
  Block(const AnyKernel& kernel, Random& random)
      : kernel_(kernel), random_(random), shared_(kernel.shared_bytes), locals_(kernel.local_bytes * std::size_t(kernel.threads)) {}

  void begin(std::uint32_t id) {
    id_ = id, phase_ = 0;
    std::fill(shared_.begin(), shared_.end(), std::uint8_t(0xcd));  // shared memory begins as anything
    std::fill(locals_.begin(), locals_.end(), std::uint8_t(0));
    begin_phase();
  }

  /// The next thread of this phase to start, in random order; -1 when all are started.
  int next_thread() {
    if (started_ == kernel_.threads) return -1;
    return int((std::uint64_t(started_++) * factor_ + shift_) % std::uint64_t(kernel_.threads));
  }

  void run(int thread_index, Fiber* fiber, std::uint64_t switch_below) {
    HostThread thread(id_, thread_index, fiber, &random_, switch_below);
    kernel_.run(kernel_.kernel, phase_, thread, shared_.data(),
                locals_.data() + kernel_.local_bytes * std::size_t(thread_index));
  }

  /// Counts a thread that is through with this phase; true when it was the block's last.
  bool finish_thread() {
    if (++finished_ < kernel_.threads) return false;
    ++phase_;
    begin_phase();
    return phase_ == kernel_.phases;
  }

 private:
  void begin_phase() {
    started_ = finished_ = 0;
    // An odd factor modulo a power of two is a permutation: quicker than a shuffle, and other threads meet each time.
    factor_ = random_() | 1, shift_ = random_();
  }

  const AnyKernel& kernel_;
  Random& random_;
  std::uint32_t id_ = 0;
  int phase_ = 0, started_ = 0, finished_ = 0;
  std::uint64_t factor_ = 1, shift_ = 0;
  std::vector<std::uint8_t> shared_, locals_;
};

/// Launches kernels on the emulated device.
struct Emulator {
  Random* random;
  double switch_probability;

  template <class Kernel>
  void operator()(const Kernel& kernel, std::int64_t blocks) const {
    std::vector<std::uint32_t> ids(static_cast<std::size_t>(blocks));
    std::iota(ids.begin(), ids.end(), 0u);
    std::shuffle(ids.begin(), ids.end(), *random);
    if (switch_probability > 0) {
      interleave(forget_type(kernel), ids);
    } else {
      run_in_turn(forget_type(kernel), ids);
    }
  }

 private:
  static constexpr std::size_t kBlocks = 3, kFibers = 24;  // at once; fibers per block

  void run_in_turn(const AnyKernel& kernel, const std::vector<std::uint32_t>& ids) const {
    Block block(kernel, *random);
    for (const std::uint32_t id : ids) {
      block.begin(id);
      do {
        block.run(block.next_thread(), nullptr, 0);
      } while (!block.finish_thread());
    }
  }

  /// One of the threads that are under way in a block.
  struct Lane {
    Block* block;
    std::uint64_t switch_below;
    int thread_index = 0;
    Fiber fiber{};

    static void body(void* self) {
      auto* lane = static_cast<Lane*>(self);
      lane->block->run(lane->thread_index, &lane->fiber, lane->switch_below);
    }
  };

  struct Resident {
    Block block;
    std::vector<std::unique_ptr<Lane>> lanes;
  };

  void interleave(const AnyKernel& kernel, const std::vector<std::uint32_t>& ids) const {
    const auto below = std::uint64_t(switch_probability * double(~std::uint64_t(0)));
    std::vector<std::unique_ptr<Resident>> residents;
    std::size_t next = 0;
    for (; next < std::min(kBlocks, ids.size()); ++next) {
      residents.push_back(std::make_unique<Resident>(Resident{Block(kernel, *random), {}}));
      Block& block = residents.back()->block;
      for (std::size_t f = 0; f < kFibers; ++f) residents.back()->lanes.push_back(std::unique_ptr<Lane>(new Lane{&block, below}));
      block.begin(ids[next]);
    }
    while (!residents.empty()) {
      const std::size_t r = (*random)() % residents.size();
      Block& block = residents[r]->block;
      Lane& lane = *residents[r]->lanes[(*random)() % kFibers];
      if (!lane.fiber.is_alive()) {
        const int thread_index = block.next_thread();
        if (thread_index < 0) continue;
        lane.thread_index = thread_index;
        lane.fiber.start(&Lane::body, &lane);
      }
      lane.fiber.resume();
      if (lane.fiber.is_alive() || !block.finish_thread()) continue;
      if (next < ids.size()) {
        block.begin(ids[next++]);
      } else {
        residents.erase(residents.begin() + std::ptrdiff_t(r));
      }
    }
  }
};

}  // namespace ccl
