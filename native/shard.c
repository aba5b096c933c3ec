/* shard.c: one copy of the word space for each living process.
 *
 * A dead process's shard keeps its numbers; the next process to start takes it
 * over with one compare and swap and goes on counting in it.  So there are as
 * many shards as processes ever lived at one time, and nothing to clean up. */
#include <stdlib.h>

#include "core.h"

uint64_t
mpm_shard_count(mpm_store *s)
{
    return mpm_heap_most(&s->heap, mpm_load_acquire(&s->root->shard_count),
                         sizeof(mpm_shard));
}

mpm_shard *
mpm_shard_at(mpm_store *s, uint64_t index)
{
    if (index >= mpm_shard_count(s))
        return NULL;
    mpm_word *entry =
        mpm_table_at(&s->heap, &s->root->shard, MPM_OFFSETS, index);
    if (entry == NULL)
        return NULL;
    return mpm_at(&s->heap, (mpm_off){mpm_load_acquire(entry)},
                  sizeof(mpm_shard));
}

mpm_status
mpm_shard_append(mpm_store *s, uint64_t owner)
{
    mpm_heap *h = &s->heap;
    mpm_word *entry;
    mpm_off block;
    bool fresh;
    uint64_t index = mpm_load_acquire(&s->root->shard_count);
    mpm_status status =
        mpm_table_reach(h, &s->root->shard, MPM_OFFSETS, index, true, &entry);
    if (status != MPM_OK)
        return status;
    if (mpm_load_acquire(entry) == 0) {
        status =
            mpm_heap_take(h, sizeof(mpm_shard), entry, true, &block, &fresh);
        if (status == MPM_OK) {
            mpm_word *words = mpm_at(h, block, sizeof(mpm_shard));
            for (size_t i = 0; i < sizeof(mpm_shard) / 8; i++)
                mpm_store_release(&words[i], 0);
            mpm_store_release(&((mpm_shard *)words)->owner, owner);
            MPM_CRASH_POINT("shard.made");
            mpm_store_release(entry, block.raw);
        }
        mpm_heap_settle(h);
        if (status != MPM_OK)
            return status;
    } else {
        /* One was killed here: its shard is there, and nobody else's yet. */
        mpm_shard *shard =
            mpm_at(h, (mpm_off){mpm_load_acquire(entry)}, sizeof(mpm_shard));
        if (shard == NULL)
            return MPM_EDAMAGED;
        mpm_store_release(&shard->owner, owner);
    }
    MPM_CRASH_POINT("shard.linked");
    mpm_store_release(&s->root->shard_count, index + 1);
    return MPM_OK;
}

/* One's own first: there may be one, and a second would be too many. */
static mpm_shard *
find_own(mpm_store *s)
{
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
        if (mpm_load_acquire(&shard->owner) == s->heap.lease)
            return shard;
    }
    return NULL;
}

/* Takes over the first shard whose owner is dead. */
static mpm_shard *
take_over(mpm_store *s)
{
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
        uint64_t owner = mpm_load_acquire(&shard->owner);
        if (!mpm_lease_is_alive(&s->heap, owner) &&
            mpm_cas_acq_rel(&shard->owner, &owner, s->heap.lease))
            return shard;
    }
    return NULL;
}

/* [owner] Forgets what the last owner had declared and was writing, or perhaps
 * removing: then what is derived may not be true any more (removal.c).  What
 * this process holds is declared under the lock. */
static void
begin(mpm_store *s, mpm_shard *shard)
{
    if (mpm_load_acquire(&shard->hazard) != 0)
        mpm_store_release(&s->root->untidy, 1);
    MPM_CRASH_POINT("shard.begun");
    mpm_store_release(&shard->hazard, 0);
    mpm_store_release(&shard->pid, mpm_sys_pid());
    mpm_store_release(&shard->since_ns, mpm_sys_realtime_ns());
    uint64_t families = mpm_family_count(s);
    for (uint64_t i = 0; i < families; i++) {
        mpm_word *declared =
            mpm_table_at(&s->heap, &shard->declared, MPM_DECLARED, i);
        if (declared != NULL)
            mpm_store_release(declared, 0);
    }
    s->undeclared = s->held_count != 0;
}

