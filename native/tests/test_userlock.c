/* What users put into a heap: blocks that tell when they were freed, and locks
 * that the death of an owner does not keep locked.
 *
 * test_userlock SEED kills by the clock as that run did. */
#include "killing.h"
#include "users.h"

#define RESERVE ((uint64_t)1 << 20)
#define SLOTS 8u

/* A heap's first block: a lock, what it guards, and the blocks that are out. */
typedef struct {
    mpm_user_lock lock;
    mpm_word first, second; /* equal while nobody is inside */
    mpm_word start[SLOTS], birth[SLOTS];
    mpm_link link[2]; /* what they name is named by nothing else */
    mpm_word taking;  /* not 0: a block is out, and perhaps not noted yet */
    mpm_word lost;    /* blocks of users that were killed there */
} board;

#define START ((sizeof(mpm_header) + MPM_LINE - 1) / MPM_LINE * MPM_LINE)

static mpm_heap mine;

static board *
board_of(mpm_heap *h)
{
    return mpm_at(h, (mpm_off){START}, sizeof(board));
}

static void
format(int fd)
{
    mpm_heap h;
    mpm_off block;
    bool fresh;
    NEED(mpm_heap_format(fd, RESERVE) == MPM_OK);
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    NEED(mpm_lock_acquire(&h) == MPM_OK);
    NEED(mpm_heap_take(&h, sizeof(board), NULL, false, &block, &fresh) ==
         MPM_OK);
    mpm_heap_settle(&h);
    mpm_lock_release(&h);
    NEED(block.raw == START && fresh);
    mpm_heap_close(&h);
}

static void
prepare(int fd)
{
    NEED(mpm_heap_open(&mine, fd, NULL, false) == MPM_OK);
    NEED(mpm_lease_take(&mine) == MPM_OK);
}

static uint64_t
size_of(unsigned slot)
{
    return 8 + slot * 40;
}

static uint64_t
alignment_of(unsigned slot)
{
    return (uint64_t)8 << slot; /* to 1024 */
}

/* Takes the block of a slot, or gives it back. */
static void
flip(mpm_heap *h, unsigned slot)
{
    board *b = board_of(h);
    uint64_t birth = mpm_load_acquire(&b->birth[slot]);
    mpm_off start = {mpm_load_acquire(&b->start[slot])};
    uint64_t size = size_of(slot);
    bool fresh;
    NEED(mpm_lock_acquire(h) == MPM_OK);
    if (birth != 0) {
        mpm_status status = mpm_block_give(h, start, size, birth);
        CHECK(status == MPM_OK || status == MPM_EGONE, "a block is given back");
        CHECK(mpm_block_give(h, start, size, birth) == MPM_EGONE,
              "a block that was freed is known to be");
        mpm_store_release(&b->birth[slot], 0);
    } else {
        mpm_store_release(&b->taking, 1);
        NEED(mpm_block_take(h, size, alignment_of(slot), &start, &birth,
                            &fresh) == MPM_OK);
        CHECK(start.raw % alignment_of(slot) == 0, "a block is aligned");
        CHECK(mpm_block_birth(h, start, size) == birth, "a block has a birth");
        CHECK(mpm_block_birth(h, start, size + 1) == 0, "and one size");
        mpm_store_release(&b->start[slot], start.raw);
        mpm_store_release(&b->birth[slot], birth);
        mpm_store_release(&b->taking, 0);
    }
    mpm_lock_release(h);
}

/* Replaces a link's block by another, as a container does. */
static void
relink(mpm_heap *h, unsigned which, uint64_t size)
{
    mpm_link *link = &board_of(h)->link[which];
    mpm_off start;
    uint64_t linked;
    NEED(mpm_lock_acquire(h) == MPM_OK);
    CHECK(mpm_block_unlink(h, link) == MPM_OK, "a link gives its block back");
    CHECK(mpm_block_unlink(h, link) == MPM_OK, "once");
    CHECK(mpm_block_link(h, link, size) == MPM_OK, "and takes another");
    CHECK(mpm_block_linked(h, link, &start, &linked) == MPM_OK &&
              linked == size && start.raw % 8 == 0,
          "which it names");
    mpm_lock_release(h);
}

/* Inside the users' lock: two words that must be equal outside of it. */
static const char *
enter_and_leave(mpm_heap *h)
{
    board *b = board_of(h);
    const char *wrong = NULL;
    uint64_t self;
    NEED(mpm_user_lock_self(h, &self) == MPM_OK);
    mpm_got got = mpm_user_lock_try(h, &b->lock, self, true);
    if (got != MPM_GOT && got != MPM_GOT_FROM_DEAD)
        return "the lock can't be had";
    if (mpm_user_lock_try(h, &b->lock, self, true) != MPM_HELD_BY_ME)
        wrong = "the holder isn't known";
    uint64_t first = mpm_load_acquire(&b->first);
    uint64_t second = mpm_load_acquire(&b->second);
    if (got == MPM_GOT && first != second)
        wrong = "a death inside wasn't told";
    if (first != second && first != second + 1)
        wrong = "two were inside";
    mpm_store_release(&b->second, first);
    mpm_store_release(&b->first, first + 1);
    MPM_CRASH_POINT("test.userlock.inside");
    mpm_store_release(&b->second, first + 1);
    if (!mpm_user_lock_release(&b->lock, self) ||
        mpm_user_lock_release(&b->lock, self))
        wrong = "a lock is released once";
    return wrong;
}

