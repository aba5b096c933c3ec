/* check.c: every invariant of a store that core.h states, each looked at by
 * walking: for `mpmetrics check` and for the tests.  Nothing is mended here.
 *
 * The blocks that any structure links and those in the free lists are written
 * down, sorted and laid side by side: an overlap is two owners of one block, a
 * gap a block that nobody knows. */
#include <stdlib.h>

#include "index.h"

#define TRIES 8 /* to find it whole while others remove series */

/* A range that somebody owns: bytes of the heap, or words of a chunk. */
typedef struct {
    uint64_t start, count;
} range;

typedef struct {
    range *ranges;
    uint64_t count, capacity;
    uint64_t most; /* no whole store has more */
    bool failed;   /* out of memory */
} ledger;

/* Nothing once there are too many: that is damage, found by then. */
static void
enter(ledger *l, uint64_t start, uint64_t count)
{
    if (l->count > l->most)
        return;
    if (l->count == l->capacity) {
        uint64_t capacity = l->capacity * 2 + 256;
        range *ranges = realloc(l->ranges, capacity * sizeof *ranges);
        if (ranges == NULL) {
            l->failed = true;
            return;
        }
        l->ranges = ranges;
        l->capacity = capacity;
    }
    l->ranges[l->count++] = (range){start, count};
}

static int
compare(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return x->start != y->start ? (x->start > y->start) - (x->start < y->start)
                                : (x->count > y->count) - (x->count < y->count);
}

static bool
overlaps(ledger *l)
{
    if (l->count != 0)
        qsort(l->ranges, l->count, sizeof *l->ranges, compare);
    if (l->count > l->most)
        return true;
    for (uint64_t i = 1; i < l->count; i++)
        if (l->ranges[i].start - l->ranges[i - 1].start <
            l->ranges[i - 1].count)
            return true;
    return false;
}

/* ---- blocks -------------------------------------------------------------- */

static void
enter_block(ledger *l, mpm_word *link, uint64_t bytes)
{
    uint64_t block = mpm_load_acquire(link);
    if (block != 0)
        enter(l, block, mpm_class_size(mpm_class_of(bytes)));
}

/* A block that begins with its length. */
static void
enter_text(mpm_store *s, ledger *l, mpm_word *link)
{
    mpm_word *block = mpm_at(&s->heap, (mpm_off){mpm_load_acquire(link)}, 8);
    if (block != NULL)
        enter_block(l, link, (uint32_t)mpm_load_acquire(block));
}

static void
enter_table(ledger *l, mpm_table *t, mpm_table_kind kind)
{
    for (unsigned k = 0; k < MPM_TABLE_CHUNKS; k++)
        enter_block(l, &t->chunk[k], mpm_table_bytes(kind, k));
}

/* Also the shard at the end, linked but not yet counted by who was killed. */
static void
enter_shards(mpm_store *s, ledger *l)
{
    mpm_root *root = s->root;
    for (uint64_t i = 0; i <= mpm_shard_count(s); i++) {
        mpm_word *link = mpm_table_at(&s->heap, &root->shard, MPM_OFFSETS, i);
        uint64_t offset = link == NULL ? 0 : mpm_load_acquire(link);
        mpm_shard *shard =
            mpm_at(&s->heap, (mpm_off){offset}, sizeof(mpm_shard));
        if (shard == NULL)
            break;
        enter_block(l, link, sizeof *shard);
        enter_table(l, &shard->chunks, MPM_OFFSETS);
        enter_table(l, &shard->declared, MPM_DECLARED);
        for (uint64_t k = 0; k < mpm_load_acquire(&root->word_chunks); k++) {
            mpm_word *size =
                mpm_table_at(&s->heap, &root->word_size, MPM_OFFSETS, k);
            mpm_word *chunk =
                mpm_table_at(&s->heap, &shard->chunks, MPM_OFFSETS, k);
            if (size == NULL)
                break;
            if (chunk != NULL)
                enter_block(l, chunk, mpm_load_acquire(size) * 8);
        }
    }
}

/* Also the family at the end, of which a kill may have left some blocks. */
static void
enter_families(mpm_store *s, ledger *l)
{
    mpm_root *root = s->root;
    for (uint64_t i = 0; i <= mpm_family_count(s); i++) {
        mpm_family *f = mpm_table_at(&s->heap, &root->family, MPM_FAMILIES, i);
        if (f == NULL)
            break;
        enter_text(s, l, &f->shape);
        enter_text(s, l, &f->help);
        enter_text(s, l, &f->was);
        enter_table(l, &f->slot, MPM_OFFSETS);
    }
}

