/* heap.c: blocks in one growing file of shared memory.
 *
 * The file, as every process maps it (the mapping reaches to `reserve`, so
 * that the file grows under it and no pointer ever moves):
 *
 *     0        header     first block                top        size   reserve
 *     +--------+----------+-------+-----+------+-----+----------+- - - -+
 *     | header | block    | block | ... | block|     | never    | not   |
 *     |        |          | free  |     |      |     | given out| there |
 *     +--------+----------+-------+-----+------+-----+----------+- - - -+
 *
 * A block is a multiple of 64 bytes from one of 136 classes, four to a
 * doubling (64, 128, ... 512, 640, 768, 896, 1024, 1280, ...), so that at most
 * a fifth of a block above 512 bytes is lost.  It is taken from the head of
 * its class's free list, or else cut off at `top` (mpm_heap_take).  A block
 * stays of its class: nothing is split or merged, so nothing can go wrong there.
 *
 * A process may be killed between any two stores.  Whoever holds the lock
 * therefore names each block in a journal line before it touches a list:
 *
 *     journal {block, where, cls}      name it
 *     free[cls] = next(block)          or top = block + size
 *     *where = block                     the caller links it
 *     journal {0}                        mpm_heap_settle
 *
 * The next owner of the lock (mpm_heap_repair) asks of each line, the latest
 * first: is the block linked?  still the head of its list (or top)?  then there
 * is nothing to do.  Otherwise it is nowhere, and is pushed.  Latest first,
 * because a block named but not yet popped is the head on which the earlier
 * ones would be pushed: the other order makes a ring.  Giving back is named in
 * a line of its own, cleared before the next begins.  The repair can itself be
 * killed at any store and begun again.
 *
 * Rejected: bitmaps in page headers (blocks of many pages would not be
 * contiguous), and a buddy system (merging is many stores). */
#include <stdlib.h>
#include <unistd.h>

#include "core.h"

#define HEADER ((sizeof(mpm_header) + MPM_LINE - 1) / MPM_LINE * MPM_LINE)
#define RESERVE_LIMIT (((uint64_t)1 << 38) - MPM_STEP) /* lines: 32 bits */
#define GROWTH ((uint64_t)4 << 20) /* the most that is asked for ahead */
#define USER 1u /* journal.where of a block that only a user knows */

static uint64_t
round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* The first byte never given out. */
static uint64_t
top_of(const mpm_header *header)
{
    return (mpm_load_acquire(&header->top) & UINT32_MAX) * MPM_LINE;
}

static uint64_t
blocks_cut(const mpm_header *header)
{
    return mpm_load_acquire(&header->top) >> 32;
}

int
mpm_heap_fd(const mpm_heap *h)
{
    int fd = mpm_load_acquire(&h->fd);
    return mpm_sys_is(fd, h->device, h->inode) ? fd : -1;
}

/* ---- from offsets to addresses ------------------------------------------- */

bool
mpm_heap_has(mpm_heap *h, uint64_t offset, uint64_t bytes)
{
    uint64_t known = mpm_load_relaxed(&h->known);
    if (offset <= known && bytes <= known - offset)
        return true;
    /* The file may have grown.  Its own size is believed, not the header's
     * word: a page that isn't there would be SIGBUS. */
    uint64_t size = mpm_load_acquire(&h->header->size), there;
    int fd = mpm_heap_fd(h);
    if (fd >= 0 && mpm_sys_size(fd, &there) == MPM_OK && there < size)
        size = there;
    if (size > h->reserve)
        size = h->reserve;
    if (size > known)
        mpm_store_relaxed(&h->known, size);
    return offset <= size && bytes <= size - offset;
}

uint64_t
mpm_heap_most(mpm_heap *h, uint64_t count, uint64_t bytes)
{
    if (count > mpm_load_relaxed(&h->known) / bytes)
        mpm_heap_has(h, 0, h->reserve); /* how far does it reach now? */
    uint64_t most = mpm_load_relaxed(&h->known) / bytes;
    return count < most ? count : most;
}

