/* The heap: size classes, taking and giving back, growth and its limits, and
 * that no kill loses a block or gives one to two owners.
 *
 * test_heap SEED kills by the clock as that run did. */
#include <sys/resource.h>

#include "killing.h"

#define START ((sizeof(mpm_header) + MPM_LINE - 1) / MPM_LINE * MPM_LINE)
#define LINKS 16u
#define RESERVE ((uint64_t)1 << 20)

/* ---- size classes -------------------------------------------------------- */

static void
test_classes(void)
{
    for (unsigned cls = 0; cls < MPM_CLASSES; cls++) {
        uint64_t size = mpm_class_size(cls);
        CHECK(size % MPM_LINE == 0, "class %u is whole lines", cls);
        CHECK(mpm_class_of(size) == cls, "class %u of its own size", cls);
        CHECK(mpm_class_of(size + 1) == cls + 1, "a byte more than class %u",
              cls);
        CHECK(cls == 0 || size > mpm_class_size(cls - 1), "%u is larger", cls);
    }
    for (uint64_t bytes = 0; bytes < 100000; bytes++) {
        uint64_t size = mpm_class_size(mpm_class_of(bytes));
        uint64_t lines = (bytes + MPM_LINE - 1) / MPM_LINE;
        CHECK(size >= bytes, "a block of %lu has room", (unsigned long)bytes);
        CHECK(lines == 0 || size * 4 <= lines * MPM_LINE * 5,
              "%lu bytes waste at most a quarter", (unsigned long)bytes);
    }
    CHECK(mpm_class_of(UINT64_MAX) >= MPM_CLASSES, "no class for everything");
}

/* ---- a heap with some links ---------------------------------------------- */

static mpm_heap mine;
static mpm_word *links; /* the first block: a user's, at a known place */

/* Half the links share a class, so that free lists have several blocks. */
static uint64_t
size_of(unsigned link)
{
    return link < LINKS / 2 ? 100 : link * 200;
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
    NEED(mpm_heap_take(&h, LINKS * 8, NULL, false, &block, &fresh) == MPM_OK);
    mpm_heap_settle(&h);
    mpm_lock_release(&h);
    NEED(block.raw == START && fresh);
    mpm_heap_close(&h);
}

static mpm_word *
links_of(mpm_heap *h)
{
    return mpm_at(h, (mpm_off){START}, LINKS * 8);
}

/* Waits: other processes of these tests hold the lock for microseconds. */
static void
prepare(int fd)
{
    NEED(mpm_heap_open(&mine, fd, NULL, false) == MPM_OK);
    NEED(mpm_lease_take(&mine) == MPM_OK);
    links = links_of(&mine);
}

/* All are taken before any is linked: a kill finds several blocks that are
 * nowhere, of one class and from one list. */
static void
take_together(mpm_heap *h, unsigned first, unsigned count)
{
    mpm_off block[LINKS] = {{0}};
    bool fresh;
    for (unsigned i = first; i < first + count; i++)
        if (mpm_load_acquire(&links_of(h)[i]) == 0)
            NEED(mpm_heap_take(h, size_of(i), &links_of(h)[i], false, &block[i],
                               &fresh) == MPM_OK);
    for (unsigned i = first; i < first + count; i++) {
        mpm_word *words = mpm_at(h, block[i], size_of(i));
        for (unsigned k = 0; words != NULL && k < size_of(i) / 8; k++)
            mpm_store_release(&words[k], block[i].raw); /* whose it is */
        if (words != NULL)
            mpm_store_release(&links_of(h)[i], block[i].raw);
    }
}

static void
give(mpm_heap *h, unsigned link)
{
    NEED(mpm_heap_give(h, &links_of(h)[link], size_of(link)) == MPM_OK);
}

/* Takes what is given back and gives back what is taken: one or two of a
 * class or of several in one operation, with one that is never linked. */
static void
flip(mpm_heap *h, unsigned first, unsigned count)
{
    mpm_off block;
    bool fresh;
    take_together(h, first, count);
    if (first % 2 != 0)
        NEED(mpm_heap_take(h, size_of(first), &links_of(h)[0], false, &block,
                           &fresh) == MPM_OK);
    mpm_heap_settle(h);
    for (unsigned i = first; i < first + count - 1; i++)
        give(h, i);
}

static void
work(void)
{
    static const unsigned plan[][2] = {{1, 3}, {2, 2},  {1, 3}, {9, 3},
                                       {3, 3}, {10, 3}, {1, 2}, {3, 3}};
    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++) {
        NEED(mpm_lock_acquire(&mine) == MPM_OK);
        flip(&mine, plan[i][0], plan[i][1]);
        mpm_lock_release(&mine);
    }
}

