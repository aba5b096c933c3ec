/* hostile.h: a small store and a small heap, damaged as some bytes say, and
 * then everything that can be done with either: read, checked, repaired, used.
 *
 * The bytes are libFuzzer's (fuzz_store.c), those of past finds (corpus/), or
 * a test's own choice (test_hostile.c).  What must not happen shows by itself:
 * a read past the file is SIGBUS, one past the mapping SIGSEGV, the rest the
 * sanitizers see, and a walk without end its CPU seconds.
 *
 * The input: one byte that says what to damage and in which order it is used
 * then, and edits one after the other, as apply_edit reads them. */
#ifndef MPM_TESTS_HOSTILE_H
#define MPM_TESTS_HOSTILE_H

#include <math.h>
#include <time.h>

#include "metric.h"
#include "users.h"

#define HOSTILE_RESERVE ((uint64_t)1 << 20)
#define HOSTILE_EDITS 48       /* of one input */
#define HOSTILE_PAGE (1 << 28) /* bytes: no page of so small a store has more */
#define HOSTILE_CPU 20         /* seconds that one input may take, sanitized */

/* ---- what is damaged ----------------------------------------------------- */

static const double hostile_bounds[] = {1, INFINITY};
static const metric hostile_kinds[] = {
    {.kind = MPM_COUNTER, .name = "c", .labels = {"l"}},
    {.kind = MPM_GAUGE, .name = "g"},
    {.kind = MPM_SUMMARY, .name = "s", .unit = "bytes"},
    {.kind = MPM_HISTOGRAM,
     .name = "h",
     .labels = {"a", "z"},
     .bounds = hostile_bounds,
     .bound_count = 2},
    {.kind = MPM_INFO, .name = "i"},
    {.kind = MPM_ENUM, .name = "e", .states = {"on", "off"}},
    {.kind = MPM_GAUGE_MODE, .mode = MPM_MODE_ALL, .name = "m"},
    {.kind = MPM_GAUGE_MODE,
     .mode = MPM_MODE_SUM | MPM_MODE_LIVE,
     .name = "n",
     .labels = {"l"}},
    {.kind = MPM_COUNTER, .name = "new"}, /* not in the file yet */
};
#define HOSTILE_KINDS (sizeof hostile_kinds / sizeof *hostile_kinds)
#define HOSTILE_BLOCKS 8u

/* A file as it was, and what an edit may name. */
typedef struct {
    char *bytes;
    uint64_t size;
    uint16_t used[4096]; /* words in which something stands */
    uint32_t used_count;
} image;

/* A user's block as a process remembers it. */
typedef struct {
    mpm_off start;
    uint64_t size, birth;
} user_block;

static struct {
    bool made;
    int fd; /* one file, written anew for each input */
    image store, heap;
    mpm_shape *shape[HOSTILE_KINDS];
    mpm_help *help[HOSTILE_KINDS];
    user_block block[HOSTILE_BLOCKS];
} hostile;

/* The same bytes in every run: an input means the same ever after. */
static inline void
fix_identity(int fd)
{
    mpm_header header;
    NEED(pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header);
    memset(header.identity, 1, sizeof header.identity);
    memset(header.key, 2, sizeof header.key);
    NEED(pwrite(fd, &header, sizeof header, 0) == (ssize_t)sizeof header);
}

static inline void
take_image(image *of, int fd)
{
    NEED(mpm_sys_size(fd, &of->size) == MPM_OK);
    of->bytes = malloc(of->size);
    NEED(of->bytes != NULL);
    NEED(pread(fd, of->bytes, of->size, 0) == (ssize_t)of->size);
    const uint64_t *words = (const uint64_t *)(const void *)of->bytes;
    for (uint64_t i = 0; i < of->size / 8 && of->used_count < 4096; i++)
        if (words[i] != 0)
            of->used[of->used_count++] = (uint16_t)i;
}

