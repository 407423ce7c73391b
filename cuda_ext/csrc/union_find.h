// A forest that many threads join at once without locks.
//
// Invariants, at every moment and whatever the order of threads: a parent is never larger than its child; a node is a root exactly while
// it is its own parent; a root is hooked once, by compare-and-swap, below a smaller node of what becomes the same part; any other parent
// is only ever replaced by a node of the same part that is smaller than the child. So there is no cycle, no union is lost, an outdated
// parent that a thread still sees is a right one, and in the end the root of a part is its smallest node: the result depends on nothing
// but the image. Relaxed atomics are enough; barriers and the ends of kernels order the rest.
//
// Source: Jaiganesh and Burtscher 2018 (ECL-CC): intermediate pointer jumping, hooking by compare-and-swap.
#pragma once

#include "geometry.h"

namespace ccl {

/// The root of a node. Every node on the way is made to point to its grandparent.
template <class Index, class Thread>
CCL_BOTH Index find_root(Thread& thread, Index* parents, Index node) {
  Index before = node, current = thread.load(parents + node);
  if (current == node) return node;
  for (Index next; (next = thread.load(parents + current)) != current; before = current, current = next) {
    thread.store(parents + before, next);
  }
  return current;
}

/// Joins the parts of two nodes.
template <class Index, class Thread>
CCL_BOTH void unite(Thread& thread, Index* parents, Index a, Index b) {
  a = find_root(thread, parents, a);
  b = find_root(thread, parents, b);
  while (a != b) {
    if (a < b) {
      const Index larger = b;
      b = a;
      a = larger;
    }
    const Index seen = thread.compare_and_swap(parents + a, a, b);
    if (seen == a) return;
    a = find_root(thread, parents, seen);
  }
}

}  // namespace ccl