/* Makes a shard this process's, if there is one to have. */
static void
own(mpm_store *s)
{
    mpm_shard *shard = find_own(s);
    if (shard == NULL)
        shard = take_over(s);
    if (shard == NULL)
        return;
    MPM_CRASH_POINT("shard.owned");
    begin(s, shard);
    s->shard = shard;
}

/* ---- declarations --------------------------------------------------------- */

static mpm_status
note_declaration(mpm_store *s, mpm_id family)
{
    mpm_word *declared;
    mpm_status status =
        mpm_table_reach(&s->heap, &s->shard->declared, MPM_DECLARED,
                        family.index, true, &declared);
    if (status == MPM_OK)
        mpm_store_release(declared, family.birth);
    return status;
}

/* [lock held] A forked child holds what its parent had declared, who may be dead
 * by now: said before the sweep, which would take it for nobody's. */
static void
declare_held(mpm_store *s)
{
    if (!s->undeclared)
        return;
    s->undeclared = false;
    for (uint64_t i = 0; i < s->held_count; i++)
        if (mpm_family_is_alive(s, s->held[i]) &&
            note_declaration(s, s->held[i]) != MPM_OK)
            s->undeclared = true;
}

/* [lock held] Forgets what only the dead had declared; later, while what this
 * process holds can't be noted: it would be taken for theirs. */
static void
sweep(mpm_store *s)
{
    if (!s->unswept || s->undeclared)
        return;
    s->unswept = false;
    mpm_family_sweep(s);
}

bool
mpm_family_is_held(const mpm_store *s, mpm_id family)
{
    for (uint64_t i = 0; i < s->held_count; i++)
        if (s->held[i].birth == family.birth)
            return family.birth != 0;
    return false;
}

static mpm_status
hold(mpm_store *s, mpm_id family)
{
    if (mpm_family_is_held(s, family))
        return MPM_OK;
    if (s->held_count == s->held_size) {
        uint64_t size = s->held_size * 2 + 16;
        mpm_id *held = realloc(s->held, size * sizeof *held);
        if (held == NULL)
            return MPM_EPRIVATE;
        s->held = held;
        s->held_size = size;
    }
    s->held[s->held_count++] = family;
    return MPM_OK;
}

static void
let_go(mpm_store *s, mpm_id family)
{
    for (uint64_t i = 0; i < s->held_count; i++)
        if (s->held[i].birth == family.birth)
            s->held[i--] = s->held[--s->held_count];
}

mpm_status
mpm_shard_declare(mpm_store *s, mpm_id family)
{
    mpm_status status = hold(s, family);
    if (status != MPM_OK)
        return status;
    declare_held(s);
    status = note_declaration(s, family);
    if (status == MPM_OK)
        sweep(s);
    return status;
}

void
mpm_family_release(mpm_store *s, mpm_id id)
{
    let_go(s, id);
    mpm_word *declared = s->shard == NULL
                             ? NULL
                             : mpm_table_at(&s->heap, &s->shard->declared,
                                            MPM_DECLARED, id.index);
    if (declared != NULL && mpm_load_acquire(declared) == id.birth)
        mpm_store_release(declared, 0);
}

/* ---- a shard of one's own ------------------------------------------------- */

mpm_status
mpm_shard_own(mpm_store *s)
{
    mpm_store_enter(s);
    if (s->shard != NULL)
        return MPM_OK;
    mpm_status status = mpm_lease_take(&s->heap);
    if (status != MPM_OK)
        return status;
    own(s);
    status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        /* Looked at again: waiting let other threads run. */
        if (s->shard == NULL)
            status = mpm_shard_append(s, s->heap.lease);
        if (s->shard == NULL && status == MPM_OK)
            own(s);
        if (s->shard != NULL) {
            declare_held(s);
            s->unswept = true;
            sweep(s);
        }
        mpm_lock_release(&s->heap);
    }
    if (s->shard != NULL)
        return MPM_OK; /* without the lock, too: the sweep can wait */
    return status == MPM_OK ? MPM_EDAMAGED : status;
}

/* ---- cells --------------------------------------------------------------- */