/* Updates one series of each kind; what fails was damaged. */
static inline void
use_ref(mpm_store *s, uint32_t k, mpm_id in, mpm_id series)
{
    const mpm_shape *shape = hostile.shape[k];
    mpm_ref ref = {.epoch = MPM_NEVER,
                   .kind = (mpm_kind)shape->kind,
                   .count = mpm_shape_words(shape)};
    mpm_exemplar e = {.time = 1, .value = 2, .bytes = 12};
    memcpy(e.text, "\3\0\5\0abcdefgh", 12);
    if (ref.count == 0 || mpm_ref_bind(s, &ref, series) != MPM_OK)
        return;
    mpm_ref_open(s, &ref, in, true);
    for (int i = 0; ref.cell != NULL && i < 2; i++) {
        switch (ref.kind) {
        case MPM_COUNTER: mpm_counter_add(ref.cell, 1); break;
        case MPM_SUMMARY: mpm_summary_add(ref.cell, 1, 1); break;
        case MPM_HISTOGRAM:
            mpm_histogram_observe(ref.cell, hostile_bounds, 2, i);
            break;
        case MPM_GAUGE_MODE:
            mpm_ref_write_mode(s, &ref, (mpm_mode)shape->mode, MPM_ADD, 1);
            break;
        default: mpm_ref_write_shared(s, &ref, (mpm_write)i, mpm_bits(1));
        }
        mpm_exemplar_note(s, &ref, (uint32_t)i, &e);
        e.bytes = 12 + 200 * (uint32_t)(ref.kind == MPM_COUNTER);
    }
    mpm_ref_close(s, &ref);
}

static inline void
replace_info(mpm_store *s, uint32_t k, mpm_id in, mpm_id *series)
{
    const mpm_string pairs[] = {{"b", 1}, {"\"1\"", 3}, {"a", 1}, {"", 0}};
    if (hostile.shape[k]->kind == MPM_INFO)
        mpm_series_replace(s, in, hostile.shape[k], NULL, pairs, 2, series);
}

/* Declares each family, makes series of it, counts in them, removes some. */
static inline void
use_kind(mpm_store *s, uint32_t k, uint64_t round)
{
    mpm_id in, series;
    const mpm_shape *shape = hostile.shape[k];
    for (uint64_t i = 0; i < 2 + round; i++) {
        mpm_string values[4] = {{"one", 3}, {"\\", 1}};
        if (i > 0)
            values[0] = (mpm_string){i == 1 ? "two" : "three", i == 1 ? 3 : 5};
        if (mpm_shard_own(s) != MPM_OK || mpm_lock_acquire(&s->heap) != MPM_OK)
            return;
        mpm_status status =
            mpm_family_declare(s, shape, hostile.help[k], round == 2, &in);
        if (status == MPM_OK)
            status = mpm_series_get(s, in, shape, values, &series);
        if (status == MPM_OK)
            replace_info(s, k, in, &series);
        mpm_lock_release(&s->heap);
        if (status != MPM_OK)
            continue;
        use_ref(s, k, in, series);
        if (mpm_lock_acquire(&s->heap) != MPM_OK)
            return;
        if (round > 0)
            mpm_series_reset(s, shape, series);
        if (i == 1 && (round > 0 || shape->labels != 0))
            mpm_series_remove(s, series);
        mpm_lock_release(&s->heap);
    }
}

static inline void
make_store(void)
{
    mpm_store s;
    int fd = nameless_file();
    NEED(mpm_store_format(fd, HOSTILE_RESERVE, 0) == MPM_OK);
    fix_identity(fd);
    for (int process = 0; process < 2; process++) { /* two shards */
        join(&s, fd);
        for (uint32_t k = 0; k + 1 < HOSTILE_KINDS; k++)
            use_kind(&s, k, 0);
        mpm_store_close(&s);
    }
    take_image(&hostile.store, fd);
    close(fd);
}

static inline void
make_heap(void)
{
    mpm_heap h;
    int fd = nameless_file();
    NEED(mpm_heap_format(fd, HOSTILE_RESERVE) == MPM_OK);
    fix_identity(fd);
    NEED(mpm_heap_open(&h, fd, NULL, false) == MPM_OK);
    NEED(mpm_lock_acquire(&h) == MPM_OK);
    for (uint32_t i = 0; i < HOSTILE_BLOCKS; i++) {
        bool fresh;
        user_block *b = &hostile.block[i];
        b->size = 8 + 90 * i;
        NEED(mpm_block_take(&h, b->size, (uint64_t)8 << (3 * (i % 4)),
                            &b->start, &b->birth, &fresh) == MPM_OK);
        if (i % 3 == 2)
            NEED(mpm_block_give(&h, b->start, b->size, b->birth) == MPM_OK);
    }
    mpm_lock_release(&h);
    mpm_heap_close(&h);
    take_image(&hostile.heap, fd);
    close(fd);
}

