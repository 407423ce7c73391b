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

template <int Phase = 0, class Kernel>
void run_phase(int phase, const Kernel& kernel, HostThread& thread, typename Kernel::Shared& shared,
               typename Kernel::Local& local) {
  if (phase == Phase) return kernel.template run<Phase>(thread, shared, local);
  if constexpr (Phase + 1 < Kernel::kPhases) run_phase<Phase + 1>(phase, kernel, thread, shared, local);
}

/// A block under way: its shared memory, its threads' registers, and how far it is.
template <class Kernel>
struct Block {
  std::uint32_t id = 0;
  int phase = 0, started = 0, finished = 0;
  std::vector<int> order;
  typename Kernel::Shared shared;
  std::vector<typename Kernel::Local> locals;

  void begin(std::uint32_t number, Random& random) {
    id = number, phase = 0;
    std::memset(static_cast<void*>(&shared), 0xcd, sizeof(shared));  // shared memory begins as anything
    locals.assign(Kernel::kThreads, {});
    order.resize(Kernel::kThreads);
    std::iota(order.begin(), order.end(), 0);
    begin_phase(random);
  }
  void begin_phase(Random& random) {
    started = finished = 0;
    // An odd factor modulo a power of two is a permutation: quicker than a shuffle, and other warps meet each time.
    static_assert((Kernel::kThreads & (Kernel::kThreads - 1)) == 0);
    const std::uint64_t factor = random() | 1, shift = random();
    for (int t = 0; t < Kernel::kThreads; ++t) order[std::size_t(t)] = int((std::uint64_t(t) * factor + shift) % Kernel::kThreads);
  }
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
      interleave(kernel, ids);
    } else {
      run_in_turn(kernel, ids);
    }
  }

 private:
  static constexpr int kBlocks = 3, kFibers = 24;  // at once; fibers per block

  template <class Kernel>
  void run_in_turn(const Kernel& kernel, const std::vector<std::uint32_t>& ids) const {
    auto block = std::make_unique<Block<Kernel>>();
    for (const std::uint32_t id : ids) {
      for (block->begin(id, *random); block->phase < Kernel::kPhases; ++block->phase, block->begin_phase(*random)) {
        for (const int t : block->order) {
          HostThread thread(id, t, nullptr, nullptr, 0);
          run_phase(block->phase, kernel, thread, block->shared, block->locals[std::size_t(t)]);
        }
      }
    }
  }

  template <class Kernel>
  struct Lane {
    const Kernel* kernel;
    Block<Kernel>* block;
    Random* random;
    std::uint64_t switch_below;
    int thread_index = 0;
    Fiber fiber;

    static void body(void* self) {
      auto* lane = static_cast<Lane*>(self);
      HostThread thread(lane->block->id, lane->thread_index, &lane->fiber, lane->random, lane->switch_below);
      run_phase(lane->block->phase, *lane->kernel, thread, lane->block->shared,
                lane->block->locals[std::size_t(lane->thread_index)]);
    }
  };

  template <class Kernel>
  void interleave(const Kernel& kernel, const std::vector<std::uint32_t>& ids) const {
    const auto below = std::uint64_t(switch_probability * double(~std::uint64_t(0)));
    std::vector<std::unique_ptr<Block<Kernel>>> under_way;
    std::vector<std::vector<std::unique_ptr<Lane<Kernel>>>> lanes;
    std::size_t next = 0;
    while (under_way.size() < kBlocks && next < ids.size()) {
      under_way.push_back(std::make_unique<Block<Kernel>>());
      under_way.back()->begin(ids[next++], *random);
      lanes.emplace_back();
      for (int f = 0; f < kFibers; ++f) {
        auto lane = std::make_unique<Lane<Kernel>>();
        lane->kernel = &kernel, lane->block = under_way.back().get(), lane->random = random, lane->switch_below = below;
        lanes.back().push_back(std::move(lane));
      }
    }
    while (!under_way.empty()) {
      const std::size_t b = (*random)() % under_way.size();
      Block<Kernel>& block = *under_way[b];
      Lane<Kernel>& lane = *lanes[b][(*random)() % kFibers];
      if (!lane.fiber.is_alive()) {
        if (block.started == Kernel::kThreads) continue;
        lane.thread_index = block.order[std::size_t(block.started++)];
        lane.fiber.start(&Lane<Kernel>::body, &lane);
      }
      lane.fiber.resume();
      if (lane.fiber.is_alive() || ++block.finished < Kernel::kThreads) continue;
      if (++block.phase < Kernel::kPhases) {
        block.begin_phase(*random);
      } else if (next < ids.size()) {
        block.begin(ids[next++], *random);
      } else {
        under_way.erase(under_way.begin() + std::ptrdiff_t(b));
        lanes.erase(lanes.begin() + std::ptrdiff_t(b));
      }
    }
  }
};

}  // namespace ccl