void *
mpm_at(mpm_heap *h, mpm_off offset, uint64_t bytes)
{
    if (offset.raw < HEADER || offset.raw % 8 != 0 ||
        !mpm_heap_has(h, offset.raw, bytes))
        return NULL;
    return (char *)h->header + offset.raw;
}

mpm_off
mpm_offset(const mpm_heap *h, const void *address)
{
    const char *start = (const char *)h->header;
    return (mpm_off){(uint64_t)((const char *)address - start)};
}

/* ---- words copied in and out --------------------------------------------- */

void
mpm_copy_out(void *to, const mpm_word *from, uint64_t bytes)
{
    char *out = to;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = mpm_load_acquire(from++);
        memcpy(out + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

void
mpm_copy_in(mpm_word *to, const void *from, uint64_t bytes)
{
    const char *in = from;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, in + i, bytes - i < 8 ? bytes - i : 8);
        mpm_store_release(to++, word);
    }
}

void *
mpm_block_copy(mpm_heap *h, mpm_off block, uint64_t limit, void *reuse,
               uint64_t *capacity)
{
    const mpm_word *from = mpm_at(h, block, 8);
    if (from == NULL)
        return NULL;
    uint32_t bytes = (uint32_t)mpm_load_acquire(from); /* little-endian */
    if (bytes < 8 || bytes > limit || !mpm_heap_has(h, block.raw, bytes))
        return NULL;
    if (*capacity < bytes) {
        void *larger = realloc(reuse, bytes);
        if (larger == NULL)
            return NULL;
        reuse = larger;
        *capacity = bytes;
    }
    mpm_copy_out(reuse, from, bytes);
    memcpy(reuse, &bytes, sizeof bytes); /* the length that was checked */
    return reuse;
}

/* ---- life of a heap ------------------------------------------------------ */

/* What can be a reserve; 0: too little for a heap. */
static uint64_t
fit_reserve(uint64_t reserve)
{
    reserve = reserve / MPM_STEP * MPM_STEP;
    return reserve > RESERVE_LIMIT ? RESERVE_LIMIT : reserve;
}

/* Fills the header of an empty heap that has so many bytes. */
static mpm_status
lay_header(mpm_header *header, uint64_t reserve, uint64_t size)
{
    memset(header, 0, sizeof *header);
    header->magic = MPM_MAGIC;
    header->layout = MPM_LAYOUT;
    header->byte_order = MPM_BYTE_ORDER;
    header->reserve = reserve;
    header->born_ns = mpm_sys_realtime_ns();
    header->pid = mpm_sys_pid();
    mpm_store_relaxed(&header->size, size); /* nobody else sees it yet */
    mpm_store_relaxed(&header->top, HEADER / MPM_LINE);
    mpm_status status =
        mpm_sys_random(header->identity, sizeof header->identity);
    return status == MPM_OK ? mpm_sys_random(header->key, sizeof header->key)
                            : status;
}