static void
work(void)
{
    static const unsigned plan[] = {0, 1, 2, 0, 3, 0, 2, 7, 1, 7};
    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++) {
        flip(&mine, plan[i]);
        relink(&mine, i % 2, 100 + i % 3 * 200);
        const char *wrong = enter_and_leave(&mine);
        CHECK(wrong == NULL, "%s", wrong == NULL ? "" : wrong);
    }
}

static void
repair(int fd)
{
    mpm_heap h;
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    NEED(mpm_lock_acquire(&h) == MPM_OK);
    mpm_lock_release(&h);
    enter_and_leave(&h);
    mpm_heap_close(&h);
}

/* Are all blocks in use named by the board?  But for one that a user took and
 * could not note any more: whoever calls malloc must remember what it gave. */
static bool
all_are_named(mpm_heap *h)
{
    board *b = board_of(h);
    uint64_t used = mpm_load_acquire(&h->header->used_blocks);
    uint64_t named = 1 + mpm_load_acquire(&b->lost);
    for (unsigned i = 0; i < 2; i++)
        named += mpm_load_acquire(&b->link[i].block) != 0;
    for (unsigned i = 0; i < SLOTS; i++)
        named += mpm_load_acquire(&b->birth[i]) != 0;
    if (used > named && mpm_load_acquire(&b->taking) != 0) {
        mpm_store_release(&b->lost, mpm_load_acquire(&b->lost) + 1);
        named++;
    }
    mpm_store_release(&b->taking, 0);
    return used <= named; /* less: freed, and its slot not cleared */
}

static const char *
look(int fd)
{
    mpm_heap h;
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    if (mpm_lock_acquire(&h) != MPM_OK)
        return "the heap's lock can't be had";
    mpm_lock_release(&h);
    const char *wrong = mpm_heap_is_valid(&h) ? NULL : "the heap isn't valid";
    board *b = board_of(&h);
    for (unsigned i = 0; i < SLOTS; i++) {
        mpm_off start = {mpm_load_acquire(&b->start[i])};
        uint64_t birth = mpm_load_acquire(&b->birth[i]);
        uint64_t there = mpm_block_birth(&h, start, size_of(i));
        /* Its free may have been finished, and its slot not cleared. */
        if (birth != 0 && there != 0 && there != birth)
            wrong = "a block that is another's";
    }
    if (wrong == NULL && !all_are_named(&h))
        wrong = "a block is lost";
    if (wrong == NULL)
        wrong = enter_and_leave(&h);
    relink(&h, 0, 300);
    for (unsigned i = 0; wrong == NULL && i < 2 * SLOTS; i++)
        flip(&h, i % SLOTS);
    if (wrong == NULL && !mpm_heap_is_valid(&h))
        wrong = "the heap isn't valid after going on";
    mpm_heap_close(&h);
    return wrong;
}

/* ---- who is next --------------------------------------------------------- */

static void
test_next(void)
{
    mpm_heap h, other;
    uint64_t self, their;
    int fd = nameless_file();
    format(fd);
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    NEED(mpm_heap_open(&other, fd, NULL, false) == MPM_OK);
    NEED(mpm_user_lock_self(&h, &self) == MPM_OK);
    NEED(mpm_user_lock_self(&other, &their) == MPM_OK);
    mpm_user_lock *lock = &board_of(&h)->lock;
    CHECK(self != their, "two leases are two owners");
    CHECK(mpm_user_lock_try(&h, lock, self, true) == MPM_GOT, "it is free");
    CHECK(mpm_user_lock_try(&other, lock, their, true) == MPM_HELD, "held");
    CHECK(!mpm_user_lock_release(lock, their), "it isn't theirs to release");
    CHECK(mpm_user_lock_queue(&other, lock, their), "they are next");
    CHECK(!mpm_user_lock_queue(&h, lock, self), "one only is next");
    CHECK(mpm_user_lock_release(lock, self), "it is ours to release");
    CHECK(mpm_user_lock_try(&h, lock, self, true) == MPM_HELD, "we let them");
    CHECK(mpm_user_lock_try(&h, lock, self, false) == MPM_GOT, "but not long");
    CHECK(mpm_user_lock_release(lock, self), "and give it back");
    CHECK(mpm_user_lock_try(&other, lock, their, true) == MPM_GOT, "they go");
    CHECK(mpm_load_acquire(&lock->next) == 0, "nobody is next any more");
    CHECK(mpm_user_lock_is_held(&h, lock), "everyone sees that they have it");
    mpm_heap_close(&other); /* its lease ends here, as with its process */
    CHECK(!mpm_user_lock_is_held(&h, lock), "the dead hold nothing");
    CHECK(mpm_user_lock_try(&h, lock, self, true) == MPM_GOT_FROM_DEAD, "told");
    CHECK(mpm_load_acquire(&lock->died) != 0, "and noted");
    mpm_heap_close(&h);
    close(fd);
}

int
main(int argc, char **argv)
{
    static const patient p = {format, prepare, work, repair, look};
    uint64_t seed = seed_of(argc, argv);
    test_next();
    kill_by_instruction(&p);
#ifdef MPM_CRASH_POINTS
    kill_by_name(&p, 10);
#endif
    kill_by_clock(&p, 60, &seed);
    return verdict();
}
