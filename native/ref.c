/* ref.c: a series as one process updates it: what stands between the hot path
 * and its cell on the first write, after a fork, and when sharing fails. */
#include <stdlib.h>

#include "core.h"

#define NOBODY (UINT64_MAX - 1) /* lease in a private gauge with a mode */

/* Word 0 of a private gauge or Enum: what pouring it must know.  0: nothing
 * was written but, without a mode, additions. */
#define NOTE_SET ((uint64_t)1) /* set, and not only added to */
#define NOTE_MODE 8            /* bits below the mode */

bool
mpm_ref_is_stale(const mpm_ref *ref)
{
    return ref->record != NULL &&
           mpm_load_acquire(&ref->record->birth) != ref->series.birth;
}

static bool
is_shared(const mpm_ref *ref)
{
    return ref->kind == MPM_GAUGE || ref->kind == MPM_ENUM;
}

/* ---- private memory ------------------------------------------------------ */

static void
drop_private(mpm_ref *ref)
{
    if (ref->cell == ref->private_cell)
        ref->cell = NULL;
    free(ref->private_cell);
    ref->private_cell = NULL;
    ref->scratch = false;
}

/* Points the ref at memory of this process's own. */
static mpm_status
go_private(mpm_store *s, mpm_ref *ref, bool scratch)
{
    if (ref->private_cell == NULL)
        ref->private_cell = calloc(ref->count, sizeof *ref->private_cell);
    if (ref->private_cell == NULL) {
        ref->cell = NULL; /* was perhaps a parent's, or another series' */
        ref->epoch = MPM_NEVER;
        return MPM_EPRIVATE;
    }
    ref->private_epoch = s->epoch;
    ref->scratch = scratch;
    ref->cell = ref->private_cell;
    return MPM_OK;
}

/* What it counts from now on nobody counts.  Being scratch is final for this
 * series, so the hot path may take it for good until the next fork. */
static mpm_status
go_scratch(mpm_store *s, mpm_ref *ref)
{
    mpm_status status = go_private(s, ref, true);
    if (status == MPM_OK)
        ref->epoch = s->epoch;
    return status;
}

/* ---- who writes a range here --------------------------------------------- */

/* The refs of one range are of one series: older ones, whose series was
 * removed, must not go on writing in words that are another series' now.
 * Several of one series, as unpickling makes them, may write side by side:
 * they are of one process, whose updates come one after the other. */
static mpm_status
claim_range(mpm_store *s, mpm_ref *ref)
{
    uint64_t index = ref->series.index;
    if (index >= s->refs_size) {
        uint64_t size = index * 2 + 64;
        mpm_ref **refs = realloc(s->refs, size * sizeof *refs);
        if (refs == NULL)
            return MPM_EPRIVATE;
        memset(refs + s->refs_size, 0, (size - s->refs_size) * sizeof *refs);
        s->refs = refs;
        s->refs_size = size;
    }
    mpm_ref **first = &s->refs[index];
    while (*first != NULL && !MPM_MUTANT("range.unclaimed") &&
           (*first)->series.birth != ref->series.birth) {
        mpm_status status = go_scratch(s, *first);
        if (status != MPM_OK)
            return status;
        *first = (*first)->twin;
    }
    for (const mpm_ref *each = *first; each != NULL; each = each->twin)
        if (each == ref)
            return MPM_OK;
    ref->twin = *first;
    *first = ref;
    return MPM_OK;
}

static void
leave_range(mpm_store *s, const mpm_ref *ref)
{
    uint64_t index = ref->series.index;
    if (ref->series.birth == 0 || index >= s->refs_size)
        return;
    mpm_ref **at = &s->refs[index];
    while (*at != NULL && *at != ref)
        at = &(*at)->twin;
    if (*at != NULL)
        *at = ref->twin;
}

/* ---- sharing ------------------------------------------------------------- */

/* Is this process noted as one that uses the family? */
static bool
is_declared(mpm_store *s, mpm_id family)
{
    mpm_word *declared =
        mpm_table_at(&s->heap, &s->shard->declared, MPM_DECLARED, family.index);
    return declared != NULL && mpm_load_acquire(declared) == family.birth;
}

/* The cell, and the note that this process uses its family: both without the
 * lock if they are there. */
