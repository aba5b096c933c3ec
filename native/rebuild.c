/* rebuild.c: every derived word of the catalog made anew from the records, by
 * who takes the lock from a dead owner, or finds that series were removed
 * without it: the hash index, the chains of free records and slots, the counts,
 * the end of the word space.
 *
 * So nothing derived needs a protocol of its own, and no kill can make it
 * drift.  The price is a walk over all records after a death inside the lock:
 * some 50 ms for a million series.  Killed here, it is simply done again. */
#include "index.h"

/* The family whose slot names this record, NULL if the record isn't live. */
static mpm_family *
family_of(mpm_store *s, mpm_series *series, uint64_t index)
{
    if (mpm_load_acquire(&series->birth) == 0)
        return NULL;
    mpm_family *f = mpm_family_at(s, mpm_load_acquire(&series->owner));
    if (f == NULL || mpm_load_acquire(&f->birth) == 0 ||
        mpm_load_acquire(&f->birth) != mpm_load_acquire(&series->family))
        return NULL;
    mpm_word *entry =
        mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS,
                     mpm_load_acquire(&series->place) & UINT32_MAX);
    return entry != NULL && mpm_load_acquire(entry) == index + 1 ? f : NULL;
}

static mpm_status
rebuild_families(mpm_store *s)
{
    uint64_t families = mpm_load_acquire(&s->root->families);
    for (uint64_t i = 0; i < families; i++) {
        mpm_family *f = mpm_family_at(s, i);
        if (f == NULL)
            return MPM_EDAMAGED;
        mpm_store_release(&f->series, 0);
        mpm_store_release(&f->free_slot, 0);
        mpm_family_mend(s, f);
    }
    return MPM_OK;
}

/* Where the words of a record end in the chunk that is being filled. */
static void
extend_range(mpm_store *s, uint64_t words, uint64_t count)
{
    uint64_t end = (words & UINT32_MAX) + count;
    if (count != 0 && words >> 32 == mpm_load_acquire(&s->root->word_chunk) &&
        end > mpm_load_acquire(&s->root->word_next))
        mpm_store_release(&s->root->word_next, end);
}

static void
extend_words(mpm_store *s, mpm_series *series)
{
    uint64_t count = mpm_load_acquire(&series->place) >> 32;
    mpm_kind kind = count > MPM_COUNTER_WORDS ? MPM_HISTOGRAM : MPM_COUNTER;
    extend_range(s, mpm_load_acquire(&series->words), count);
    for (unsigned size = 0; size < MPM_EXEMPLAR_SIZES; size++) {
        uint64_t at = mpm_load_acquire(&series->exemplars[size]);
        if (at != 0)
            extend_range(s, at - 1,
                         mpm_exemplar_words(kind, (uint32_t)count, size));
    }
}

static mpm_status
rebuild_records(mpm_store *s)
{
    uint64_t records = mpm_load_acquire(&s->root->records);
    for (uint64_t i = 0; i < records; i++) {
        mpm_series *series = mpm_series_at(s, i);
        if (series == NULL)
            return MPM_EDAMAGED;
        extend_words(s, series);
        mpm_family *f = family_of(s, series, i);
        if (f == NULL) {
            mpm_series_mend(s, series, i);
            continue;
        }
        mpm_store_release(&f->series, mpm_load_acquire(&f->series) + 1);
        mpm_store_release(&s->root->live, mpm_load_acquire(&s->root->live) + 1);
        mpm_index_add(s, series, i);
    }
    return MPM_OK;
}

/* Chains the slots of a family that name no live record, the first first. */
static mpm_status
rebuild_slots(mpm_store *s, mpm_family *f)
{
    for (uint64_t i = mpm_load_acquire(&f->slots); i-- > 0;) {
        mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, i);
        if (entry == NULL)
            return MPM_EDAMAGED;
        uint64_t e = mpm_load_acquire(entry);
        mpm_series *series =
            e == 0 || (e & MPM_SLOT_FREE) ? NULL : mpm_series_at(s, e - 1);
        if (series != NULL && family_of(s, series, e - 1) == f &&
            (mpm_load_acquire(&series->place) & UINT32_MAX) == i)
            continue;
        mpm_store_release(entry,
                          MPM_SLOT_FREE | mpm_load_acquire(&f->free_slot));
        mpm_store_release(&f->free_slot, i + 1);
    }
    return MPM_OK;
}

mpm_status
mpm_catalog_rebuild(mpm_heap *h, bool died)
{
    mpm_store *s = h->store;
    mpm_root *root = s->root;
    if (!died && mpm_load_acquire(&root->untidy) == 0)
        return MPM_OK;
    /* First: what is removed from now on makes it untidy again. */
    mpm_exchange_seq_cst(&root->untidy, 0);
    MPM_CRASH_POINT("rebuild.begun");
    uint64_t chunks = mpm_load_acquire(&root->word_chunks);
    if (died)
        mpm_add_relaxed(&root->repairs, 1); /* a count, ordered by nothing */
    for (uint32_t i = 0; i < MPM_SERIES_HEADS; i++)
        mpm_store_release(&root->free_series[i], 0);
    mpm_store_release(&root->live, 0);
    mpm_store_release(&root->word_chunk, chunks == 0 ? 0 : chunks - 1);
    mpm_store_release(&root->word_next, 0);
    mpm_index_clear(s);
    MPM_CRASH_POINT("rebuild.cleared");
    mpm_status status = rebuild_families(s);
    if (status == MPM_OK)
        status = rebuild_records(s);
    uint64_t families = mpm_load_acquire(&root->families);
    for (uint64_t i = 0; i < families && status == MPM_OK; i++) {
        mpm_family *f = mpm_family_at(s, i);
        if (f == NULL)
            status = MPM_EDAMAGED;
        else if (mpm_load_acquire(&f->birth) != 0)
            status = rebuild_slots(s, f);
    }
    MPM_CRASH_POINT("rebuild.done");
    return status;
}