mpm_status
mpm_heap_format(int fd, uint64_t reserve)
{
    mpm_header header;
    reserve = fit_reserve(reserve);
    if (reserve == 0)
        return MPM_EMEMORY;
    mpm_status status = lay_header(&header, reserve, MPM_STEP);
    if (status == MPM_OK)
        status = mpm_sys_grow(fd, 0, MPM_STEP);
    if (status != MPM_OK)
        return status;
    if (pwrite(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
        return MPM_ESYSTEM;
    return MPM_OK;
}

/* Is this the header of a heap that this build can map? */
static mpm_status
check_header(const mpm_header *header, uint64_t file)
{
    if (header->magic != MPM_MAGIC || header->layout != MPM_LAYOUT ||
        header->byte_order != MPM_BYTE_ORDER)
        return MPM_ELAYOUT; /* never guess at another build's structs */
    uint64_t size = mpm_load_relaxed(&header->size);
    uint64_t top = top_of(header);
    if (header->reserve < MPM_STEP || header->reserve > RESERVE_LIMIT ||
        header->reserve % MPM_STEP != 0 || size > header->reserve ||
        size > file || top > size || top < HEADER)
        return MPM_EDAMAGED;
    return MPM_OK;
}

static mpm_status
begin(mpm_heap *h, int fd, bool read_only)
{
    memset(h, 0, sizeof *h);
    mpm_store_release(&h->fd, -1);
    h->wait = mpm_sys_sleep;
    h->read_only = read_only;
    mpm_status status = mpm_epoch_start();
    return status == MPM_OK && fd >= 0
               ? mpm_sys_identify(fd, &h->device, &h->inode)
               : status;
}

/* Of a description of its own: what the caller locks in his isn't ours. His
 * does where it can't be had, since /proc isn't mounted and the file has no name
 * yet. */
static mpm_status
keep_descriptor(mpm_heap *h, int fd, const char *path)
{
    int kept;
    mpm_status status =
        mpm_sys_reopen(fd, path, h->device, h->inode, h->read_only, &kept);
    if (status == MPM_EGONE)
        status = mpm_sys_duplicate(fd, &kept);
    if (status == MPM_OK)
        mpm_store_release(&h->fd, kept);
    return status;
}

mpm_status
mpm_heap_open(mpm_heap *h, int fd, const char *path, bool read_only)
{
    mpm_header header;
    uint64_t file;
    void *address;
    mpm_status status = begin(h, fd, read_only);
    if (status == MPM_OK)
        status = mpm_sys_size(fd, &file);
    if (status != MPM_OK)
        return status;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
        return MPM_ELAYOUT;
    status = check_header(&header, file);
    if (status != MPM_OK)
        return status;
    h->reserve = header.reserve;
    mpm_store_relaxed(&h->known, mpm_load_relaxed(&header.size));
    status = keep_descriptor(h, fd, path);
    if (status != MPM_OK)
        return status;
    if (path != NULL && (h->path = strdup(path)) == NULL)
        status = MPM_EPRIVATE;
    if (status == MPM_OK)
        status = mpm_sys_map(mpm_heap_fd(h), h->reserve, read_only, &address);
    if (status == MPM_OK)
        h->header = address;
    else
        mpm_heap_close(h);
    return status;
}

mpm_status
mpm_heap_open_fileless(mpm_heap *h, int fd, uint64_t reserve)
{
    void *address;
    mpm_status status = begin(h, fd, false);
    reserve = fit_reserve(reserve);
    if (status == MPM_OK && reserve == 0)
        status = MPM_EMEMORY;
    if (status == MPM_OK)
        status = mpm_sys_map(-1, reserve, false, &address);
    if (status != MPM_OK)
        return status;
    h->header = address;
    h->reserve = reserve;
    mpm_store_relaxed(&h->known, reserve); /* so the file is never asked */
    status = fd < 0 ? MPM_OK : keep_descriptor(h, fd, NULL);
    if (status == MPM_OK)
        status = lay_header(h->header, reserve, reserve);
    if (status != MPM_OK)
        mpm_heap_close(h);
    return status;
}

bool
mpm_heap_is_nameless(const mpm_heap *h)
{
    int fd = mpm_heap_fd(h);
    return h->path != NULL && fd >= 0 && mpm_sys_is_unlinked(fd);
}

void
mpm_heap_close(mpm_heap *h)
{
    mpm_detach(h);
    mpm_lease_drop(h);
    if (h->header != NULL)
        mpm_sys_unmap(h->header, h->reserve);
    int fd = mpm_heap_fd(h);
    if (fd >= 0)
        mpm_sys_close(fd);
    free(h->path);
    memset(h, 0, sizeof *h);
    mpm_store_release(&h->fd, -1);
}

/* ---- classes ------------------------------------------------------------- */

unsigned
mpm_class_of(uint64_t bytes)
{
    uint64_t lines = bytes == 0 ? 1 : (bytes - 1) / MPM_LINE + 1;
    if (lines <= 8)
        return (unsigned)lines - 1;
    unsigned doubling = 63u - (unsigned)__builtin_clzll(lines - 1);
    uint64_t quarter = (lines - 1) >> (doubling - 2); /* 4 to 7 */
    return 8 + (doubling - 3) * 4 + (unsigned)quarter - 4;
}

uint64_t
mpm_class_size(unsigned cls)
{
    if (cls < 8)
        return (cls + 1) * (uint64_t)MPM_LINE;
    unsigned doubling = 3 + (cls - 8) / 4;
    uint64_t quarter = 4 + (cls - 8) % 4;
    return ((quarter + 1) << (doubling - 2)) * MPM_LINE;
}

/* ---- lists --------------------------------------------------------------- */

/* Could this be a block of that class?  NULL, or the word that links it to
 * the next one while it is free. */
static mpm_word *
block_at(mpm_heap *h, uint64_t block, uint64_t cls)
{
    uint64_t top = top_of(h->header);
    if (cls >= MPM_CLASSES || block % MPM_LINE != 0)
        return NULL;
    uint64_t size = mpm_class_size((unsigned)cls);
    if (size > top || block > top - size)
        return NULL; /* also a block that was named but not yet cut off */
    return mpm_at(h, (mpm_off){block}, size);
}

/* The word that links a block, as the journal names it: unlike what mpm_at
 * gives it may be in the header (the root's).  NULL: a user's, or damage. */
static mpm_word *
link_at(mpm_heap *h, uint64_t where)
{
    if (where == 0 || where % 8 != 0 || !mpm_heap_has(h, where, 8))
        return NULL;
    return (mpm_word *)(void *)((char *)h->header + where);
}

/* Counts are derived: repair counts again, so a kill can't make them drift. */
static void
count(mpm_heap *h, uint64_t cls, int64_t blocks)
{
    uint64_t bytes = mpm_class_size((unsigned)cls) * (uint64_t)blocks;
    mpm_header *header = h->header;
    mpm_store_release(&header->used_bytes,
                      mpm_load_relaxed(&header->used_bytes) + bytes);
    mpm_store_release(&header->used_blocks,
                      mpm_load_relaxed(&header->used_blocks) +
                          (uint64_t)blocks);
}

static void
push(mpm_heap *h, mpm_word *link, uint64_t block, uint64_t cls)
{
    mpm_word *head = &h->header->free[cls];
    mpm_store_release(link, mpm_load_relaxed(head));
    MPM_CRASH_POINT("heap.push.linked");
    mpm_store_release(head, block);
}

/* Lets the file reach to `end`, leaving the spare bytes to those who may use
 * them.  Asks for more than needed, since each asking is a system call. */
static mpm_status
grow(mpm_heap *h, uint64_t end, bool spare)
{
    mpm_header *header = h->header;
    uint64_t size = mpm_load_acquire(&header->size);
    uint64_t least = spare ? end : end + MPM_SPARE;
    if (end < MPM_LINE || least > h->reserve)
        return MPM_EMEMORY;
    if (least <= size)
        return MPM_OK;
    uint64_t ahead = size / 8 < GROWTH ? size / 8 : GROWTH;
    uint64_t least_size = round_up(least, MPM_STEP);
    uint64_t wish = round_up(least + ahead, MPM_STEP);
    if (wish > h->reserve)
        wish = least_size;
    int fd = mpm_heap_fd(h);
    if (fd < 0)
        return MPM_EGONE;
    mpm_status status = mpm_sys_grow(fd, size, wish);
    if (status == MPM_EMEMORY && wish > least_size) {
        wish = least_size;
        status = mpm_sys_grow(fd, size, wish);
    }
    mpm_store_release(&header->wants, status == MPM_OK ? 0 : 1);
    if (status != MPM_OK)
        return status;
    MPM_CRASH_POINT("heap.grown");
    mpm_store_release(&header->size, wish);
    return MPM_OK;
}

/* ---- taking -------------------------------------------------------------- */

/* Writes a line of the journal so that it is whole once it names a block. */
static void
name(mpm_journal *line, uint64_t block, uint64_t where, uint64_t cls)
{
    mpm_store_release(&line->where, where);
    mpm_store_release(&line->cls, cls);
    mpm_store_release(&line->block, MPM_MUTANT("journal.none") ? 0 : block);
}

mpm_status
mpm_heap_take(mpm_heap *h, uint64_t bytes, const mpm_word *where, bool spare,
              mpm_off *block, bool *fresh)
{
    mpm_header *header = h->header;
    unsigned cls = mpm_class_of(bytes);
    mpm_check(h->inside && h->takes < MPM_TAKES);
    if (cls >= MPM_CLASSES)
        return MPM_EMEMORY;
    uint64_t size = mpm_class_size(cls);
    uint64_t link = where == NULL ? USER : mpm_offset(h, where).raw;
    mpm_journal *line = &header->take[h->takes];
    uint64_t b = mpm_load_acquire(&header->free[cls]);
    mpm_word *head = b == 0 ? NULL : block_at(h, b, cls);
    if (head != NULL) {
        uint64_t next = mpm_load_acquire(head);
        if (next != 0 && block_at(h, next, cls) == NULL)
            next = 0; /* damage: rather lose blocks than hand out anything */
        name(line, b, link, cls);
        MPM_CRASH_POINT("heap.take.named");
        mpm_store_release(&header->free[cls], next);
    } else {
        b = top_of(header);
        if (b < HEADER)
            return MPM_EDAMAGED;
        mpm_status status = grow(h, b + size, spare);
        if (status != MPM_OK)
            return status;
        name(line, b, link, cls);
        MPM_CRASH_POINT("heap.cut.named");
        mpm_store_release(&header->top, (blocks_cut(header) + 1) << 32 |
                                            (b + size) / MPM_LINE);
    }
    MPM_CRASH_POINT("heap.take.unlinked");
    h->takes++;
    count(h, cls, 1);
    block->raw = b;
    *fresh = head == NULL;
    return mpm_at(h, *block, size) == NULL ? MPM_EDAMAGED : MPM_OK;
}

/* Ends one line of the take journal: true if the block was nowhere. */
static bool
end_take(mpm_heap *h, mpm_journal *line, bool repairing)
{
    uint64_t block = mpm_load_acquire(&line->block);
    uint64_t cls = mpm_load_acquire(&line->cls);
    uint64_t where = mpm_load_acquire(&line->where);
    bool pushed = false;
    if (block == 0)
        return false;
    mpm_word *link = block_at(h, block, cls);
    mpm_word *linked = link_at(h, where);
    bool is_linked = (linked != NULL && mpm_load_acquire(linked) == block) ||
                     (where == USER && !repairing);
    if (link != NULL && !is_linked &&
        mpm_load_acquire(&h->header->free[cls]) != block) {
        push(h, link, block, cls);
        pushed = true;
    }
    MPM_CRASH_POINT("heap.take.ended");
    mpm_store_release(&line->block, 0);
    return pushed;
}

void
mpm_heap_settle(mpm_heap *h)
{
    while (h->takes > 0) {
        mpm_journal *line = &h->header->take[--h->takes];
        uint64_t cls = mpm_load_acquire(&line->cls);
        if (end_take(h, line, false))
            count(h, cls, -1);
    }
}

/* ---- giving back --------------------------------------------------------- */

static mpm_status
give(mpm_heap *h, mpm_word *where, uint64_t block, uint64_t bytes)
{
    mpm_journal *line = &h->header->give;
    unsigned cls = mpm_class_of(bytes);
    mpm_check(h->inside && h->takes == 0);
    mpm_word *link = block_at(h, block, cls);
    if (link == NULL)
        return MPM_EDAMAGED;
    name(line, block, where == NULL ? USER : mpm_offset(h, where).raw, cls);
    MPM_CRASH_POINT("heap.give.named");
    if (where != NULL)
        mpm_store_release(where, 0);
    MPM_CRASH_POINT("heap.give.unlinked");
    push(h, link, block, cls);
    MPM_CRASH_POINT("heap.give.pushed");
    mpm_store_release(&line->block, 0);
    count(h, cls, -1);
    return MPM_OK;
}

mpm_status
mpm_heap_give(mpm_heap *h, mpm_word *where, uint64_t bytes)
{
    return give(h, where, mpm_load_acquire(where), bytes);
}

mpm_status
mpm_heap_give_user(mpm_heap *h, mpm_off block, uint64_t bytes)
{
    return give(h, NULL, block.raw, bytes);
}

/* ---- repair -------------------------------------------------------------- */

/* Was pushed already, or is pushed now: a give-back is always finished. */
static void
end_give(mpm_heap *h)
{
    mpm_journal *line = &h->header->give;
    uint64_t block = mpm_load_acquire(&line->block);
    uint64_t cls = mpm_load_acquire(&line->cls);
    uint64_t where = mpm_load_acquire(&line->where);
    if (block == 0)
        return;
    mpm_word *link = block_at(h, block, cls);
    mpm_word *linked = link_at(h, where);
    if (link != NULL && mpm_load_acquire(&h->header->free[cls]) != block) {
        if (linked != NULL && mpm_load_acquire(linked) == block)
            mpm_store_release(linked, 0);
        push(h, link, block, cls);
    }
    MPM_CRASH_POINT("heap.give.ended");
    mpm_store_release(&line->block, 0);
}

/* Walks a free list; false if it is a ring or leaves the heap.  The bound is
 * what has room below top: a count that damage made huge is no bound. */
static bool
walk_free(mpm_heap *h, unsigned cls, uint64_t *blocks)
{
    uint64_t bound = top_of(h->header) / mpm_class_size(cls);
    uint64_t b = mpm_load_acquire(&h->header->free[cls]);
    for (*blocks = 0; b != 0; (*blocks)++) {
        mpm_word *link = block_at(h, b, cls);
        if (link == NULL || *blocks >= bound)
            return false;
        b = mpm_load_acquire(link);
    }
    return true;
}

mpm_status
mpm_heap_repair(mpm_heap *h)
{
    mpm_header *header = h->header;
    uint64_t top = top_of(header);
    if (top < HEADER || top > mpm_load_acquire(&header->size) ||
        !mpm_heap_has(h, 0, top))
        return MPM_EDAMAGED;
    for (unsigned i = MPM_TAKES; i-- > 0;)
        end_take(h, &header->take[i], true);
    end_give(h);
    uint64_t free_bytes = 0, free_blocks = 0, blocks;
    for (unsigned cls = 0; cls < MPM_CLASSES; cls++) {
        if (!walk_free(h, cls, &blocks)) {
            /* Damage, not a kill: rather lose the blocks of one class. */
            mpm_store_release(&header->free[cls], 0);
            blocks = 0;
        }
        free_bytes += blocks * mpm_class_size(cls);
        free_blocks += blocks;
    }
    mpm_store_release(&header->used_bytes, top - HEADER - free_bytes);
    mpm_store_release(&header->used_blocks, blocks_cut(header) - free_blocks);
    return MPM_OK;
}

bool
mpm_heap_is_valid(mpm_heap *h)
{
    mpm_header *header = h->header;
    uint64_t top = top_of(header), free_bytes = 0, free_blocks = 0, blocks;
    if (top > mpm_load_acquire(&header->size) ||
        mpm_load_acquire(&header->give.block) != 0)
        return false;
    for (unsigned i = 0; i < MPM_TAKES; i++)
        if (mpm_load_acquire(&header->take[i].block) != 0)
            return false;
    for (unsigned cls = 0; cls < MPM_CLASSES; cls++) {
        if (!walk_free(h, cls, &blocks))
            return false;
        free_bytes += blocks * mpm_class_size(cls);
        free_blocks += blocks;
    }
    return mpm_load_acquire(&header->used_bytes) == top - HEADER - free_bytes &&
           mpm_load_acquire(&header->used_blocks) ==
               blocks_cut(header) - free_blocks;
}
