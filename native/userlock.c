/* userlock.c: the users' lock: the store's protocol (lease.c) plus the thread,
 * and without its patience: whoever waits decides how long.
 *
 * A lock whose owner's process is gone is taken by the next who tries; nobody
 * waits for the dead.  A thread that ends without releasing is like one that
 * never releases: its process lives, and another process could not tell. */
#include "users.h"

#define THREADS ((uint64_t)1 << MPM_THREAD_BITS)

/* Numbers of our own: the kernel's are used again as soon as a thread ends. */
static uint64_t
this_thread(void)
{
    static mpm_word last;
    static _Thread_local uint64_t number;
    while (number == 0)
        number = (mpm_add_relaxed(&last, 1) + 1) % THREADS;
    return number;
}

mpm_status
mpm_user_lock_self(mpm_heap *h, uint64_t *self)
{
    mpm_status status = mpm_lease_take(h);
    if (status != MPM_OK)
        return status;
    uint64_t lease = mpm_load_relaxed(&h->lease);
    if (lease >> (64 - MPM_THREAD_BITS) != 0)
        return MPM_EDAMAGED;
    *self = lease << MPM_THREAD_BITS | this_thread();
    return MPM_OK;
}

mpm_got
mpm_user_lock_try(mpm_heap *h, mpm_user_lock *lock, uint64_t self)
{
    uint64_t owner = mpm_load_acquire(&lock->owner);
    if (owner == self)
        return MPM_HELD_BY_ME;
    if (owner != 0 && mpm_lease_is_alive(h, owner >> MPM_THREAD_BITS))
        return MPM_HELD;
    mpm_got got = owner == 0 ? MPM_GOT : MPM_GOT_FROM_DEAD;
    MPM_CRASH_POINT("userlock.free");
    if (!mpm_cas_acq_rel(&lock->owner, &owner, self))
        return MPM_HELD; /* somebody was faster */
    MPM_CRASH_POINT("userlock.taken");
    mpm_store_release(&lock->died, got == MPM_GOT_FROM_DEAD);
    return got;
}

bool
mpm_user_lock_release(mpm_user_lock *lock, uint64_t self)
{
    return mpm_cas_acq_rel(&lock->owner, &self, 0);
}

bool
mpm_user_lock_is_held(mpm_heap *h, const mpm_user_lock *lock)
{
    uint64_t owner = mpm_load_acquire(&lock->owner);
    return owner != 0 && mpm_lease_is_alive(h, owner >> MPM_THREAD_BITS);
}
