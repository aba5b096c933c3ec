/* lease.c: who is alive, the epoch of a process, and the store's lock.
 *
 * No pid, start time or boot id takes part: pids are used again, an exec keeps
 * both, and another container has its own.  A lease is a number and a lock on
 * the byte of that number; the kernel drops the lock with the address space.
 *
 * Rejected: robust pthread mutexes (the OOM killer can leave one locked, its
 * bytes differ between C libraries, its timeout runs on the wall clock), and a
 * process-private lock beside the shared word (fork copies it locked). */
#include "core.h"

#define PATIENCE 50000000ULL  /* ns: the longest that an update may wait */
#define FIRST_PAUSE 20000ULL  /* ns */
#define LAST_PAUSE 2000000ULL /* ns */
#define LEASES ((uint64_t)1 << 60)

/* ---- epoch --------------------------------------------------------------- */

static const uint64_t before_start = 0;
const uint64_t *mpm_epoch_word = &before_start;

static uint64_t *epoch_word; /* zeroed in a child */
static uint64_t last_epoch;

mpm_status
mpm_epoch_start(void)
{
    if (epoch_word != NULL)
        return MPM_OK;
    mpm_status status = mpm_sys_fork_word(&epoch_word);
    if (status != MPM_OK)
        return status;
    *epoch_word = ++last_epoch;
    mpm_epoch_word = epoch_word;
    return MPM_OK;
}

uint64_t
mpm_epoch(void)
{
    mpm_check(epoch_word != NULL);
    if (*epoch_word == 0)
        *epoch_word = MPM_MUTANT("fork.unseen") ? last_epoch : ++last_epoch;
    return *epoch_word;
}

void
mpm_heap_enter(mpm_heap *h)
{
    uint64_t epoch = mpm_epoch();
    if (mpm_load_relaxed(&h->epoch) == epoch)
        return;
    /* The pin is not ours to unmap: a child does not have that page. */
    mpm_store_relaxed(&h->lease, 0); /* scrapes read both beside this */
    mpm_store_release(&h->epoch, epoch);
    h->pin = NULL;
    h->inside = false;
    h->gave_up = 0;
    h->takes = 0;
}

/* ---- leases -------------------------------------------------------------- */

static bool
has_file(const mpm_heap *h)
{
    return h->inode != 0;
}

/* Makes sure of the descriptor: a daemoniser may have closed it, and its
 * number may be another file's by now, which isn't ours to close. */
static mpm_status
descriptor(mpm_heap *h)
{
    int again;
    if (mpm_heap_fd(h) >= 0 || !has_file(h))
        return MPM_OK;
    mpm_status status =
        mpm_sys_reopen(-1, h->path, h->device, h->inode, h->read_only, &again);
    if (status == MPM_OK)
        mpm_store_release(&h->fd, again);
    return status;
}

/* Locks the byte of a lease through another description, and closes that.  There
 * is none where the file may not be opened again (the uid changed since): there
 * a POSIX lock on the inherited one does.  Both kinds exclude each other, but a
 * POSIX lock is lost with any descriptor of the file that this process closes. */
static mpm_status
lock_byte(mpm_heap *h, int fd, uint64_t byte)
{
    bool locked;
    if (!has_file(h))
        return MPM_OK;
    if (fd >= 0) {
        mpm_status status = mpm_sys_pin(fd, byte, false, false, &h->pin);
        mpm_sys_close(fd);
        return status;
    }
    mpm_status status = mpm_sys_try_lock(mpm_heap_fd(h), byte, true, &locked);
    return status == MPM_OK && !locked ? MPM_EGONE : status;
}

mpm_status
mpm_lease_take(mpm_heap *h)
{
    mpm_heap_enter(h);
    if (h->read_only)
        return MPM_EGONE;
    /* Each time: a process that closes every descriptor needs one again to
     * grow the file and to see who is alive, but can do without. */
    mpm_status status = descriptor(h);
    if (h->lease != 0)
        return MPM_OK;
    if (status != MPM_OK)
        return status;
    int fd = -1;
    if (has_file(h))
        status = mpm_sys_reopen(mpm_heap_fd(h), h->path, h->device, h->inode,
                                false, &fd);
    /* One that could be opened later may be closed later, too: no POSIX lock. */
    if (status != MPM_OK && status != MPM_EGONE)
        return status;
    /* Until the byte is locked the lease looks dead, but nobody has heard of
     * it yet. */
    uint64_t lease = mpm_add_acq_rel(&h->header->leases, 1) + 1;
    if (lease >= LEASES)
        return MPM_EDAMAGED;
    status = lock_byte(h, fd, MPM_BYTE_LEASES + lease);
    if (status == MPM_OK)
        mpm_store_release(&h->lease, lease);
    return status;
}

void
mpm_lease_drop(mpm_heap *h)
{
    if (h->pin != NULL && h->epoch == mpm_epoch())
        mpm_sys_unpin(h->pin);
    h->pin = NULL;
    mpm_store_release(&h->lease, 0);
}