static void
repair(int fd)
{
    mpm_heap h;
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    NEED(mpm_lock_acquire(&h) == MPM_OK);
    mpm_lock_release(&h);
    mpm_heap_close(&h);
}

/* Every block below top is linked once or free once, and those linked hold
 * what their owner wrote. */
static const char *
look_inside(mpm_heap *h)
{
    mpm_word *link = links_of(h);
    uint64_t used = 1;
    if (!mpm_heap_is_valid(h))
        return "the journal, a list or a count";
    for (unsigned i = 0; i < LINKS; i++) {
        uint64_t block = mpm_load_acquire(&link[i]);
        if (block == 0)
            continue;
        used++;
        mpm_word *words = mpm_at(h, (mpm_off){block}, size_of(i));
        for (unsigned k = 0; k < size_of(i) / 8; k++)
            if (words == NULL || mpm_load_acquire(&words[k]) != block)
                return "a block that has two owners";
    }
    return used == mpm_load_acquire(&h->header->used_blocks)
               ? NULL
               : "a block that is lost, or free and linked";
}

static const char *
look(int fd)
{
    mpm_heap h;
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    if (mpm_lock_acquire(&h) != MPM_OK)
        return "the lock can't be had";
    const char *wrong = look_inside(&h);
    /* And it goes on: nothing that is free has an owner. */
    flip(&h, 2, 4);
    mpm_off block;
    bool fresh;
    for (unsigned i = 1; i < 8 && wrong == NULL; i++) {
        NEED(mpm_heap_take(&h, 100, NULL, false, &block, &fresh) == MPM_OK);
        mpm_heap_settle(&h);
        memset(mpm_at(&h, block, 100), 0xff, 100);
        mpm_check(block.raw % MPM_LINE == 0);
        NEED(mpm_heap_give_user(&h, block, 100) == MPM_OK);
    }
    if (wrong == NULL)
        wrong = look_inside(&h);
    mpm_lock_release(&h);
    mpm_heap_close(&h);
    return wrong;
}

/* ---- growth and its limits ----------------------------------------------- */

static void
test_root_survives_settling(void)
{
    mpm_store s;
    uint64_t unreached;
    int fd = nameless_file();
    NEED(mpm_store_format(fd, RESERVE, 0) == MPM_OK);
    NEED(mpm_store_open(&s, fd, NULL, false) == MPM_OK);
    NEED(mpm_lock_acquire(&s.heap) == MPM_OK);
    const char *broken = mpm_store_check(&s, &unreached);
    CHECK(broken == NULL && unreached == 0, "a new store is whole: %s, %lu",
          broken == NULL ? "well" : broken, (unsigned long)unreached);
    mpm_lock_release(&s.heap);
    mpm_store_close(&s);
    close(fd);
}

/* Takes user's blocks until there is no more; returns how many. */
static uint64_t
fill(mpm_heap *h, bool spare, mpm_status *status)
{
    uint64_t taken = 0;
    mpm_off block;
    bool fresh;
    NEED(mpm_lock_acquire(h) == MPM_OK);
    while ((*status = mpm_heap_take(h, 4096, NULL, spare, &block, &fresh)) ==
           MPM_OK) {
        mpm_heap_settle(h);
        memset(mpm_at(h, block, 4096), 1, 4096);
        taken++;
    }
    CHECK(mpm_heap_is_valid(h), "a full heap is valid");
    mpm_lock_release(h);
    return taken;
}

static void
test_reserve(void)
{
    mpm_heap h;
    mpm_status status;
    int fd = nameless_file();
    format(fd);
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    uint64_t taken = fill(&h, false, &status), size;
    CHECK(status == MPM_EMEMORY, "a full reserve is MPM_EMEMORY");
    CHECK(taken * 4096 > RESERVE - MPM_SPARE - 4096 - START - 1024,
          "all of the reserve but the spare bytes can be had (%lu blocks)",
          (unsigned long)taken);
    NEED(mpm_sys_size(fd, &size) == MPM_OK);
    CHECK(size == RESERVE, "the file has grown to the reserve");
    uint64_t spare = fill(&h, true, &status);
    CHECK(spare * 4096 + 4096 > MPM_SPARE && spare * 4096 <= MPM_SPARE + 4096,
          "the spare bytes are there for those who may use them (%lu)",
          (unsigned long)spare);
    mpm_heap_close(&h);
    close(fd);
}

static void
fill_to_limit(void *context)
{
    mpm_heap h;
    mpm_status status;
    struct rlimit limit = {5 * MPM_STEP + 100, RLIM_INFINITY};
    NEED(mpm_heap_open(&h, *(int *)context, NULL, false) == MPM_OK);
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    uint64_t taken = fill(&h, false, &status);
    CHECK(status == MPM_EMEMORY, "RLIMIT_FSIZE is MPM_EMEMORY and no SIGXFSZ");
    CHECK(taken * 4096 > 4 * MPM_STEP, "the limit is used up");
    CHECK(mpm_load_acquire(&h.header->wants) == 1, "the heap says it is full");
    mpm_heap_close(&h);
}

