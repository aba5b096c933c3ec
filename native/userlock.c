/* userlock.c: the users' lock: the store's protocol (lease.c) plus the thread,
 * and without its patience: whoever waits decides how long.
 *
 * A lock whose owner's process is gone is taken by the next who tries; nobody
 * waits for the dead.  A thread that ends without releasing is like one that
 * never releases: its process lives, and another process could not tell.
 *
 * Who releases a lock and wants it again at once would mostly get it, since
 * those who wait are asleep: so one of them is next, and whoever comes later
 * lets it go first.  Only for a while, for it may be stopped. */
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

static bool
is_alive(mpm_heap *h, uint64_t who)
{
    return who != 0 && mpm_lease_is_alive(h, who >> MPM_THREAD_BITS);
}

mpm_got
mpm_user_lock_try(mpm_heap *h, mpm_user_lock *lock, uint64_t self, bool polite)
{
    uint64_t owner = mpm_load_acquire(&lock->owner);
    uint64_t next = mpm_load_acquire(&lock->next);
    if (owner == self)
        return MPM_HELD_BY_ME;
    if (is_alive(h, owner) || (polite && next != self && is_alive(h, next)))
        return MPM_HELD;
    mpm_got got = owner == 0 ? MPM_GOT : MPM_GOT_FROM_DEAD;
    MPM_CRASH_POINT("userlock.free");
    if (!mpm_cas_acq_rel(&lock->owner, &owner, self))
        return MPM_HELD; /* somebody was faster */
    MPM_CRASH_POINT("userlock.taken");
    mpm_store_release(&lock->died, got == MPM_GOT_FROM_DEAD);
    mpm_user_lock_leave(lock, self);
    return got;
}

bool
mpm_user_lock_queue(mpm_heap *h, mpm_user_lock *lock, uint64_t self)
{
    uint64_t next = mpm_load_acquire(&lock->next);
    if (next == self)
        return true;
    return !is_alive(h, next) && mpm_cas_acq_rel(&lock->next, &next, self);
}

void
mpm_user_lock_leave(mpm_user_lock *lock, uint64_t self)
{
    mpm_cas_acq_rel(&lock->next, &self, 0);
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
    return is_alive(h, owner);
}
