/* Refs: what can't be shared counts privately, is poured in once it can be, and
 * nothing is lost or counted twice: also after a fork, a takeover, a removal,
 * and with other threads that run while one waits for the lock. */
#include <math.h>
#include <sys/resource.h>

#include "metric.h"

static const double bounds[] = {1, 2, 3, INFINITY};
static const metric kinds[] = {
    {.kind = MPM_COUNTER, .name = "counter"},
    {.kind = MPM_SUMMARY, .name = "summary"},
    {.kind = MPM_HISTOGRAM, .name = "h", .bounds = bounds, .bound_count = 4},
    {.kind = MPM_GAUGE, .name = "gauge"},
    {.kind = MPM_GAUGE_MODE, .mode = MPM_MODE_SUM, .name = "mode"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static mpm_status
update(mpm_store *s, family f, mpm_ref *ref, bool force)
{
    mpm_status status = mpm_ref_open(s, ref, f.id, force);
    switch (ref->kind) {
    case MPM_COUNTER: mpm_counter_add(ref->cell, 1); break;
    case MPM_SUMMARY: mpm_summary_add(ref->cell, 1, 1); break;
    case MPM_HISTOGRAM: mpm_histogram_observe(ref->cell, bounds, 4, 1); break;
    case MPM_GAUGE: mpm_ref_write_shared(s, ref, MPM_ADD, mpm_bits(1)); break;
    default: mpm_ref_write_mode(s, ref, MPM_MODE_SUM, MPM_ADD, 1);
    }
    return status;
}

/* Every kind adds up what it got; the others must agree with that. */
static double
total(mpm_store *s, family f, mpm_id series)
{
    mpm_reading r = read_series(s, f, series);
    if (f.shape->kind == MPM_SUMMARY)
        CHECK((double)r.count == r.value, "count and sum are of one instant");
    if (f.shape->kind == MPM_HISTOGRAM)
        CHECK((double)r.buckets[0] == r.value, "so are buckets and sum");
    return r.value;
}

/* Two processes' views of one store, of each kind a family with one series. */
typedef struct {
    int fd;
    mpm_store a, b;
    family f[KINDS];
    mpm_id id[KINDS];
    mpm_ref ref[KINDS]; /* b's */
} scene;

static void
set(scene *c)
{
    memset(c, 0, sizeof *c);
    c->fd = new_store();
    join(&c->a, c->fd);
    join(&c->b, c->fd);
    for (size_t i = 0; i < KINDS; i++) {
        c->f[i] = declare(&c->a, &kinds[i]);
        c->id[i] = series_of(&c->a, c->f[i], NULL);
        c->ref[i] = ref_of(&c->b, c->f[i], c->id[i]);
    }
}

static void
clear(scene *c)
{
    for (size_t i = 0; i < KINDS; i++) {
        mpm_ref_close(&c->b, &c->ref[i]);
        free(c->f[i].shape);
    }
    mpm_store_close(&c->a);
    mpm_store_close(&c->b);
    close(c->fd);
}

static void
update_all(scene *c, int times, bool force, mpm_status expected)
{
    for (size_t i = 0; i < KINDS; i++) {
        for (int k = 0; k < times; k++) {
            mpm_status status = update(&c->b, c->f[i], &c->ref[i], force);
            CHECK(status == expected, "%s: %s, not %s", kinds[i].name,
                  mpm_status_text(expected), mpm_status_text(status));
        }
    }
}

static void
check_all(scene *c, double expected, const char *when)
{
    for (size_t i = 0; i < KINDS; i++) {
        double n = total(&c->a, c->f[i], c->id[i]);
        CHECK(n == expected, "%s is %g %s, not %g", kinds[i].name, expected,
              when, n);
    }
}

/* ---- what can't be shared ------------------------------------------------ */

static void
hold_lock(void *context)
{
    mpm_store s;
    die_with_parent();
    join(&s, *(int *)context);
    NEED(mpm_lock_acquire(&s.heap) == MPM_OK);
    raise(SIGSTOP);
    mpm_lock_release(&s.heap);
}

static void
test_stopped_holder(void)
{
    scene c;
    int status;
    set(&c);
    pid_t pid = start(hold_lock, &c.fd);
    NEED(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    uint64_t began = mpm_sys_monotonic_ns();
    update_all(&c, 10, false, MPM_BUSY);
    uint64_t took = mpm_sys_monotonic_ns() - began;
    CHECK(took < 2000000000,
          "updates don't wait for a stopped process: %llu ms",
          (unsigned long long)(took / 1000000));
    check_all(&c, 0, "while the numbers are private");
    kill(pid, SIGCONT);
    CHECK(await(pid) == 0, "the holder goes on");
    update_all(&c, 1, true, MPM_OK);
    check_all(&c, 11, "once they were poured in");
    update_all(&c, 4, false, MPM_OK);
    check_all(&c, 15, "and counted on");
    clear(&c);
}

/* Where the cell has numbers of this process already: another ref's. */
static void
test_pour_into_own(void)
{
    scene c;
    set(&c);
    update_all(&c, 3, true, MPM_OK);
    for (size_t i = 0; i < KINDS; i++) {
        mpm_ref_close(&c.b, &c.ref[i]);
        c.ref[i] = ref_of(&c.b, c.f[i], c.id[i]);
        c.ref[i].record = NULL; /* not in the store yet: so it can't share */
    }
    update_all(&c, 5, false, MPM_EGONE);
    check_all(&c, 3, "without what is private");
    for (size_t i = 0; i < KINDS; i++)
        NEED(mpm_ref_bind(&c.b, &c.ref[i], c.id[i]) == MPM_OK);
    update_all(&c, 1, true, MPM_OK);
    check_all(&c, 9, "after pouring into cells that count");
    clear(&c);
}

static void
count_and_die(void *context)
{
    scene *c = context;
    join(&c->b, c->fd);
    for (size_t i = 0; i < KINDS; i++)
        c->ref[i] = ref_of(&c->b, c->f[i], c->id[i]);
    update_all(c, 4, true, MPM_OK);
    kill(getpid(), SIGKILL);
}

/* Where it has a dead owner's: a gauge with a mode folds them. */
static void
test_pour_into_dead(void)
{
    scene c;
    set(&c);
    CHECK(await(start(count_and_die, &c)) == -SIGKILL, "killed");
    check_all(&c, 4, "of the dead");
    for (size_t i = 0; i < KINDS; i++)
        c.ref[i].record = NULL;
    update_all(&c, 5, false, MPM_EGONE);
    for (size_t i = 0; i < KINDS; i++)
        NEED(mpm_ref_bind(&c.b, &c.ref[i], c.id[i]) == MPM_OK);
    update_all(&c, 1, true, MPM_OK);
    check_all(&c, 10, "the dead's and one's own");
    CHECK(mpm_load_acquire(&c.a.root->shard_count) == 3, "one shard went on");
    clear(&c);
}

/* ---- a file that can't grow ---------------------------------------------- */

/* Series until no block is left, then updates of them by a process that needs
 * chunks of its own. */
static void
count_in_full_file(void *context)
{
    bool lost = *(bool *)context;
    int fd = new_store();
    mpm_store a, b;
    join(&a, fd);
    join(&b, fd);
    metric wide = {.kind = MPM_HISTOGRAM,
                   .name = "wide",
                   .labels = {"n"},
                   .bounds = bounds,
                   .bound_count = 4};
    family f = declare(&a, &wide);
    mpm_ref refs[2000];
    for (int i = 0; i < 2000; i++) {
        char n[16];
        snprintf(n, sizeof n, "%d", i);
        refs[i] = ref_of(&b, f, series_named(&a, f, n));
    }
    NEED(mpm_shard_own(&b) == MPM_OK);
    struct rlimit limit, none = {0, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &limit);
    none.rlim_max = limit.rlim_max;
    int kept = -1;
    if (lost) { /* a daemoniser's work */
        kept = dup(b.heap.fd);
        close(b.heap.fd);
    } else {
        NEED(setrlimit(RLIMIT_FSIZE, &none) == 0);
    }
    int private = 0;
    for (int i = 0; i < 2000; i++)
        for (int k = 0; k < 3; k++)
    private += update(&b, f, &refs[i], true) != MPM_OK;
    CHECK(private > 0, "some can't be shared");
    if (lost)
        b.heap.fd = kept; /* the heap closes it */
    else
        NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int i = 0; i < 2000; i++) {
        CHECK(update(&b, f, &refs[i], true) == MPM_OK, "and then they can");
        CHECK(total(&a, f, refs[i].series) == 4, "nothing is lost");
        mpm_ref_close(&b, &refs[i]);
    }
    CHECK(mpm_heap_is_valid(&a.heap), "the heap is valid");
    free(f.shape);
    mpm_store_close(&a);
    mpm_store_close(&b);
    close(fd);
}

/* In a child: the limit is the whole process's. */
static void
test_full_file(bool lost)
{
    CHECK(await(start(count_in_full_file, &lost)) == 0,
          "a file that can't grow (%d) stops nobody", lost);
}

/* ---- removed series ------------------------------------------------------ */

static void
test_stale(void)
{
    int fd = new_store();
    mpm_store s;
    join(&s, fd);
    metric m = {.kind = MPM_COUNTER, .name = "m", .labels = {"x"}};
    family f = declare(&s, &m);
    mpm_id old = series_named(&s, f, "old");
    mpm_ref stale = ref_of(&s, f, old);
    update(&s, f, &stale, true);
    remove_series(&s, old);
    CHECK(mpm_ref_is_stale(&stale), "a removed series' ref is stale");
    mpm_id next = series_named(&s, f, "next");
    NEED(next.index == old.index);
    update(&s, f, &stale, false);
    mpm_ref fresh = ref_of(&s, f, next);
    update(&s, f, &fresh, false);
    CHECK(total(&s, f, next) == 1, "words used again begin at zero");
    for (int i = 0; i < 5; i++)
        CHECK(update(&s, f, &stale, i % 2 == 0) == MPM_OK, "scratch is quiet");
    CHECK(total(&s, f, next) == 1, "a stale ref never writes in them");
    mpm_ref late = ref_of(&s, f, old);
    update(&s, f, &late, true);
    update(&s, f, &fresh, false);
    CHECK(total(&s, f, next) == 2, "nor one that was opened later");
    NEED(mpm_ref_bind(&s, &stale, next) == MPM_OK);
    mpm_ref_close(&s, &fresh);
    update(&s, f, &stale, false);
    CHECK(total(&s, f, next) == 3,
          "bound again it counts, without the scratch");
    mpm_ref_close(&s, &stale);
    mpm_ref_close(&s, &late);
    free(f.shape);
    mpm_store_close(&s);
    close(fd);
}

/* ---- fork ---------------------------------------------------------------- */

static void
update_in_child(void *context)
{
    scene *c = context;
    die_with_parent();
    update_all(c, 2, true, MPM_OK);
}

static void
test_fork_shared(void)
{
    scene c;
    set(&c);
    update_all(&c, 3, true, MPM_OK);
    CHECK(await(start(update_in_child, &c)) == 0, "a child counts");
    update_all(&c, 1, false, MPM_OK);
    check_all(&c, 6, "of parent and child");
    clear(&c);
}

/* A child's copy of the private numbers is the parent's to pour in. */
static void
test_fork_private(void)
{
    scene c;
    set(&c);
    NEED(mpm_lock_acquire(&c.a.heap) == MPM_OK);
    update_all(&c, 3, false, MPM_BUSY);
    mpm_lock_release(&c.a.heap);
    CHECK(await(start(update_in_child, &c)) == 0, "a child counts");
    check_all(&c, 2, "the child's alone");
    update_all(&c, 1, true, MPM_OK);
    check_all(&c, 6, "of parent and child, none twice");
    clear(&c);
}

/* ---- other threads while one waits for the lock -------------------------- */

static struct {
    scene *scene;
    mpm_ref *ref, *other;
    mpm_id series; /* to bind the ref to meanwhile */
    family family;
    bool end_of_wait; /* the lock is free afterwards */
    bool only_bind;   /* and don't update through it */
    int calls;
} meanwhile;

static void
run_meanwhile(uint64_t nanoseconds)
{
    (void)nanoseconds;
    scene *c = meanwhile.scene;
    if (meanwhile.calls++ > 0)
        return;
    mpm_lock_release(&c->a.heap);
    if (meanwhile.series.birth != 0)
        NEED(mpm_ref_bind(&c->b, meanwhile.ref, meanwhile.series) == MPM_OK);
    if (!meanwhile.only_bind)
        update(&c->b, meanwhile.family, meanwhile.ref, true);
    if (!meanwhile.end_of_wait)
        NEED(mpm_lock_acquire(&c->a.heap) == MPM_OK);
}

/* Another thread shares the ref; this one gets the lock, or gives up. */
static void
test_shared_meanwhile(bool end_of_wait)
{
    scene c;
    set(&c);
    memset(&meanwhile, 0, sizeof meanwhile);
    meanwhile.scene = &c;
    meanwhile.ref = &c.ref[0];
    meanwhile.family = c.f[0];
    meanwhile.end_of_wait = end_of_wait;
    NEED(mpm_lock_acquire(&c.a.heap) == MPM_OK);
    c.b.heap.wait = run_meanwhile;
    update(&c.b, c.f[0], &c.ref[0], true);
    if (!end_of_wait)
        mpm_lock_release(&c.a.heap);
    update(&c.b, c.f[0], &c.ref[0], false);
    CHECK(total(&c.a, c.f[0], c.id[0]) == 3,
          "two threads that share one ref at a time lose nothing (%d)",
          end_of_wait);
    c.b.heap.wait = mpm_sys_sleep;
    clear(&c);
}

/* Another thread binds it to another series: neither's cell is harmed. */
static void
test_bound_meanwhile(bool only_bind)
{
    scene c;
    metric m = {.kind = MPM_COUNTER, .name = "m", .labels = {"x"}};
    set(&c);
    family f = declare(&c.a, &m);
    mpm_id one = series_named(&c.a, f, "1"), two = series_named(&c.a, f, "2");
    mpm_ref ref = ref_of(&c.b, f, one);
    memset(&meanwhile, 0, sizeof meanwhile);
    meanwhile.scene = &c;
    meanwhile.ref = &ref;
    meanwhile.family = f;
    meanwhile.series = two;
    meanwhile.only_bind = only_bind;
    meanwhile.end_of_wait = true;
    NEED(mpm_shard_own(&c.b) == MPM_OK); /* so that it waits for the chunk */
    NEED(mpm_lock_acquire(&c.a.heap) == MPM_OK);
    c.b.heap.wait = run_meanwhile;
    update(&c.b, f, &ref, true);
    update(&c.b, f, &ref, true);
    CHECK(total(&c.a, f, one) == 0 &&
              total(&c.a, f, two) == (only_bind ? 2 : 3),
          "what is bound meanwhile counts for what it is bound to");
    c.b.heap.wait = mpm_sys_sleep;
    mpm_ref_close(&c.b, &ref);
    free(f.shape);
    clear(&c);
}

/* ---- exemplars ------------------------------------------------------------ */

/* An exemplar that finds no room is left out; and room is looked for once a
 * second, not at each of the updates that have one. */
static void
test_exemplar_waits(void)
{
    scene c;
    set(&c);
    const mpm_exemplar e = {.time = 1, .value = 1, .bytes = 1, .text = "x"};
    mpm_ref *ref = &c.ref[0];
    NEED(update(&c.b, c.f[0], ref, true) == MPM_OK);
    lock(&c.a);
    CHECK(mpm_exemplar_note(&c.b, ref, 0, &e) == MPM_BUSY, "no room now");
    mpm_lock_release(&c.a.heap);
    CHECK(mpm_exemplar_note(&c.b, ref, 0, &e) == MPM_BUSY, "nor tried at once");
    CHECK(c.b.retry_exemplar_ns > mpm_sys_monotonic_ns(), "but later");
    c.b.retry_exemplar_ns = 0; /* later */
    CHECK(mpm_exemplar_note(&c.b, ref, 0, &e) == MPM_OK, "then there is room");
    clear(&c);
}

/* ---- a store without a file ---------------------------------------------- */

typedef struct {
    mpm_store *store;
    family family;
    mpm_id id;
} fileless;

static void
count_without_file(void *context)
{
    const fileless *c = context;
    mpm_ref ref = ref_of(c->store, c->family, c->id);
    for (int i = 0; i < 5; i++)
        CHECK(update(c->store, c->family, &ref, true) == MPM_OK,
              "a child shares what it counts");
}

/* An empty file is for its locks; the pages are nobody's. */
static void
test_fileless(void)
{
    mpm_store s;
    uint64_t unreached, bytes;
    int fd = nameless_file();
    NEED(mpm_store_open_fileless(&s, fd, 1 << 20, 0) == MPM_OK);
    family f = declare(&s, &kinds[0]);
    mpm_id id = series_of(&s, f, NULL);
    fileless c = {&s, f, id};
    mpm_ref ref = ref_of(&s, f, id);
    NEED(update(&s, f, &ref, true) == MPM_OK);
    for (int i = 0; i < 3; i++)
        NEED(await(start(count_without_file, &c)) == 0);
    CHECK(total(&s, f, id) == 16, "of all processes: %g", total(&s, f, id));
    CHECK(mpm_shard_count(&s) == 3, "a dead child's shard is taken over");
    NEED(mpm_sys_size(fd, &bytes) == MPM_OK);
    CHECK(bytes == 0, "the file stays empty");
    lock(&s);
    const char *broken = mpm_store_check(&s, &unreached);
    CHECK(broken == NULL, "whole, but: %s", broken);
    mpm_lock_release(&s.heap);
    mpm_ref_close(&s, &ref);
    free(f.shape);
    mpm_store_close(&s);
    close(fd);
}

int
main(void)
{
    bounded(100);
    test_fileless();
    test_stopped_holder();
    test_pour_into_own();
    test_pour_into_dead();
    test_full_file(false);
    test_full_file(true);
    test_stale();
    test_fork_shared();
    test_fork_private();
    test_shared_meanwhile(true);
    test_shared_meanwhile(false);
    test_bound_meanwhile(false);
    test_bound_meanwhile(true);
    test_exemplar_waits();
    return verdict();
}
