/* exemplar.c: the newest exemplar of a counter or of each bucket.
 *
 * A series gets words for exemplars when it is given the first one: a range of
 * its own for all shards, as its cell has.  In it each part (the counter, or a
 * bucket) has a flip cell, so an exemplar is shown whole or not at all:
 *
 *     [birth] [n][slot 0][slot 1] [n][slot 0][slot 1] ...
 *     slot:   [time][value][bytes][text ...]
 *
 * OpenMetrics allows 128 code points of label text, which in most scripts and
 * uses fits in 192 bytes.  What doesn't goes to a second range with slots that
 * always do; the newer of the two is shown. */
#include <stdlib.h>

#include "core.h"

#define HEAD 3u  /* words of a slot before its text: time, value, bytes */
#define LOOK 16u /* bytes that a look into one shard counts as */

static const uint32_t text_words[MPM_EXEMPLAR_SIZES] = {24, 128};

static uint32_t
slot_words(unsigned size)
{
    return HEAD + text_words[size];
}

static uint32_t
flip_words(unsigned size)
{
    return 1 + 2 * slot_words(size);
}

/* How many exemplars a series of that many words has: one for each bucket. */
static uint32_t
parts_of(mpm_kind kind, uint32_t count)
{
    return kind == MPM_HISTOGRAM ? count - MPM_HISTOGRAM_WORDS(0) : 1;
}

uint64_t
mpm_exemplar_words(mpm_kind kind, uint32_t count, unsigned size)
{
    return 1 + (uint64_t)parts_of(kind, count) * flip_words(size);
}

/* ---- writing ------------------------------------------------------------- */

/* Under the lock: cuts the range, if nobody has, and makes its chunk here. */
static mpm_status
make_room(mpm_store *s, mpm_word *range, uint64_t words, mpm_word **cell)
{
    mpm_status status = mpm_lock_acquire(&s->heap);
    if (status != MPM_OK)
        return status;
    uint64_t at = mpm_load_acquire(range);
    if (at == 0) {
        uint64_t cut;
        status = mpm_words_cut(s, (uint32_t)words, &cut);
        if (status == MPM_OK) {
            at = cut + 1;
            MPM_CRASH_POINT("exemplar.words.cut");
            mpm_store_release(range, at); /* the record owns them from now */
        }
    }
    if (status == MPM_OK)
        status = mpm_shard_reach(s, s->shard, at - 1, words, cell);
    mpm_lock_release(&s->heap);
    return status;
}

/* The series' range for exemplars in this process's shard. */
static mpm_status
reach(mpm_store *s, mpm_ref *ref, unsigned size, uint64_t words,
      mpm_word **cell)
{
    mpm_word *range = &ref->record->exemplars[size];
    uint64_t at = mpm_load_acquire(range);
    *cell = at == 0 ? NULL : mpm_shard_cell(s, s->shard, at - 1, words);
    if (*cell != NULL)
        return MPM_OK;
    uint64_t now = mpm_sys_monotonic_ns();
    if (now < s->retry_exemplar_ns)
        return MPM_BUSY;
    mpm_status status = make_room(s, range, words, cell);
    if (status != MPM_OK)
        s->retry_exemplar_ns = now + MPM_RETRY;
    return status;
}

/* Only the n of each part is zeroed: with n 0 nobody looks at the slots. */
static void
take_up(mpm_word *cell, uint32_t parts, unsigned size, uint64_t birth)
{
    if (mpm_load_acquire(&cell[0]) == birth)
        return;
    mpm_store_release(&cell[0], 0);
    for (uint32_t i = 0; i < parts; i++)
        mpm_store_release(&cell[1 + i * flip_words(size)], 0);
    MPM_CRASH_POINT("exemplar.zeroed");
    mpm_store_release(&cell[0], birth);
}

static void
write_slot(mpm_word *flip, unsigned size, const mpm_exemplar *e)
{
    uint64_t n = mpm_load_relaxed(&flip[0]); /* our own store */
    mpm_word *slot = flip + 1 + ((n + 1) & 1) * slot_words(size);
    mpm_store_release(&slot[0], mpm_bits(e->time));
    mpm_store_release(&slot[1], mpm_bits(e->value));
    mpm_store_release(&slot[2], e->bytes);
    MPM_MISPLACED("exemplar.commit.early", mpm_store_release(&flip[0], n + 1));
    mpm_copy_in(slot + HEAD, e->text, e->bytes);
    MPM_CRASH_POINT("exemplar.written");
    mpm_store_release(&flip[0], n + 1); /* the commit */
}

mpm_status
mpm_exemplar_note(mpm_store *s, mpm_ref *ref, uint32_t part,
                  const mpm_exemplar *e)
{
    mpm_word *cell;
    uint32_t parts = parts_of(ref->kind, ref->count);
    unsigned size = e->bytes <= text_words[0] * 8 ? 0 : 1;
    if (ref->epoch != s->epoch || ref->cell == ref->private_cell)
        return MPM_EGONE; /* private, or scratch: nobody would show it */
    if (part >= parts || e->bytes > text_words[size] * 8)
        return MPM_EMEMORY;
    uint64_t words = mpm_exemplar_words(ref->kind, ref->count, size);
    mpm_status status = reach(s, ref, size, words, &cell);
    if (status != MPM_OK)
        return status;
    if (mpm_ref_is_stale(ref))
        return MPM_EGONE;
    take_up(cell, parts, size, ref->series.birth);
    write_slot(cell + 1 + part * flip_words(size), size, e);
    return MPM_OK;
}

/* ---- reading ------------------------------------------------------------- */

/* Takes the exemplar of one shard if it is newer.  A slot that never settles
 * is left out: an exemplar is an example. */
static void
read_flip(mpm_word *flip, unsigned size, mpm_exemplar *newest)
{
    uint64_t n = mpm_load_acquire(&flip[0]);
    for (int pass = 0; pass < MPM_PASSES && n != 0; pass++) {
        mpm_exemplar seen;
        mpm_word *slot = flip + 1 + (n & 1) * slot_words(size);
        seen.time = mpm_double(mpm_load_acquire(&slot[0]));
        seen.value = mpm_double(mpm_load_acquire(&slot[1]));
        uint64_t bytes = mpm_load_acquire(&slot[2]);
        if (bytes > text_words[size] * 8)
            bytes = 0; /* damage */
        seen.bytes = (uint32_t)bytes;
        mpm_copy_out(seen.text, slot + HEAD, bytes);
        uint64_t again = mpm_load_acquire(&flip[0]);
        if (again == n) {
            if (newest->bytes == 0 || seen.time > newest->time)
                *newest = seen;
            return;
        }
        n = again;
    }
}

bool
mpm_exemplar_read(const mpm_walk *w, const mpm_shape *shape, uint32_t part,
                  mpm_exemplar *newest)
{
    mpm_store *s = w->store;
    mpm_shard *shard;
    newest->bytes = 0;
    for (unsigned size = 0; size < MPM_EXEMPLAR_SIZES; size++) {
        uint64_t at = mpm_load_acquire(&w->series->exemplars[size]);
        uint64_t words = mpm_exemplar_words((mpm_kind)shape->kind,
                                            mpm_shape_words(shape), size);
        if (at == 0)
            continue;
        for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
            if (!mpm_budget_spend(w->budget, LOOK))
                return false;
            mpm_word *cell = mpm_shard_cell(s, shard, at - 1, words);
            if (cell != NULL && mpm_load_acquire(&cell[0]) == w->id.birth)
                read_flip(cell + 1 + part * flip_words(size), size, newest);
        }
    }
    return newest->bytes != 0;
}
