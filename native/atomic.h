/* atomic.h: the only place where atomic operations are spelled out.
 *
 * The memory order stands in each operation's name (style C4), so that a
 * reader of the protocols sees it and a lint can find it.  No fences: the
 * ThreadSanitizer doesn't know them, and no protocol here needs one. */
#ifndef MPM_ATOMIC_H
#define MPM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Every word in shared memory has this type; doubles are stored by their
 * bits.  It must be lock-free: a lock hidden in a library would be private to
 * the process. */
typedef _Atomic uint64_t mpm_word;
_Static_assert(sizeof(mpm_word) == 8, "a word is 64 bits");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "need lock-free 64-bit atomics");

/* What one process's threads share, some of them without the GIL. */
typedef _Atomic int mpm_int;

#define mpm_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define mpm_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define mpm_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define mpm_store_relaxed(p, v)                                                \
    atomic_store_explicit((p), (v), memory_order_relaxed)
#define mpm_store_release(p, v)                                                \
    atomic_store_explicit((p), (v), memory_order_release)
#define mpm_add_acq_rel(p, v)                                                  \
    atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define mpm_add_relaxed(p, v)                                                  \
    atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define mpm_add_seq_cst(p, v)                                                  \
    atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define mpm_exchange_seq_cst(p, v)                                             \
    atomic_exchange_explicit((p), (v), memory_order_seq_cst)
#define mpm_cas_acq_rel(p, expected, v)                                        \
    atomic_compare_exchange_strong_explicit(                                   \
        (p), (expected), (v), memory_order_acq_rel, memory_order_acquire)
#define mpm_cas_seq_cst(p, expected, v)                                        \
    atomic_compare_exchange_strong_explicit(                                   \
        (p), (expected), (v), memory_order_seq_cst, memory_order_seq_cst)

static inline uint64_t
mpm_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double
mpm_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
