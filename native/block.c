/* block.c: blocks for the toolkit's users, over those of the heap.
 *
 * The heap knows a block by its offset and its size alone, which is enough for
 * structures that know what they link.  Users keep names of blocks in other
 * processes: so each has a tag before its first byte, by which every process
 * sees that it was freed, or freed and given out again.
 *
 *     self           start - sizeof(mpm_tag)   start
 *     +--------------+-------------------------+--------------------+-----+
 *     | for alignment| info, self, birth       | the user's `size`  | rest|
 *     +--------------+-------------------------+--------------------+-----+
 *
 * Rejected: a table of blocks beside the heap (one more thing to repair), and
 * size classes that are naturally aligned (who wants a page's alignment wants
 * few such blocks: `alignment` bytes more for each are cheaper than a class
 * for every alignment). */
#include "users.h"

/* splitmix64's: a bijection, so numbers that differ stay so. */
static uint64_t
scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

/* No lease is ever used twice, so neither is a lease's n-th number. */
static uint64_t
next_birth(mpm_heap *h)
{
    static uint64_t given;
    uint64_t birth = 0;
    while (birth == 0)
        birth = scramble((h->lease << 32) + ++given) ^ h->header->key[0];
    return birth;
}

static mpm_tag *
tag_at(mpm_heap *h, mpm_off start)
{
    if (start.raw < sizeof(mpm_tag))
        return NULL;
    mpm_off tag = {start.raw - sizeof(mpm_tag)};
    return mpm_at(h, tag, sizeof(mpm_tag));
}

/* Writes the tag before the first byte of a user's; returns the birth. */
static uint64_t
tag(mpm_heap *h, mpm_off block, mpm_off start, uint64_t size, uint64_t bytes)
{
    mpm_tag *t = tag_at(h, start);
    uint64_t birth = next_birth(h);
    mpm_store_release(&t->info, size << 8 | mpm_class_of(bytes));
    mpm_store_release(&t->birth, birth);
    MPM_CRASH_POINT("block.tagged");
    mpm_store_release(&t->self, block.raw);
    return birth;
}

mpm_status
mpm_block_take(mpm_heap *h, uint64_t size, uint64_t alignment, mpm_off *start,
               uint64_t *birth, bool *fresh)
{
    mpm_off block;
    mpm_check(alignment != 0 && (alignment & (alignment - 1)) == 0);
    if (alignment < 8)
        alignment = 8;
    /* The heap's blocks are aligned to lines, so that the tag and what aligns
     * the start never take more. */
    uint64_t before = alignment > sizeof(mpm_tag) ? alignment : 0;
    if (before == 0)
        before = (sizeof(mpm_tag) + alignment - 1) / alignment * alignment;
    if (alignment > MPM_ALIGN_MAX || size > h->reserve - before)
        return MPM_EMEMORY;
    uint64_t bytes = size + before;
    mpm_status status = mpm_heap_take(h, bytes, NULL, false, &block, fresh);
    if (status == MPM_OK) {
        uint64_t first = block.raw + sizeof(mpm_tag);
        start->raw = (first + alignment - 1) / alignment * alignment;
        *birth = tag(h, block, *start, size, bytes);
    }
    mpm_heap_settle(h);
    return status;
}

uint64_t
mpm_block_birth(mpm_heap *h, mpm_off start, uint64_t size)
{
    mpm_tag *t = tag_at(h, start);
    if (t == NULL)
        return 0;
    uint64_t info = mpm_load_acquire(&t->info);
    uint64_t self = mpm_load_acquire(&t->self);
    uint64_t cls = info & 0xff;
    if (info >> 8 != size || cls >= MPM_CLASSES || self == 0 ||
        self % MPM_LINE != 0 || self > start.raw - sizeof(mpm_tag))
        return 0;
    uint64_t block = mpm_class_size((unsigned)cls);
    uint64_t before = start.raw - self;
    if (before > block || size > block - before ||
        !mpm_heap_has(h, self, block))
        return 0;
    return mpm_load_acquire(&t->birth);
}

mpm_status
mpm_block_give(mpm_heap *h, mpm_off start, uint64_t size, uint64_t birth)
{
    if (birth == 0 || mpm_block_birth(h, start, size) != birth)
        return MPM_EGONE;
    mpm_tag *t = tag_at(h, start);
    unsigned cls = mpm_load_acquire(&t->info) & 0xff;
    if (cls >= MPM_CLASSES)
        return MPM_EDAMAGED; /* since it was looked at */
    return mpm_heap_give(h, &t->self, mpm_class_size(cls));
}

/* ---- links ---------------------------------------------------------------- */

/* The journal names the link, and not the tag: so a kill before the commit
 * gives the block back, and one after it leaves the block to the link. */
mpm_status
mpm_block_link(mpm_heap *h, mpm_link *link, uint64_t size)
{
    mpm_off block;
    bool fresh;
    if (mpm_load_acquire(&link->block) != 0)
        return MPM_EDAMAGED; /* the caller has cleared it */
    if (size > h->reserve - sizeof(mpm_tag))
        return MPM_EMEMORY;
    uint64_t bytes = size + sizeof(mpm_tag);
    mpm_status status =
        mpm_heap_take(h, bytes, &link->block, false, &block, &fresh);
    if (status == MPM_OK) {
        mpm_off start = {block.raw + sizeof(mpm_tag)};
        uint64_t birth = tag(h, block, start, size, bytes);
        mpm_store_release(&link->size, size);
        mpm_store_release(&link->birth, birth);
        MPM_CRASH_POINT("block.linking");
        mpm_store_release(&link->block, block.raw); /* the commit */
    }
    mpm_heap_settle(h);
    return status;
}

mpm_status
mpm_block_linked(mpm_heap *h, const mpm_link *link, mpm_off *start,
                 uint64_t *size)
{
    uint64_t block = mpm_load_acquire(&link->block);
    uint64_t birth = mpm_load_acquire(&link->birth);
    start->raw = block == 0 ? 0 : block + sizeof(mpm_tag);
    *size = mpm_load_acquire(&link->size);
    if (block == 0)
        return MPM_OK;
    return birth != 0 && mpm_block_birth(h, *start, *size) == birth ? MPM_OK
                                                                    : MPM_EGONE;
}

/* The tag keeps its birth until the block is pushed: a repair that finishes a
 * give-back finds it by the journal alone. */
mpm_status
mpm_block_unlink(mpm_heap *h, mpm_link *link)
{
    mpm_off start;
    uint64_t size;
    mpm_status status = mpm_block_linked(h, link, &start, &size);
    if (status != MPM_OK || start.raw == 0)
        return status;
    mpm_tag *t = tag_at(h, start);
    unsigned cls = mpm_load_acquire(&t->info) & 0xff;
    if (cls >= MPM_CLASSES)
        return MPM_EDAMAGED; /* since it was looked at */
    status = mpm_heap_give(h, &link->block, mpm_class_size(cls));
    if (status == MPM_OK)
        mpm_store_release(&t->self, 0); /* so that no stale link finds it */
    return status;
}
