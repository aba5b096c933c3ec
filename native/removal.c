/* removal.c: series removed by whoever may not wait for the lock.
 *
 * A series is gone with one store, of birth 0; for that nobody needs the lock.
 * What is derived from who is live does: its slot, its record and its entry in
 * the index stay behind, and `untidy` lets the next owner of the lock make all
 * of that anew (rebuild.c).  Nobody uses the record or its words before that.
 *
 * So a process that was stopped inside the lock keeps nobody from removing.
 * What it finds when it goes on: a series may be gone at any time, also one
 * that it has just found under the lock.  It gets an id whose birth isn't the
 * record's any more, as if the removal had come a moment later. */
#include "core.h"

/* The hazard word names it until `untidy` is set: who takes the shard of one
 * that was killed in between sets it then (tests/models/test_removal.py).  A
 * process that can't have a shard either may leave a record behind in that
 * case, until something else is made anew. */
static void
retire(mpm_store *s, mpm_id id)
{
    mpm_series *series = mpm_series_at(s, id.index);
    uint64_t birth = id.birth;
    if (series == NULL)
        return;
    if (s->shard != NULL)
        mpm_exchange_seq_cst(&s->shard->hazard, birth);
    MPM_CRASH_POINT("removal.named");
    (void)mpm_cas_seq_cst(&series->birth, &birth, 0); /* else gone already */
    MPM_CRASH_POINT("removal.retired");
    mpm_store_release(&s->root->untidy, 1);
    MPM_CRASH_POINT("removal.announced");
    if (s->shard != NULL)
        mpm_store_release(&s->shard->hazard, 0);
}

void
mpm_series_remove_like(mpm_store *s, mpm_id family, const mpm_string *values,
                       uint32_t count)
{
    mpm_walk w;
    bool patient = true; /* waits once, not for each series */
    mpm_budget budget = mpm_budget_of(&s->heap);
    if (family.birth == 0) /* not declared yet */
        return;
    (void)mpm_shard_own(s); /* goes on without one, too */
    mpm_walk_begin(&w, s, family, &budget);
    while (mpm_walk_next(&w)) {
        if (!mpm_text_has(w.text, values, count))
            continue;
        patient = patient && mpm_lock_acquire(&s->heap) == MPM_OK;
        if (patient) {
            mpm_series_remove(s, w.id);
            mpm_lock_release(&s->heap);
        } else {
            retire(s, w.id);
        }
    }
    mpm_walk_end(&w);
}