uint64_t
mpm_shard_chunk_words(mpm_store *s, uint64_t chunk)
{
    mpm_word *size =
        mpm_table_at(&s->heap, &s->root->word_size, MPM_OFFSETS, chunk);
    uint64_t words = size == NULL ? 0 : mpm_load_acquire(size);
    return words > UINT32_MAX ? 0 : words; /* more is damage */
}

mpm_word *
mpm_shard_chunk(mpm_store *s, mpm_shard *shard, uint64_t chunk, uint64_t count)
{
    mpm_word *entry =
        mpm_table_at(&s->heap, &shard->chunks, MPM_OFFSETS, chunk);
    uint64_t offset = entry == NULL ? 0 : mpm_load_acquire(entry);
    return offset == 0 ? NULL : mpm_at(&s->heap, (mpm_off){offset}, count * 8);
}

mpm_word *
mpm_shard_cell(mpm_store *s, mpm_shard *shard, uint64_t words, uint64_t count)
{
    uint64_t chunk = words >> 32, first = words & UINT32_MAX;
    uint64_t size = mpm_shard_chunk_words(s, chunk);
    if (first + count > size)
        return NULL;
    mpm_word *start = mpm_shard_chunk(s, shard, chunk, size);
    return start == NULL ? NULL : start + first;
}

/* [lock held] Makes one chunk of a shard, all zeros. */
static mpm_status
make_chunk(mpm_store *s, mpm_shard *shard, uint64_t chunk)
{
    mpm_heap *h = &s->heap;
    mpm_word *entry;
    mpm_off block;
    bool fresh, spare = chunk == 0; /* a new process's first may be the last */
    uint64_t size = mpm_shard_chunk_words(s, chunk);
    if (size == 0)
        return MPM_EDAMAGED;
    mpm_status status =
        mpm_table_reach(h, &shard->chunks, MPM_OFFSETS, chunk, spare, &entry);
    if (status != MPM_OK || mpm_load_acquire(entry) != 0)
        return status;
    status = mpm_heap_take(h, size * 8, entry, spare, &block, &fresh);
    if (status == MPM_OK) {
        mpm_word *words = mpm_at(h, block, size * 8);
        for (uint64_t i = 0; !fresh && i < size; i++)
            mpm_store_release(&words[i], 0);
        MPM_CRASH_POINT("shard.chunk.zeroed");
        mpm_store_release(entry, block.raw);
    }
    mpm_heap_settle(h);
    return status;
}

mpm_status
mpm_shard_reach(mpm_store *s, mpm_shard *shard, uint64_t words, uint64_t count,
                mpm_word **cell)
{
    *cell = mpm_shard_cell(s, shard, words, count);
    if (*cell != NULL)
        return MPM_OK;
    mpm_status status = make_chunk(s, shard, words >> 32);
    if (status != MPM_OK)
        return status;
    *cell = mpm_shard_cell(s, shard, words, count);
    return *cell == NULL ? MPM_EDAMAGED : MPM_OK;
}

/* ---- asked of all shards ------------------------------------------------- */

bool
mpm_shard_is_hazardous(mpm_store *s, uint64_t birth)
{
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
        if (mpm_load_seq_cst(&shard->hazard) == birth &&
            mpm_lease_is_alive(&s->heap, mpm_load_acquire(&shard->owner)))
            return true;
    }
    return false;
}

/* A living process's shard, but for one, that notes this declaration. */
static mpm_shard *
find_declarer(mpm_store *s, mpm_id family, const mpm_shard *but)
{
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
        mpm_word *declared = mpm_table_at(&s->heap, &shard->declared,
                                          MPM_DECLARED, family.index);
        if (shard != but && declared != NULL &&
            mpm_load_acquire(declared) == family.birth &&
            mpm_lease_is_alive(&s->heap, mpm_load_acquire(&shard->owner)))
            return shard;
    }
    return NULL;
}

bool
mpm_shard_is_declared(mpm_store *s, uint64_t family, uint64_t birth)
{
    return find_declarer(s, (mpm_id){family, birth}, NULL) != NULL;
}

mpm_shard *
mpm_shard_declarer(mpm_store *s, mpm_id family)
{
    mpm_store_enter(s);
    return find_declarer(s, family, s->shard);
}