static void
enter_linked(mpm_store *s, ledger *l)
{
    mpm_root *root = s->root;
    enter_block(l, &s->heap.header->root, sizeof *root);
    enter_table(l, &root->family, MPM_FAMILIES);
    enter_table(l, &root->record, MPM_RECORDS);
    enter_table(l, &root->shard, MPM_OFFSETS);
    enter_table(l, &root->word_size, MPM_OFFSETS);
    enter_table(l, &root->bucket, MPM_BUCKETS);
    enter_shards(s, l);
    enter_families(s, l);
    mpm_series *series;
    uint64_t records = mpm_series_bound(s);
    for (uint64_t i = 0; i < records; i++)
        if ((series = mpm_series_at(s, i)) != NULL)
            enter_text(s, l, &series->text);
}

/* The lists are known to be no rings: mpm_heap_is_valid came first. */
static void
enter_free(mpm_heap *h, ledger *l)
{
    for (unsigned cls = 0; cls < MPM_CLASSES; cls++) {
        uint64_t b = mpm_load_acquire(&h->header->free[cls]);
        while (b != 0 && l->count <= l->most) {
            mpm_word *link = mpm_at(h, (mpm_off){b}, 8);
            enter(l, b, mpm_class_size(cls));
            b = link == NULL ? 0 : mpm_load_acquire(link);
        }
    }
}

static const char *
check_blocks(mpm_store *s, uint64_t *unreached)
{
    ledger l = {.most = mpm_heap_most(&s->heap, UINT64_MAX, MPM_LINE)};
    enter_linked(s, &l);
    *unreached = mpm_load_acquire(&s->heap.header->used_blocks) - l.count;
    enter_free(&s->heap, &l);
    const char *broken = l.failed       ? "no memory to check it"
                         : overlaps(&l) ? "two owners of one block"
                                        : NULL;
    free(l.ranges);
    return broken;
}

/* ---- families and series ------------------------------------------------- */

static bool
is_live(mpm_store *s, mpm_series *series, uint64_t index)
{
    uint64_t birth = mpm_load_acquire(&series->birth);
    mpm_family *f = mpm_family_at(s, mpm_load_acquire(&series->owner));
    if (birth == 0 || f == NULL || mpm_load_acquire(&f->birth) == 0 ||
        mpm_load_acquire(&f->birth) != mpm_load_acquire(&series->family))
        return false;
    mpm_word *entry =
        mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS,
                     mpm_load_acquire(&series->place) & UINT32_MAX);
    return entry != NULL && mpm_load_acquire(entry) == index + 1;
}

/* Of two ledgers: births with a count of 1, so that a birth given twice is an
 * overlap; and hashes of family and label values, likewise. */
static const char *
check_records(mpm_store *s, ledger *births, ledger *hashes, ledger *words)
{
    uint64_t live = 0, last = mpm_load_acquire(&s->root->births);
    uint64_t records = mpm_load_acquire(&s->root->records);
    for (uint64_t i = 0; i < records; i++) {
        mpm_series *series = mpm_series_at(s, i);
        if (series == NULL)
            return "a record that isn't there";
        uint64_t at = mpm_load_acquire(&series->words);
        uint64_t count = mpm_load_acquire(&series->place) >> 32;
        mpm_word *size =
            mpm_table_at(&s->heap, &s->root->word_size, MPM_OFFSETS, at >> 32);
        if (count != 0 && (size == NULL ||
                           (at & UINT32_MAX) + count > mpm_load_acquire(size)))
            return "words that cross their chunk";
        if (count != 0)
            enter(words, at, count);
        if (!is_live(s, series, i)) {
            if (mpm_load_acquire(&series->birth) != 0)
                return "a birth in a record that isn't live";
            if (mpm_load_acquire(&series->text) != 0)
                return "a text in a record that isn't live";
            continue;
        }
        live++;
        uint64_t birth = mpm_load_acquire(&series->birth);
        if (birth > last || mpm_load_acquire(&series->first) > birth)
            return "a birth that was never given";
        enter(births, birth, 1);
        enter(hashes, mpm_load_acquire(&series->hash), 1);
    }
    return live == mpm_load_acquire(&s->root->live) ? NULL
                                                    : "live is another number";
}

