/* metric.h: families and series for the tests of those who count in them. */
#ifndef MPM_TESTS_METRIC_H
#define MPM_TESTS_METRIC_H

#include <signal.h>
#include <sys/prctl.h>

#include "check.h"

/* The test ends after so long whatever it waits for, and takes the children
 * with it that asked for that. */
static inline void
bounded(unsigned seconds)
{
    alarm(seconds);
}

static inline void
die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A store in a file without a name. */
static inline int
new_store(void)
{
    int fd = nameless_file();
    NEED(mpm_store_format(fd, 1 << 28, 0) == MPM_OK);
    return fd;
}

static inline mpm_store *
join(mpm_store *s, int fd)
{
    NEED(mpm_store_open(s, fd, NULL, false) == MPM_OK);
    return s;
}

/* The lock, which on a busy machine an update may do without, but not a test:
 * its patience is this many tries. */
static inline void
lock(mpm_store *s)
{
    for (int i = 0; mpm_lock_acquire(&s->heap) != MPM_OK; i++) {
        NEED(i < 5000);
        mpm_sys_sleep(1000000);
    }
}

static inline void
own_shard(mpm_store *s)
{
    for (int i = 0; mpm_shard_own(s) != MPM_OK; i++) {
        NEED(i < 5000);
        mpm_sys_sleep(1000000);
    }
}

/* ---- families ------------------------------------------------------------ */

typedef struct {
    mpm_kind kind;
    unsigned mode;
    const char *name, *labels[4], *states[4];
    const double *bounds;
    uint32_t bound_count;
    const char *help, *unit;
} metric;

static inline uint32_t
count_strings(const char *const strings[4])
{
    uint32_t n = 0;
    while (n < 4 && strings[n] != NULL)
        n++;
    return n;
}

static inline mpm_shape *
shape_of(const metric *m)
{
    mpm_buffer b = {0};
    mpm_shape head = {.kind = m->kind, .mode = m->mode};
    const char *all[10] = {"", m->name};
    head.labels = count_strings(m->labels);
    head.states = count_strings(m->states);
    head.bounds = m->bound_count;
    memcpy(all + 2, m->labels, head.labels * sizeof *all);
    memcpy(all + 2 + head.labels, m->states, head.states * sizeof *all);
    uint32_t strings = 2 + head.labels + head.states;
    mpm_buffer_add(&b, (const char *)&head, sizeof head);
    mpm_buffer_add(&b, (const char *)m->bounds, m->bound_count * 8);
    for (uint32_t i = 0; i < strings; i++) {
        uint32_t length = (uint32_t)strlen(all[i]);
        mpm_buffer_add(&b, (const char *)&length, 4);
    }
    for (uint32_t i = 0; i < strings; i++)
        mpm_buffer_add(&b, all[i], strlen(all[i]));
    mpm_shape *shape = (mpm_shape *)(void *)b.bytes;
    shape->bytes = (uint32_t)b.length;
    NEED(!b.failed && mpm_shape_is_valid(shape, b.length));
    return shape;
}

static inline mpm_help *
help_of(const metric *m)
{
    mpm_buffer b = {0};
    mpm_help head = {0};
    const char *help = m->help == NULL ? "Help." : m->help;
    const char *unit = m->unit == NULL ? "" : m->unit;
    head.help = (uint32_t)strlen(help);
    head.unit = (uint32_t)strlen(unit);
    mpm_buffer_add(&b, (const char *)&head, sizeof head);
    mpm_buffer_add(&b, help, head.help);
    mpm_buffer_add(&b, unit, head.unit);
    mpm_help *block = (mpm_help *)(void *)b.bytes;
    NEED(block != NULL);
    block->bytes = (uint32_t)b.length;
    return block;
}

/* A family as one process has it; the shape is freed by the caller. */
typedef struct {
    mpm_shape *shape;
    mpm_id id;
} family;

static inline family
declare(mpm_store *s, const metric *m)
{
    family f = {.shape = shape_of(m)};
    mpm_help *help = help_of(m);
    own_shard(s);
    lock(s);
    NEED(mpm_family_declare(s, f.shape, help, false, &f.id) == MPM_OK);
    mpm_lock_release(&s->heap);
    free(help);
    return f;
}

/* ---- series -------------------------------------------------------------- */

/* Finds or makes the series with these label values. */
static inline mpm_id
series_of(mpm_store *s, family f, const char *const values[])
{
    mpm_id id;
    mpm_string strings[4];
    for (uint32_t i = 0; i < f.shape->labels; i++)
        strings[i] = (mpm_string){values[i], (uint32_t)strlen(values[i])};
    lock(s);
    NEED(mpm_series_get(s, f.id, f.shape, strings, &id) == MPM_OK);
    mpm_lock_release(&s->heap);
    return id;
}

static inline mpm_id
series_named(mpm_store *s, family f, const char *value)
{
    const char *values[1] = {value};
    return series_of(s, f, values);
}

static inline void
remove_series(mpm_store *s, mpm_id id)
{
    lock(s);
    NEED(mpm_series_remove(s, id) == MPM_OK);
    mpm_lock_release(&s->heap);
}

static inline mpm_ref
ref_of(mpm_store *s, family f, mpm_id series)
{
    mpm_ref ref = {.kind = (mpm_kind)f.shape->kind,
                   .count = mpm_shape_words(f.shape)};
    NEED(mpm_ref_bind(s, &ref, series) == MPM_OK);
    return ref;
}

#define MANY_BUCKETS 64

/* One series over all shards; buckets and scratch are static. */
static inline mpm_reading
read_series(mpm_store *s, family f, mpm_id series)
{
    static _Thread_local uint64_t buckets[2][MANY_BUCKETS];
    mpm_reading reading = {.buckets = buckets[0], .scratch = buckets[1]};
    NEED(f.shape->bounds <= MANY_BUCKETS);
    mpm_series_read(s, f.shape, mpm_series_at(s, series.index), series.birth,
                    &reading);
    return reading;
}

#endif
