/* store.c: a heap laid out for metrics, from its making to its end in one
 * process.  What stands in it is in shard.c, family.c and series.c. */
#include <stdlib.h>

#include "core.h"

const mpm_table_kind MPM_FAMILIES = {sizeof(mpm_family), 8};
const mpm_table_kind MPM_RECORDS = {sizeof(mpm_series), 64};
const mpm_table_kind MPM_OFFSETS = {8, 8};
const mpm_table_kind MPM_DECLARED = {8, 32};
const mpm_table_kind MPM_BUCKETS = {8, 64};

const char *
mpm_status_text(mpm_status status)
{
    static const char *const texts[MPM_STATUSES] = {
        [MPM_OK] = "well",
        [MPM_DIED] = "the last owner of the lock died in it",
        [MPM_BUSY] = "another process holds the lock",
        [MPM_EMEMORY] = "no room is left in the store or on its file system",
        [MPM_ELAYOUT] = "not a store of this build's layout",
        [MPM_EDAMAGED] = "the store is damaged",
        [MPM_EGONE] = "gone, or its file can't be opened any more",
        [MPM_EFULL] = "the family has as many series as it may have",
        [MPM_ESYSTEM] = "a system call failed",
        [MPM_EPRIVATE] = "no memory is left in this process",
    };
    return status < MPM_STATUSES ? texts[status] : "unknown status";
}

/* [lock held] Links the root, then shard 0 and the first of each table. */
static mpm_status
lay_out(mpm_store *s, uint64_t max_series)
{
    mpm_heap *h = &s->heap;
    mpm_off block;
    bool fresh;
    mpm_status status = mpm_heap_take(h, sizeof(mpm_root), &h->header->root,
                                      false, &block, &fresh);
    if (status == MPM_OK) {
        s->root = mpm_at(h, block, sizeof(mpm_root)); /* fresh: all zeros */
        mpm_store_release(&s->root->max_series, max_series);
        mpm_store_release(&s->root->buckets, 1);
        mpm_store_release(&h->header->root, block.raw);
    }
    mpm_heap_settle(h);
    if (status == MPM_OK)
        status = mpm_shard_append(s, MPM_SHARED);
    return status;
}

mpm_status
mpm_store_format(int fd, uint64_t reserve, uint64_t max_series)
{
    mpm_store s;
    memset(&s, 0, sizeof s);
    mpm_status status = mpm_heap_format(fd, reserve);
    if (status == MPM_OK)
        status = mpm_heap_open(&s.heap, fd, NULL, false);
    if (status != MPM_OK)
        return status;
    status = mpm_lock_acquire(&s.heap);
    if (status == MPM_OK) {
        status = lay_out(&s, max_series);
        mpm_lock_release(&s.heap);
    }
    mpm_heap_close(&s.heap);
    return status;
}

static void
begin(mpm_store *s)
{
    s->heap.store = s;
    s->heap.rebuild = mpm_catalog_rebuild;
}

mpm_status
mpm_store_open_fileless(mpm_store *s, int fd, uint64_t reserve,
                        uint64_t max_series)
{
    memset(s, 0, sizeof *s);
    mpm_status status = mpm_heap_open_fileless(&s->heap, fd, reserve);
    if (status != MPM_OK)
        return status;
    status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status = lay_out(s, max_series);
        mpm_lock_release(&s->heap);
    }
    mpm_lease_drop(&s->heap); /* the maker's, as that of any store */
    if (status == MPM_OK)
        begin(s);
    else
        mpm_heap_close(&s->heap);
    return status;
}

/* Is the last of so many entries there?  A chunk is linked before it counts. */
static bool
has_last(mpm_store *s, mpm_table *t, mpm_table_kind kind, const mpm_word *count)
{
    uint64_t n = mpm_load_acquire(count);
    return n == 0 || mpm_table_at(&s->heap, t, kind, n - 1) != NULL;
}

/* Else a walk over all of them might never end. */
static bool
counts_are_true(mpm_store *s)
{
    mpm_root *root = s->root;
    return has_last(s, &root->family, MPM_FAMILIES, &root->families) &&
           has_last(s, &root->record, MPM_RECORDS, &root->records) &&
           has_last(s, &root->shard, MPM_OFFSETS, &root->shard_count) &&
           has_last(s, &root->word_size, MPM_OFFSETS, &root->word_chunks) &&
           mpm_shard_at(s, 0) != NULL;
}

mpm_status
mpm_store_open(mpm_store *s, int fd, const char *path, bool read_only)
{
    memset(s, 0, sizeof *s);
    mpm_status status = mpm_heap_open(&s->heap, fd, path, read_only);
    if (status != MPM_OK)
        return status;
    mpm_off root = {mpm_load_acquire(&s->heap.header->root)};
    s->root = mpm_at(&s->heap, root, sizeof(mpm_root));
    if (s->root == NULL) {
        mpm_heap_close(&s->heap);
        return MPM_ELAYOUT; /* a bare heap, or damaged */
    }
    if (!counts_are_true(s)) {
        mpm_heap_close(&s->heap);
        return MPM_EDAMAGED;
    }
    begin(s);
    return MPM_OK;
}

void
mpm_store_enter(mpm_store *s)
{
    mpm_heap_enter(&s->heap);
    if (s->epoch == s->heap.epoch)
        return;
    s->epoch = s->heap.epoch;
    s->shard = NULL;
    s->retry_ns = s->retry_exemplar_ns = 0;
    if (s->refs != NULL)
        memset(s->refs, 0, s->refs_size * sizeof *s->refs);
}

void
mpm_store_close(mpm_store *s)
{
    free(s->refs);
    free(s->held);
    mpm_heap_close(&s->heap);
    memset(s, 0, sizeof *s);
    mpm_store_release(&s->heap.fd, -1);
}