static void
test_limit(void)
{
    int fd = nameless_file();
    format(fd);
    CHECK(await(start(fill_to_limit, &fd)) == 0, "a limit is no death");
    close(fd);
}

static void
grow_from_child(void *context)
{
    mpm_heap *h = context;
    mpm_status status;
    fill(h, false, &status);
}

/* What one process makes another can read, without mapping anything anew. */
static void
test_growth_is_seen(void)
{
    mpm_heap h;
    int fd = nameless_file();
    format(fd);
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    CHECK(mpm_at(&h, (mpm_off){RESERVE - 64}, 64) == NULL,
          "what isn't there has no address");
    NEED(await(start(grow_from_child, &h)) == 0);
    CHECK(mpm_at(&h, (mpm_off){RESERVE - 64}, 64) != NULL,
          "what another process made can be read");
    CHECK(mpm_at(&h, (mpm_off){RESERVE - 64}, 65) == NULL &&
              mpm_at(&h, (mpm_off){8}, 8) == NULL &&
              mpm_at(&h, (mpm_off){START + 4}, 8) == NULL &&
              mpm_at(&h, (mpm_off){UINT64_MAX - 7}, 64) == NULL,
          "beyond the end, in the header or unaligned: no address");
    mpm_heap_close(&h);
    close(fd);
}

/* ---- hostile files ------------------------------------------------------- */

/* Random words in the words that change; then every function is called. */
static void
damage(int fd, uint64_t *seed)
{
    static const uint64_t likely[] = {
        0, 1, 8, START, START + 64, RESERVE, RESERVE - 64, UINT64_MAX, 1 << 16};
    uint64_t words = START / 8;
    for (uint64_t n = 1 + random_next(seed) % 4; n > 0; n--) {
        uint64_t at = random_next(seed) % (words + LINKS), kind;
        uint64_t word = random_next(seed);
        kind = word >> 60;
        word = kind < 8    ? likely[word % (sizeof likely / 8)]
               : kind < 12 ? word % RESERVE
                           : word;
        NEED(pwrite(fd, &word, 8, (off_t)(at * 8)) == 8);
    }
}

static void
use_damaged(int fd)
{
    mpm_heap h;
    mpm_off block;
    bool fresh;
    if (mpm_heap_open(&h, fd, NULL, false) != MPM_OK)
        return;
    h.lease = h.header->leases; /* so that some locks look like one's own */
    if (mpm_lock_acquire(&h) == MPM_OK) {
        mpm_heap_is_valid(&h);
        for (unsigned i = 0; i < 12; i++) {
            uint64_t bytes = i * 50;
            mpm_status status =
                mpm_heap_take(&h, bytes, NULL, true, &block, &fresh);
            mpm_heap_settle(&h);
            if (status == MPM_OK && i % 2 == 0)
                mpm_heap_give_user(&h, block, bytes);
        }
        mpm_word *link = links_of(&h);
        if (link != NULL)
            mpm_heap_give(&h, link, 100);
        mpm_heap_repair(&h);
        mpm_lock_release(&h);
    }
    mpm_heap_close(&h);
}

static void
test_hostile(uint64_t *seed)
{
    uint64_t began = mpm_sys_monotonic_ns();
    int fd = nameless_file(), rounds = SANITIZED ? 500 : 3000;
    format(fd);
    prepare(fd);
    work();
    mpm_heap_close(&mine);
    for (int i = 0; i < rounds; i++) {
        int copy = nameless_file();
        char bytes[MPM_STEP];
        NEED(pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
        NEED(pwrite(copy, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
        damage(copy, seed);
        use_damaged(copy);
        close(copy);
    }
    CHECK(mpm_sys_monotonic_ns() - began < 60000000000ULL,
          "no damage makes anything hang");
    close(fd);
}

int
main(int argc, char **argv)
{
    static const patient heap = {format, prepare, work, repair, look};
    uint64_t seed = seed_of(argc, argv);
    NEED(mpm_epoch_start() == MPM_OK);
    test_classes();
    test_root_survives_settling();
    test_reserve();
    test_limit();
    test_growth_is_seen();
    test_hostile(&seed);
    kill_by_instruction(&heap);
#ifdef MPM_CRASH_POINTS
    kill_by_name(&heap, 20);
#endif
    kill_by_clock(&heap, SANITIZED ? 40 : 200, &seed);
    return verdict();
}