static mpm_status
reach_cell(mpm_store *s, mpm_ref *ref, mpm_id family, mpm_word **cell)
{
    uint64_t words = mpm_load_acquire(&ref->record->words);
    mpm_shard *shard = is_shared(ref) ? mpm_shard_at(s, 0) : s->shard;
    if (shard == NULL)
        return MPM_EDAMAGED;
    *cell = mpm_shard_cell(s, shard, words, ref->count);
    if (*cell != NULL && is_declared(s, family))
        return MPM_OK;
    mpm_status status = mpm_lock_acquire(&s->heap);
    if (status != MPM_OK)
        return status;
    status = mpm_shard_reach(s, shard, words, ref->count, cell);
    /* While this waited the family may have died, and its index be another's:
     * also that of the family which another thread declared for this ref. */
    if (status == MPM_OK && mpm_family_is_alive(s, family))
        status = mpm_shard_declare(s, family);
    mpm_lock_release(&s->heap);
    return status;
}

/* The value is this process's own: what it set, or what it added to what it
 * had, and as old as when it was written. */
static void
pour_mode(mpm_store *s, const mpm_word *from, mpm_word *cell)
{
    uint64_t note = mpm_load_relaxed(&from[0]);
    uint64_t n = mpm_load_relaxed(&from[1]);
    const mpm_word *slot = from + 2 + (n & 1) * 4;
    if (n != 0)
        mpm_mode_write(cell, s->heap.lease, (mpm_mode)(note >> NOTE_MODE),
                       mpm_double(mpm_load_relaxed(&slot[1])),
                       (note & NOTE_SET) == 0,
                       mpm_double(mpm_load_relaxed(&slot[2])));
}

/* Lets what was counted privately count for all. */
static void
pour(mpm_store *s, mpm_ref *ref, mpm_word *cell)
{
    const mpm_word *from = ref->private_cell;
    bool set = (mpm_load_relaxed(&from[0]) & NOTE_SET) != 0;
    switch (ref->kind) {
    case MPM_GAUGE:
    case MPM_ENUM:
        ref->cell = cell;
        if (ref->kind == MPM_GAUGE || set)
            mpm_ref_write_shared(s, ref, set ? MPM_SET : MPM_ADD,
                                 mpm_load_relaxed(&from[1]));
        break;
    case MPM_GAUGE_MODE: pour_mode(s, from, cell); break;
    default: mpm_cell_pour(cell, from, ref->kind, ref->count);
    }
}

/* Lets the ref write in this cell, with what it counted privately. */
static void
settle(mpm_store *s, mpm_ref *ref, mpm_word *cell)
{
    uint64_t birth = ref->series.birth;
    bool counts = mpm_load_acquire(&cell[0]) == birth;
    bool whole = ref->private_cell != NULL && !counts && !is_shared(ref) &&
                 ref->kind != MPM_GAUGE_MODE;
    if (!is_shared(ref))
        mpm_cell_take_up(cell, ref->kind, ref->count, birth,
                         whole ? ref->private_cell : NULL);
    if (ref->private_cell != NULL && !whole)
        pour(s, ref, cell);
    drop_private(ref);
    ref->cell = cell;
    ref->epoch = s->epoch;
}

static mpm_status
share(mpm_store *s, mpm_ref *ref, mpm_id family)
{
    mpm_word *cell;
    uint64_t birth = ref->series.birth;
    mpm_status status = mpm_shard_own(s);
    if (status == MPM_OK)
        status = reach_cell(s, ref, family, &cell);
    /* Waiting for the lock let other threads run: one of them may have shared
     * the ref, or bound it to another series. */
    if (ref->epoch == s->epoch)
        return MPM_OK;
    if (status == MPM_OK && ref->series.birth != birth)
        return MPM_BUSY;
    if (status != MPM_OK)
        return status;
    /* Looked at again now that the shard is one's own: a dead owner may have
     * counted the words' next series in it (tests/models/test_take_up.py), and
     * one of our own threads may have claimed the range for it. */
    if (mpm_ref_is_stale(ref)) {
        if (!mpm_family_is_alive(s, family))
            return MPM_EGONE; /* its family may be declared again */
        return go_scratch(s, ref);
    }
    if (!is_shared(ref))
        status = claim_range(s, ref);
    if (status == MPM_OK)
        settle(s, ref, cell);
    return status;
}