bool
mpm_lease_is_alive(mpm_heap *h, uint64_t lease)
{
    bool locked = true;
    if (lease == 0 || lease >= LEASES ||
        lease > mpm_load_acquire(&h->header->leases))
        return false;
    if (mpm_load_acquire(&h->epoch) == *mpm_epoch_word &&
        lease == mpm_load_acquire(&h->lease))
        return true;
    if (MPM_MUTANT("lease.dead"))
        return false;
    int fd = mpm_heap_fd(h);
    return fd < 0 ||
           mpm_sys_is_locked(fd, MPM_BYTE_LEASES + lease, &locked) != MPM_OK ||
           locked;
}

/* ---- the lock ------------------------------------------------------------ */

/* MPM_OK, MPM_DIED (held both times) or MPM_BUSY. */
static mpm_status
try_lock(mpm_heap *h)
{
    mpm_word *lock = &h->header->lock;
    uint64_t owner = mpm_load_acquire(lock);
    mpm_check(!h->inside);
    if (owner == h->lease)
        /* One's own number while not inside: damage, or a repair that could
         * not be finished.  It can only be taken like a dead one's. */
        return MPM_DIED;
    if (owner != 0 &&
        (mpm_lease_is_alive(h, owner) || MPM_MUTANT("lock.poisoned")))
        return MPM_BUSY;
    bool died = owner != 0;
    /* What a store's process left half done only a store's can make whole. */
    if (died && h->rebuild == NULL && mpm_load_acquire(&h->header->root) != 0)
        return MPM_BUSY;
    if (!mpm_cas_acq_rel(lock, &owner, h->lease))
        return MPM_BUSY;
    return died ? MPM_DIED : MPM_OK;
}

/* Waits for a living owner, at most PATIENCE in all. */
static mpm_status
lock_patiently(mpm_heap *h)
{
    uint64_t began = 0, pause = FIRST_PAUSE;
    for (;;) {
        mpm_status status = try_lock(h);
        if (status != MPM_BUSY)
            return status;
        uint64_t owner = mpm_load_acquire(&h->header->lock);
        uint64_t now = mpm_sys_monotonic_ns();
        if (began == 0)
            began = now;
        if (now - began >= PATIENCE || (owner != 0 && owner == h->gave_up)) {
            h->gave_up = owner; /* from now on only try, until it changes */
            return MPM_BUSY;
        }
        h->wait(pause);
        if (pause < LAST_PAUSE)
            pause *= 2;
    }
}

mpm_status
mpm_lock_acquire(mpm_heap *h)
{
    mpm_status status = mpm_lease_take(h);
    if (status != MPM_OK)
        return status;
    status = lock_patiently(h);
    if (status == MPM_BUSY)
        return status;
    bool died = status == MPM_DIED && !MPM_MUTANT("repair.none");
    status = MPM_OK;
    h->gave_up = 0;
    h->inside = true;
    h->takes = 0;
    if (died) {
        MPM_CRASH_POINT("lock.taken.from.dead");
        status = mpm_heap_repair(h);
    }
    if (status == MPM_OK && h->rebuild != NULL)
        status = h->rebuild(h, died);
    if (status != MPM_OK)
        h->inside = false; /* stays ours, and so stays to be repaired */
    return status;
}

void
mpm_lock_release(mpm_heap *h)
{
    mpm_check(h->inside && h->takes == 0);
    h->inside = false;
    MPM_CRASH_POINT("lock.release");
    mpm_store_release(&h->header->lock, 0);
}

/* ---- attached ------------------------------------------------------------ */

mpm_status
mpm_attach(mpm_heap *h)
{
    int fd, kept = mpm_heap_fd(h);
    if (h->attached != NULL || !has_file(h))
        return MPM_OK;
    mpm_status status =
        mpm_sys_reopen(kept, h->path, h->device, h->inode, h->read_only, &fd);
    /* Where /proc isn't mounted and the file has no name yet: then the mark stays
     * until the heap is closed. */
    if (status == MPM_EGONE)
        return kept < 0 ? status
                        : mpm_sys_pin(kept, MPM_BYTE_ATTACHED, true, true,
                                      &h->attached);
    if (status != MPM_OK)
        return status;
    status = mpm_sys_pin(fd, MPM_BYTE_ATTACHED, true, true, &h->attached);
    mpm_sys_close(fd);
    return status;
}

void
mpm_detach(mpm_heap *h)
{
    if (h->attached != NULL)
        mpm_sys_unpin(h->attached);
    h->attached = NULL;
}

mpm_status
mpm_claim(int fd, bool *claimed)
{
    return mpm_sys_try_lock(fd, MPM_BYTE_ATTACHED, false, claimed);
}

bool
mpm_is_attached(int fd)
{
    bool locked = true;
    return mpm_sys_is_locked(fd, MPM_BYTE_ATTACHED, &locked) != MPM_OK ||
           locked;
}