static inline void
hostile_begin(void)
{
    if (hostile.made)
        return;
    NEED(mpm_epoch_start() == MPM_OK);
    for (uint32_t k = 0; k < HOSTILE_KINDS; k++) {
        hostile.shape[k] = shape_of(&hostile_kinds[k]);
        hostile.help[k] = help_of(&hostile_kinds[k]);
    }
    make_store();
    make_heap();
    hostile.fd = nameless_file();
    hostile.made = true;
}

/* ---- edits --------------------------------------------------------------- */

typedef struct {
    const uint8_t *at;
    size_t left;
} edits;

/* The next so many bytes as a number; what isn't there is 0. */
static inline uint64_t
next_number(edits *e, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes && e->left > 0; i++, e->left--)
        number |= (uint64_t)*e->at++ << (8 * i);
    return number;
}

/* A word in which something stands, or any. */
static inline uint64_t
next_place(edits *e, const image *of, bool any)
{
    uint64_t n = next_number(e, 2);
    return any ? n % (of->size / 8) * 8
               : (uint64_t)of->used[n % of->used_count] * 8;
}

static inline uint64_t
word_at(int fd, uint64_t offset)
{
    uint64_t word = 0;
    return pread(fd, &word, 8, (off_t)offset) < 0 ? 0 : word;
}

static inline uint64_t
next_value(edits *e, const image *of, int fd, uint64_t old)
{
    switch (next_number(e, 1) % 8) {
    case 0: return next_number(e, 8);
    case 1: return next_number(e, 1);
    case 2: return old + (uint64_t)(int64_t)(int8_t)next_number(e, 1);
    case 3: return old ^ (uint64_t)1 << next_number(e, 1) % 64;
    case 4: return word_at(fd, next_place(e, of, false));
    case 5: return next_place(e, of, true);
    case 6: return UINT64_MAX - next_number(e, 1);
    default: return (uint64_t)1 << next_number(e, 1) % 64;
    }
}

static inline void
put(int fd, const void *bytes, uint64_t count, uint64_t at)
{
    if (at + count <= 2 * HOSTILE_RESERVE)
        NEED(pwrite(fd, bytes, count, (off_t)at) == (ssize_t)count);
}

/* Copies bytes of the file, or fills them with one. */
static inline void
splice_bytes(edits *e, const image *of, int fd, bool fill)
{
    static char bytes[1 << 16];
    uint64_t to = next_place(e, of, true), count = next_number(e, 2);
    if (fill)
        memset(bytes, (int)next_number(e, 1), count);
    else if (pread(fd, bytes, count, (off_t)next_place(e, of, true)) < 0)
        return;
    put(fd, bytes, count, to);
}

static inline void
apply_edit(edits *e, const image *of, int fd)
{
    uint64_t op = next_number(e, 1), at, value;
    switch (op % 8) {
    case 0: splice_bytes(e, of, fd, (op & 8) != 0); break;
    case 1:
        NEED(ftruncate(fd, (off_t)(next_number(e, 3) % of->size)) == 0);
        break;
    case 2:
        at = next_number(e, 3) % of->size;
        value = next_number(e, 4);
        put(fd, &value, 1 + (op >> 3) % 4, at);
        break;
    default:
        at = next_place(e, of, (op & 8) != 0);
        value = next_value(e, of, fd, word_at(fd, at));
        put(fd, &value, 8, at);
    }
}

/* ---- what is done with it ------------------------------------------------ */