/* ---- the interface ------------------------------------------------------- */

mpm_status
mpm_ref_bind(mpm_store *s, mpm_ref *ref, mpm_id series)
{
    leave_range(s, ref);
    ref->epoch = MPM_NEVER;
    ref->record = mpm_series_at(s, series.index);
    if (ref->record == NULL)
        return MPM_EDAMAGED;
    ref->series = series;
    ref->first = mpm_load_acquire(&ref->record->first);
    if (ref->scratch)
        drop_private(ref); /* counted for a series that is gone */
    return MPM_OK;
}

void
mpm_ref_unbind(mpm_store *s, mpm_ref *ref)
{
    leave_range(s, ref);
    ref->epoch = MPM_NEVER;
    ref->record = NULL;
    ref->series = (mpm_id){0, 0};
    if (ref->scratch)
        drop_private(ref);
}

mpm_status
mpm_ref_open(mpm_store *s, mpm_ref *ref, mpm_id family, bool force)
{
    mpm_store_enter(s);
    if (ref->epoch == s->epoch)
        return MPM_OK;
    if (ref->private_epoch != s->epoch)
        drop_private(ref); /* a child's copy is the parent's to pour in */
    if (mpm_ref_is_stale(ref))
        return go_scratch(s, ref);
    uint64_t now = mpm_sys_monotonic_ns();
    mpm_status status = ref->record == NULL ? MPM_EGONE : MPM_BUSY;
    bool due = ref->private_cell == NULL || force || now >= s->retry_ns;
    if (ref->record != NULL && due)
        status = share(s, ref, family);
    if (status == MPM_OK)
        return MPM_OK;
    if (due) /* without a series, too: its binding has just been tried */
        s->retry_ns = now + MPM_RETRY;
    return go_private(s, ref, false) == MPM_OK ? status : MPM_EPRIVATE;
}

void
mpm_ref_close(mpm_store *s, mpm_ref *ref)
{
    leave_range(s, ref);
    if (ref->private_cell != NULL && !ref->scratch && !s->heap.read_only)
        mpm_add_relaxed(&s->root->lost, 1); /* only a count */
    drop_private(ref);
    ref->epoch = MPM_NEVER;
    ref->cell = NULL;
}

void
mpm_ref_write_shared(mpm_store *s, mpm_ref *ref, mpm_write how, uint64_t bits)
{
    mpm_word *cell = ref->cell;
    if (cell == ref->private_cell) {
        if (how == MPM_SET)
            mpm_store_relaxed(&cell[0], NOTE_SET); /* nobody else sees it */
    } else {
        /* First the hazard, then the look: who removes the series and gives
         * its words to another clears the birth, then looks for hazards. */
        if (!MPM_MUTANT("hazard.unnamed"))
            mpm_exchange_seq_cst(&s->shard->hazard, ref->series.birth);
        MPM_CRASH_POINT("cell.shared.named");
        if (mpm_load_seq_cst(&ref->record->birth) != ref->series.birth) {
            mpm_store_release(&s->shard->hazard, 0);
            return;
        }
        MPM_CRASH_POINT("cell.shared.seen");
    }
    if (how == MPM_SET)
        mpm_store_release(&cell[1], bits);
    else
        mpm_gauge_add(cell, mpm_double(bits));
    if (cell != ref->private_cell) {
        MPM_CRASH_POINT("cell.shared.written");
        mpm_store_release(&s->shard->hazard, 0);
    }
}

void
mpm_ref_write_mode(mpm_store *s, mpm_ref *ref, mpm_mode mode, mpm_write how,
                   double x)
{
    mpm_word *cell = ref->cell;
    mpm_mode fold = mode & ~(unsigned)MPM_MODE_LIVE;
    bool is_private = cell == ref->private_cell;
    if (is_private) { /* nobody else sees it */
        uint64_t set = mpm_load_relaxed(&cell[0]) & NOTE_SET;
        mpm_store_relaxed(&cell[0], (uint64_t)fold << NOTE_MODE |
                                        (how == MPM_SET ? NOTE_SET : set));
    }
    mpm_mode_write(cell, is_private ? NOBODY : s->heap.lease, fold, x,
                   how == MPM_ADD, (double)mpm_sys_realtime_ns() / 1e9);
}
