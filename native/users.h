/* users.h: what the toolkit's users put into a heap: blocks that know whether
 * they were freed, and locks that outlive their owners.  The tags say who may
 * call, as in core.h. */
#ifndef MPM_USERS_H
#define MPM_USERS_H

#include "core.h"

/* ---- blocks -------------------------------------------------------------- */

#define MPM_ALIGN_MAX ((uint64_t)1 << 20) /* as the mapping is aligned */

/* Stands right before the bytes that a user was given.
 *   self == offset of the heap's block  <=>  it is in a user's hands
 *   self + sizeof(mpm_tag) <= start, and start + size(info) is in the block
 * `self` is what the heap's journal unlinks: freed is one store.  A birth is
 * never used twice, and looks like no number that a user would store: what
 * once was a tag may be a user's bytes by now. */
typedef struct {
    mpm_word info; /* bytes asked for << 8 | class of the heap's block */
    mpm_word self;
    mpm_word birth;
} mpm_tag;

/* How one piece of shared memory names a block that is its own, so that
 * whoever is killed at any time leaves it named there or free.
 *   block == offset of the heap's block, the store of which is the commit; 0:
 *   none, and the others mean nothing
 *   birth == the tag's, unless this memory is no link any more */
typedef struct {
    mpm_word block;
    mpm_word size;
    mpm_word birth;
} mpm_link;

/* [lock held] A block of `size` bytes, the address of which is a multiple of
 * the alignment, a power of two, in every process.  *fresh: all zeros. */
mpm_status mpm_block_take(mpm_heap *h, uint64_t size, uint64_t alignment,
                          mpm_off *start, uint64_t *birth, bool *fresh);
/* [any process] The birth of the block of that size that starts there; 0: there
 * is none (any more). */
uint64_t mpm_block_birth(mpm_heap *h, mpm_off start, uint64_t size);
/* [lock held] MPM_EGONE: it is not that block any more. */
mpm_status mpm_block_give(mpm_heap *h, mpm_off start, uint64_t size,
                          uint64_t birth);
/* [lock held] A block of `size` bytes for a link that names none. */
mpm_status mpm_block_link(mpm_heap *h, mpm_link *link, uint64_t size);
/* [lock held] Gives the link's block back; nothing if it names none. */
mpm_status mpm_block_unlink(mpm_heap *h, mpm_link *link);
/* [any process] Where the link's block starts, and its size; MPM_EGONE: it is
 * no link any more.  *start 0: it names none. */
mpm_status mpm_block_linked(mpm_heap *h, const mpm_link *link, mpm_off *start,
                            uint64_t *size);

/* ---- locks --------------------------------------------------------------- */

/* A lock in a block, process-shared.
 *   owner == lease << MPM_THREAD_BITS | number of the thread, 0: free
 *   died != 0  <=>  whoever took it last took it from the dead
 *   next: one of those who wait, or 0; as long as that one lives, the others
 *         leave it the lock for a while, so that nobody starves
 * A killed owner leaves all as it is: the next one to take it knows. */
typedef struct {
    mpm_word owner;
    mpm_word died;
    mpm_word next;
} mpm_user_lock;

#define MPM_THREAD_BITS 24u

typedef enum {
    MPM_GOT,
    MPM_GOT_FROM_DEAD, /* and what the lock guards may be half done */
    MPM_HELD,          /* by a living process, or by another thread */
    MPM_HELD_BY_ME
} mpm_got;

/* [any process] What this thread is as an owner of locks in that heap. */
mpm_status mpm_user_lock_self(mpm_heap *h, uint64_t *self);
/* [any process] Tries once.  `polite`: not before the one who is next. */
mpm_got mpm_user_lock_try(mpm_heap *h, mpm_user_lock *lock, uint64_t self,
                          bool polite);
/* [any process] Asks to be next; false: another one is. */
bool mpm_user_lock_queue(mpm_heap *h, mpm_user_lock *lock, uint64_t self);
/* [any process] Waits no longer. */
void mpm_user_lock_leave(mpm_user_lock *lock, uint64_t self);
/* [any process] False: it isn't this thread's. */
bool mpm_user_lock_release(mpm_user_lock *lock, uint64_t self);
/* [any process] Does a living process have it? */
bool mpm_user_lock_is_held(mpm_heap *h, const mpm_user_lock *lock);

#endif