static inline void
look_at_series(mpm_store *s, const mpm_shape *shape, const mpm_walk *w)
{
    mpm_reading reading = {0};
    mpm_exemplar e;
    mpm_part *parts;
    uint64_t *buckets = calloc(2 * (size_t)shape->bounds + 1, 8);
    NEED(buckets != NULL);
    reading.budget = w->budget;
    reading.buckets = buckets;
    reading.scratch = buckets + shape->bounds;
    mpm_series_read(s, shape, w->series, w->id.birth, &reading);
    for (uint64_t i = 0; i < 4; i++)
        mpm_series_read_shard(s, shape, w->series, w->id.birth, i, &reading);
    free(buckets);
    if (shape->kind == MPM_COUNTER || shape->kind == MPM_HISTOGRAM)
        for (uint32_t i = 0; i < (shape->bounds | 1) && i < 64; i++)
            mpm_exemplar_read(w, shape, i, &e);
    if (shape->kind == MPM_GAUGE_MODE) {
        mpm_series_parts(w, shape, &parts);
        free(parts);
    }
    mpm_strings strings = mpm_text_strings(w->text);
    for (uint32_t i = 0; i < w->text->values + 2 * w->text->info; i++)
        mpm_strings_next(&strings);
    CHECK(strings.bytes <= mpm_text_pairs(w->text),
          "label values lie in their text");
}

/* What a scrape does, each way; changes nothing. */
static inline void
look_at_store(mpm_store *s)
{
    static mpm_id ids[1024];
    size_t count = 0;
    uint64_t families = mpm_family_count(s);
    for (uint64_t i = 0; i < families && count < 1024; i++) {
        mpm_family *f = mpm_family_at(s, i);
        ids[count++] = (mpm_id){i, f == NULL ? 0 : mpm_load_acquire(&f->birth)};
    }
    static const mpm_page pages[] = {
        {.format = MPM_TEXT_0_0_4, .created = true},
        {.format = MPM_OPENMETRICS, .created = true},
        {.format = MPM_TEXT_0_0_4, .shard = {"shard", 5}},
    };
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        mpm_buffer page = {0};
        mpm_render(s, ids, count, &pages[i], &page);
        CHECK(page.length < HOSTILE_PAGE, "a page has a bound");
        mpm_buffer_free(&page);
    }
    mpm_budget budget = mpm_budget_of(&s->heap);
    for (size_t i = 0; i < count; i++) {
        mpm_walk w;
        mpm_shape *shape;
        mpm_help *help;
        if (mpm_family_copy(s, ids[i], &shape, &help) != MPM_OK)
            continue;
        mpm_walk_begin(&w, s, ids[i], &budget);
        while (mpm_walk_next(&w))
            look_at_series(s, shape, &w);
        mpm_walk_end(&w);
        free(shape);
        free(help);
    }
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++)
        mpm_lease_is_alive(&s->heap, mpm_load_acquire(&shard->owner));
    mpm_is_attached(s->heap.fd);
}

static inline void
check_store(mpm_store *s)
{
    uint64_t unreached;
    if (mpm_lock_acquire(&s->heap) != MPM_OK)
        return;
    mpm_store_check(s, &unreached);
    mpm_lock_release(&s->heap);
}

/* As if the owner of the lock had died in it: all is repaired. */
static inline void
repair_store(mpm_store *s)
{
    mpm_store_release(&s->heap.header->lock, UINT64_MAX);
    check_store(s);
}

static inline void
use_store(mpm_store *s)
{
    mpm_attach(&s->heap);
    for (uint64_t round = 0; round < 3; round++)
        for (uint32_t k = 0; k < HOSTILE_KINDS; k++)
            use_kind(s, k, round);
    if (mpm_lock_acquire(&s->heap) == MPM_OK) {
        for (uint64_t i = 0; i < HOSTILE_KINDS; i++) {
            mpm_family *f = mpm_family_at(s, i);
            mpm_id id = {i, f == NULL ? 0 : mpm_load_acquire(&f->birth)};
            mpm_family_release(s, id);
            mpm_family_forget(s, id);
        }
        mpm_family_sweep(s);
        mpm_lock_release(&s->heap);
    }
    mpm_string any[4] = {{NULL, 0}};
    for (uint64_t i = 0; i < HOSTILE_KINDS; i++) {
        mpm_family *f = mpm_family_at(s, i);
        mpm_id id = {i, f == NULL ? 0 : mpm_load_acquire(&f->birth)};
        mpm_series_remove_like(s, id, any, (uint32_t)(i % 4));
    }
}