/* Every record that isn't live is in the chain of its number of words. */
static const char *
check_free_records(mpm_store *s)
{
    uint64_t most = mpm_series_bound(s), found = 0;
    for (uint32_t head = 0; head < MPM_SERIES_HEADS; head++) {
        uint64_t next = mpm_load_acquire(&s->root->free_series[head]);
        for (; next != 0; found++) {
            mpm_series *series = mpm_series_at(s, next - 1);
            if (series == NULL || found >= most)
                return "a chain of free records that doesn't end";
            uint64_t count = mpm_load_acquire(&series->place) >> 32;
            if (is_live(s, series, next - 1) ||
                (count < MPM_SERIES_HEADS ? count : MPM_SERIES_HEADS - 1) !=
                    head)
                return "a record in the wrong chain";
            next = mpm_load_acquire(&series->next);
        }
    }
    return found + mpm_load_acquire(&s->root->live) == most
               ? NULL
               : "a record that is neither live nor free";
}

static const char *
check_slots(mpm_store *s, mpm_family *f)
{
    uint64_t slots = mpm_load_acquire(&f->slots), live = 0, chained = 0;
    for (uint64_t i = 0; i < slots; i++) {
        mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, i);
        uint64_t e = entry == NULL ? 0 : mpm_load_acquire(entry);
        if (e & MPM_SLOT_FREE)
            continue;
        mpm_series *series = e == 0 ? NULL : mpm_series_at(s, e - 1);
        if (series == NULL || !is_live(s, series, e - 1) ||
            mpm_load_acquire(&series->family) != mpm_load_acquire(&f->birth))
            return "a slot that is neither free nor a live series'";
        live++;
    }
    if (live != mpm_load_acquire(&f->series))
        return "a family's number of series is another";
    for (uint64_t i = mpm_load_acquire(&f->free_slot); i != 0; chained++) {
        mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, i - 1);
        uint64_t e = entry == NULL ? 0 : mpm_load_acquire(entry);
        if ((e & MPM_SLOT_FREE) == 0 || chained >= slots)
            return "a chain of free slots that doesn't end";
        i = e & ~MPM_SLOT_FREE;
    }
    return live + chained == slots ? NULL : "a free slot that isn't chained";
}

static const char *
check_families(mpm_store *s, ledger *births)
{
    uint64_t families = mpm_load_acquire(&s->root->families);
    const char *broken = NULL;
    for (uint64_t i = 0; i < families && broken == NULL; i++) {
        mpm_family *f = mpm_family_at(s, i);
        if (f == NULL)
            return "a family that isn't there";
        uint64_t birth = mpm_load_acquire(&f->birth);
        if (birth == 0)
            continue;
        enter(births, birth, 1);
        broken = birth > mpm_load_acquire(&s->root->births)
                     ? "a birth that was never given"
                 : mpm_load_acquire(&f->was) != 0 ? "a help that is half gone"
                                                  : check_slots(s, f);
    }
    return broken;
}

static const char *
check_catalog(mpm_store *s)
{
    uint64_t most = mpm_heap_most(&s->heap, UINT64_MAX, sizeof(mpm_series));
    ledger births = {.most = most}, hashes = {.most = most};
    ledger words = {.most = most};
    const char *broken = check_records(s, &births, &hashes, &words);
    if (broken == NULL)
        broken = check_families(s, &births);
    if (broken == NULL)
        broken = births.failed || hashes.failed || words.failed
                     ? "no memory to check it"
                 : overlaps(&births) ? "a birth given twice"
                 : overlaps(&hashes) ? "a label set that stands twice"
                 : overlaps(&words)  ? "words of two records"
                                     : NULL;
    if (broken == NULL)
        broken = check_free_records(s);
    if (broken == NULL && !mpm_index_is_valid(s))
        broken = "the hash index doesn't lead to every series";
    free(births.ranges);
    free(hashes.ranges);
    free(words.ranges);
    return broken;
}

static const char *
check(mpm_store *s, uint64_t *unreached)
{
    *unreached = 0;
    if (!mpm_heap_is_valid(&s->heap))
        return "the heap's journal, lists or counts";
    const char *broken = check_catalog(s);
    return broken == NULL ? check_blocks(s, unreached) : broken;
}

/* Has somebody who could not wait for the lock removed a series?  A hazard word
 * may name one of which that isn't said yet, also a dead process's. */
static bool
may_be_untidy(mpm_store *s)
{
    bool untidy = mpm_load_acquire(&s->root->untidy) != 0;
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++)
        untidy = untidy || mpm_load_seq_cst(&shard->hazard) != 0;
    return untidy;
}

const char *
mpm_store_check(mpm_store *s, uint64_t *unreached)
{
    const char *broken = check(s, unreached);
    for (int i = 0; i < TRIES && broken != NULL && may_be_untidy(s); i++) {
        mpm_store_release(&s->root->untidy, 1);
        if (mpm_catalog_rebuild(&s->heap, false) != MPM_OK)
            break;
        broken = check(s, unreached);
    }
    return broken;
}
