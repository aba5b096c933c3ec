/* table.c: arrays in shared memory that grow and never move, so that a reader
 * may walk them by index while somebody makes them longer.
 *
 * Chunk k holds first << k entries; a chunk is all zeros before it is linked. */
#include "core.h"

/* Which chunk has the entry, and which entry of that chunk it is. */
static bool
locate(mpm_table_kind kind, uint64_t index, unsigned *chunk, uint64_t *entry)
{
    uint64_t scaled = index / kind.first + 1;
    *chunk = 63u - (unsigned)__builtin_clzll(scaled);
    if (*chunk >= MPM_TABLE_CHUNKS)
        return false;
    *entry = index - (((uint64_t)1 << *chunk) - 1) * kind.first;
    return true;
}

uint64_t
mpm_table_bytes(mpm_table_kind kind, unsigned chunk)
{
    return ((uint64_t)kind.first << chunk) * kind.entry;
}

void *
mpm_table_at(mpm_heap *h, mpm_table *t, mpm_table_kind kind, uint64_t index)
{
    unsigned chunk;
    uint64_t entry;
    if (!locate(kind, index, &chunk, &entry))
        return NULL;
    uint64_t offset = mpm_load_acquire(&t->chunk[chunk]);
    char *start = mpm_at(h, (mpm_off){offset}, mpm_table_bytes(kind, chunk));
    return start == NULL ? NULL : start + entry * kind.entry;
}

/* Makes one chunk.  Linking it is the commit. */
static mpm_status
make_chunk(mpm_heap *h, mpm_table *t, mpm_table_kind kind, unsigned chunk,
           bool spare)
{
    mpm_off block;
    bool fresh;
    uint64_t bytes = mpm_table_bytes(kind, chunk);
    mpm_check(h->takes == 0); /* settling would end the caller's takes too */
    mpm_status status =
        mpm_heap_take(h, bytes, &t->chunk[chunk], spare, &block, &fresh);
    if (status == MPM_OK) {
        mpm_word *words = mpm_at(h, block, bytes);
        for (uint64_t i = 0; !fresh && i < bytes / 8; i++)
            mpm_store_release(&words[i], 0);
        MPM_CRASH_POINT("table.chunk.zeroed");
        mpm_store_release(&t->chunk[chunk], block.raw);
        MPM_CRASH_POINT("table.chunk.linked");
    }
    mpm_heap_settle(h);
    return status;
}

mpm_status
mpm_table_reach(mpm_heap *h, mpm_table *t, mpm_table_kind kind, uint64_t index,
                bool spare, void *entry)
{
    unsigned chunk;
    uint64_t at;
    void *address;
    if (!locate(kind, index, &chunk, &at))
        return MPM_EMEMORY;
    if (mpm_load_acquire(&t->chunk[chunk]) == 0) {
        mpm_status status = make_chunk(h, t, kind, chunk, spare);
        if (status != MPM_OK)
            return status;
    }
    address = mpm_table_at(h, t, kind, index);
    if (address == NULL)
        return MPM_EDAMAGED;
    memcpy(entry, &address, sizeof address);
    return MPM_OK;
}

void
mpm_table_clear(mpm_heap *h, mpm_table *t, mpm_table_kind kind)
{
    for (unsigned k = 0; k < MPM_TABLE_CHUNKS; k++)
        if (mpm_load_acquire(&t->chunk[k]) != 0 &&
            mpm_heap_give(h, &t->chunk[k], mpm_table_bytes(kind, k)) != MPM_OK)
            mpm_store_release(&t->chunk[k], 0); /* damage: lose the block */
}