static inline void
open_store(int fd, unsigned order)
{
    void (*const steps[])(mpm_store *) = {look_at_store, use_store, check_store,
                                          repair_store};
    mpm_store s;
    if (mpm_store_open(&s, fd, NULL, true) == MPM_OK) {
        look_at_store(&s);
        mpm_store_close(&s);
    }
    if (mpm_store_open(&s, fd, NULL, false) != MPM_OK)
        return;
    for (unsigned i = 0; i < 4; i++)
        steps[(order + i) % 4](&s);
    look_at_store(&s);
    mpm_store_close(&s);
}

/* The toolkit's part: blocks that other processes name, and their locks. */
static inline void
use_heap(mpm_heap *h)
{
    uint64_t self = 1;
    for (uint32_t i = 0; i < HOSTILE_BLOCKS; i++) {
        const user_block *b = &hostile.block[i];
        uint64_t birth = mpm_block_birth(h, b->start, b->size);
        mpm_user_lock *lock = mpm_at(h, b->start, sizeof *lock);
        if (birth != 0)
            CHECK(mpm_heap_has(h, b->start.raw, b->size),
                  "a user's block is in the file");
        if (lock != NULL && mpm_user_lock_self(h, &self) == MPM_OK) {
            mpm_user_lock_is_held(h, lock);
            if (mpm_user_lock_try(h, lock, self, true) == MPM_HELD) {
                mpm_user_lock_queue(h, lock, self);
                mpm_user_lock_leave(lock, self);
            }
            mpm_user_lock_release(lock, self);
        }
        if (mpm_lock_acquire(h) != MPM_OK)
            continue;
        mpm_off start;
        bool fresh;
        mpm_block_give(h, b->start, b->size, i % 2 == 0 ? b->birth : birth);
        if (mpm_block_take(h, b->size * 2, 64, &start, &birth, &fresh) ==
            MPM_OK)
            CHECK(mpm_at(h, (mpm_off){start.raw / 8 * 8}, b->size * 2) != NULL,
                  "a block that is given out is in the file");
        mpm_link *link = mpm_at(h, b->start, sizeof *link);
        if (link != NULL && i % 2 == 0) { /* whatever stands there */
            mpm_block_unlink(h, link);
            mpm_block_link(h, link, b->size);
            mpm_block_linked(h, link, &start, &birth);
        }
        mpm_lock_release(h);
    }
}

static inline void
open_heap(int fd)
{
    mpm_heap h;
    if (mpm_heap_open(&h, fd, NULL, false) != MPM_OK)
        return;
    h.gave_up = mpm_load_acquire(&h.header->lock); /* don't wait for it */
    use_heap(&h);
    mpm_store_release(&h.header->root, 0);
    mpm_store_release(&h.header->lock, UINT64_MAX);
    if (mpm_lock_acquire(&h) == MPM_OK) {
        mpm_heap_is_valid(&h);
        mpm_lock_release(&h);
    }
    use_heap(&h);
    mpm_heap_close(&h);
}

static inline double
cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void
put_image(const image *of)
{
    NEED(ftruncate(hostile.fd, (off_t)of->size) == 0);
    NEED(pwrite(hostile.fd, of->bytes, of->size, 0) == (ssize_t)of->size);
}

/* One input, from the damage to the end; a check that fails says what. */
static inline void
meet(const uint8_t *bytes, size_t count)
{
    edits e = {bytes, count};
    double began = cpu_seconds();
    hostile_begin();
    unsigned what = (unsigned)next_number(&e, 1);
    const image *of = what & 1 ? &hostile.heap : &hostile.store;
    put_image(of);
    for (int i = 0; i < HOSTILE_EDITS && e.left > 0; i++)
        apply_edit(&e, of, hostile.fd);
    if (what & 1)
        open_heap(hostile.fd);
    else
        open_store(hostile.fd, what >> 1);
    double took = cpu_seconds() - began;
    CHECK(took < HOSTILE_CPU, "every walk has a bound: %g CPU seconds", took);
}

#endif
