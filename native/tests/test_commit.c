/* Updates killed at any instruction: what is left is of one instant, no total
 * goes backwards, and the next process takes the shard over and goes on.  So
 * it is with exemplars, which are shown whole or not at all.
 *
 * Here the refs are opened, too: shard, chunk and cells are new. */
#include <math.h>

#include "killing.h"
#include "metric.h"

static const double bounds[] = {0.5, 1, 2, INFINITY};
static const metric kinds[] = {
    {.kind = MPM_COUNTER, .name = "counter"},
    {.kind = MPM_SUMMARY, .name = "summary"},
    {.kind = MPM_HISTOGRAM, .name = "h", .bounds = bounds, .bound_count = 4},
    {.kind = MPM_GAUGE, .name = "gauge"},
    {.kind = MPM_GAUGE_MODE, .mode = MPM_MODE_SUM, .name = "mode"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static mpm_store store;
static family families[KINDS];
static mpm_id series[KINDS];

/* Declared by a process that is dead when the patient comes. */
static void
find_all(mpm_store *s)
{
    for (size_t i = 0; i < KINDS; i++) {
        free(families[i].shape);
        families[i] = declare(s, &kinds[i]);
        series[i] = series_of(s, families[i], NULL);
    }
}

static void
format(int fd)
{
    mpm_store s;
    NEED(mpm_store_format(fd, 1 << 20, 0) == MPM_OK);
    join(&s, fd);
    find_all(&s);
    mpm_store_close(&s);
}

static void
prepare(int fd)
{
    join(&store, fd);
    find_all(&store);
}

static void
update(mpm_store *s, size_t i, mpm_ref *ref)
{
    NEED(mpm_ref_open(s, ref, families[i].id, true) == MPM_OK);
    switch (ref->kind) {
    case MPM_COUNTER: mpm_counter_add(ref->cell, 1); break;
    case MPM_SUMMARY: mpm_summary_add(ref->cell, 1, 1); break;
    case MPM_HISTOGRAM: mpm_histogram_observe(ref->cell, bounds, 4, 1); break;
    case MPM_GAUGE: mpm_ref_write_shared(s, ref, MPM_ADD, mpm_bits(1)); break;
    default: mpm_ref_write_mode(s, ref, MPM_MODE_SUM, MPM_ADD, 1);
    }
}

#define LETTERS 24 /* words enough to be torn between */

/* Of the letter n: it says n in every one of its words. */
static void
note(mpm_store *s, mpm_ref *ref, int n)
{
    mpm_exemplar e = {.time = n, .value = n, .bytes = LETTERS};
    memset(e.text, 'a' + n, LETTERS);
    if (ref->kind == MPM_COUNTER || ref->kind == MPM_HISTOGRAM)
        NEED(mpm_exemplar_note(s, ref, 0, &e) == MPM_OK);
}

static bool
is_exemplar_whole(mpm_store *s, size_t i)
{
    mpm_walk w;
    mpm_exemplar e = {.bytes = 0};
    mpm_budget budget = mpm_budget_of(&s->heap);
    if (kinds[i].kind == MPM_COUNTER || kinds[i].kind == MPM_HISTOGRAM) {
        mpm_walk_begin(&w, s, families[i].id, &budget);
        if (mpm_walk_next(&w))
            mpm_exemplar_read(&w, families[i].shape, 0, &e);
        mpm_walk_end(&w);
    }
    bool whole = e.bytes == 0 || (e.bytes == LETTERS && e.time == e.value);
    for (uint32_t k = 0; k < e.bytes; k++)
        whole = whole && e.text[k] - 'a' == (int)e.value;
    return whole;
}

static void
work(void)
{
    for (size_t i = 0; i < KINDS; i++) {
        mpm_ref ref = ref_of(&store, families[i], series[i]);
        for (int k = 0; k < 3; k++) {
            update(&store, i, &ref);
            note(&store, &ref, k + 1);
        }
        mpm_ref_close(&store, &ref);
    }
}

/* Takes the lock, from the dead if need be, and a shard. */
static void
repair(int fd)
{
    mpm_store s;
    join(&s, fd);
    if (mpm_lock_acquire(&s.heap) == MPM_OK)
        mpm_lock_release(&s.heap);
    mpm_shard_own(&s);
    mpm_store_close(&s);
}

/* -1: count and sum are of two instants. */
static double
total(mpm_store *s, size_t i)
{
    mpm_reading r = read_series(s, families[i], series[i]);
    if ((kinds[i].kind == MPM_SUMMARY && (double)r.count != r.value) ||
        (kinds[i].kind == MPM_HISTOGRAM && (double)r.buckets[1] != r.value))
        return -1;
    return r.value;
}

/* What a scrape sees, what is left after a takeover, and one update more. */
static const char *
look_at(mpm_store *s)
{
    double before[KINDS];
    for (size_t i = 0; i < KINDS; i++) {
        before[i] = total(s, i);
        if (before[i] < 0)
            return "count and sum are of two instants";
        if (!is_exemplar_whole(s, i))
            return "an exemplar is torn";
    }
    find_all(s);
    for (size_t i = 0; i < KINDS; i++) {
        if (total(s, i) != before[i])
            return "a takeover changes a total";
        mpm_ref ref = ref_of(s, families[i], series[i]);
        update(s, i, &ref);
        note(s, &ref, 0);
        mpm_ref_close(s, &ref);
        if (!is_exemplar_whole(s, i))
            return "the next process's exemplar is torn";
        if (total(s, i) != before[i] + 1)
            return "the next process doesn't go on where the dead one was";
    }
    if (mpm_load_acquire(&s->root->shard_count) != 2)
        return "there is a shard too many";
    return mpm_heap_is_valid(&s->heap) ? NULL : "the heap isn't valid";
}

static const char *
look(int fd)
{
    mpm_store s;
    join(&s, fd);
    const char *wrong = look_at(&s);
    mpm_store_close(&s);
    return wrong;
}

int
main(int argc, char **argv)
{
    static const patient p = {format, prepare, work, repair, look};
    uint64_t seed = seed_of(argc, argv);
    bounded(110);
    kill_by_instruction(&p);
#ifdef MPM_CRASH_POINTS
    kill_by_name(&p, 20);
#endif
    kill_by_clock(&p, SANITIZED ? 30 : 200, &seed);
    for (size_t i = 0; i < KINDS; i++)
        free(families[i].shape);
    return verdict();
}
