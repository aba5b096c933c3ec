/* Shards: as many as processes lived at one time, taken over from the dead with
 * their numbers, and made of chunks; the shared shard's words, which nobody
 * gets while somebody may still be writing them. */
#include <math.h>

#include "metric.h"

static const metric jobs = {.kind = MPM_COUNTER, .name = "jobs"};
static const metric level = {
    .kind = MPM_GAUGE, .name = "level", .labels = {"of"}};

/* A process's whole life: it joins, counts, and ends well or badly. */
typedef struct {
    int fd;
    unsigned count;
    bool killed;
    int ready, go; /* ends of pipes; -1: doesn't wait */
} worker;

static void
count_in(mpm_store *s, unsigned count)
{
    family f = declare(s, &jobs);
    mpm_ref ref = ref_of(s, f, series_of(s, f, NULL));
    NEED(mpm_ref_open(s, &ref, f.id, true) == MPM_OK);
    for (unsigned i = 0; i < count; i++)
        mpm_counter_add(ref.cell, 1);
    mpm_ref_close(s, &ref);
    free(f.shape);
}

static void
work(void *context)
{
    const worker *w = context;
    mpm_store s;
    char byte = 0;
    die_with_parent();
    join(&s, w->fd);
    count_in(&s, w->count);
    if (w->ready >= 0) {
        NEED(write(w->ready, &byte, 1) == 1);
        NEED(read(w->go, &byte, 1) == 1);
    }
    if (w->killed)
        kill(getpid(), SIGKILL);
}

/* The store as a process sees it that never wrote. */
typedef struct {
    double total;
    uint64_t shards, used;
    bool valid;
} sight;

static sight
look(int fd)
{
    mpm_store s;
    sight seen = {0};
    join(&s, fd);
    mpm_family *f = mpm_family_at(&s, 0);
    mpm_series *series = mpm_series_at(&s, 0);
    NEED(f != NULL && series != NULL);
    family jobs_family = {.shape = shape_of(&jobs)};
    mpm_id id = {0, mpm_load_acquire(&series->birth)};
    seen.total = read_series(&s, jobs_family, id).value;
    seen.shards = mpm_load_acquire(&s.root->shard_count);
    seen.used = mpm_load_acquire(&s.heap.header->used_bytes);
    seen.valid = mpm_heap_is_valid(&s.heap);
    free(jobs_family.shape);
    mpm_store_close(&s);
    return seen;
}

/* ---- taking over --------------------------------------------------------- */

static void
test_one_after_the_other(void)
{
    int fd = new_store();
    int rounds = SANITIZED || is_emulated() ? 100 : 10000; /* forks are slow */
    worker w = {fd, 3, false, -1, -1};
    await(start(work, &w));
    sight first = look(fd);
    for (int i = 1; i < rounds; i++) {
        w.killed = i % 2 == 1;
        int status = await(start(work, &w));
        CHECK(status == (w.killed ? -SIGKILL : 0), "a worker works");
    }
    sight last = look(fd);
    CHECK(last.total == 3.0 * rounds, "the dead's numbers stay: %g",
          last.total);
    CHECK(last.shards == 2 && first.shards == 2,
          "one process at a time is one shard beside the shared one");
    CHECK(last.used == first.used && last.valid,
          "many processes leave a heap as large as the first one's: %llu, %llu",
          (unsigned long long)first.used, (unsigned long long)last.used);
    close(fd);
}

#define TOGETHER 8

static void
run_together(worker *w)
{
    int ready[2], go[2];
    char bytes[TOGETHER] = {0};
    pid_t pids[TOGETHER];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    w->ready = ready[1];
    w->go = go[0];
    for (int i = 0; i < TOGETHER; i++)
        pids[i] = start(work, w);
    for (int i = 0; i < TOGETHER; i++)
        NEED(read(ready[0], bytes, 1) == 1);
    NEED(write(go[1], bytes, TOGETHER) == TOGETHER);
    for (int i = 0; i < TOGETHER; i++)
        await(pids[i]);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

static void
test_together(void)
{
    int fd = new_store();
    worker w = {fd, 5, false, -1, -1};
    for (int round = 0; round < 6; round++) {
        w.killed = round % 2 == 1;
        run_together(&w);
        sight seen = look(fd);
        CHECK(seen.shards == 1 + TOGETHER,
              "there are as many shards as processes lived at one time");
        CHECK(seen.total == 5.0 * TOGETHER * (round + 1), "no number is lost");
    }
    close(fd);
}

/* What a child writes is its own, and its parent goes on in its shard. */
static void
test_fork(void)
{
    int fd = new_store();
    mpm_store s;
    join(&s, fd);
    count_in(&s, 2);
    mpm_shard *mine = s.shard;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        die_with_parent();
        count_in(&s, 3);
        _exit(s.shard == mine ? 1 : 0);
    }
    CHECK(await(pid) == 0, "a child has a shard of its own");
    count_in(&s, 2);
    CHECK(s.shard == mine, "its parent keeps its own");
    sight seen = look(fd);
    CHECK(seen.total == 7 && seen.shards == 3, "both count");
    mpm_store_close(&s);
    close(fd);
}

/* ---- other threads while one waits --------------------------------------- */

static mpm_store *waiting, *holding;
static int waits;

/* What another thread of this process does while the lock is waited for. */
static void
enter_while_waiting(uint64_t nanoseconds)
{
    (void)nanoseconds;
    if (waits++ > 0)
        return;
    mpm_lock_release(&holding->heap);
    CHECK(mpm_shard_own(waiting) == MPM_OK, "the other thread gets a shard");
}

static void
test_threads(void)
{
    int fd = new_store();
    mpm_store a, b;
    waiting = join(&a, fd);
    holding = join(&b, fd);
    NEED(mpm_lock_acquire(&b.heap) == MPM_OK);
    waits = 0;
    a.heap.wait = enter_while_waiting;
    CHECK(mpm_shard_own(&a) == MPM_OK && waits == 1, "so does the first");
    CHECK(mpm_load_acquire(&a.root->shard_count) == 2,
          "two threads that wait for one lock get one shard");
    mpm_store_close(&a);
    mpm_store_close(&b);
    close(fd);
}

/* ---- chunks -------------------------------------------------------------- */

#define SERIES 1500

/* Cells of different sizes, one larger than a chunk: none overlaps another. */
static void
test_chunks(void)
{
    int fd = new_store();
    mpm_store s;
    join(&s, fd);
    double *bounds = calloc(MPM_CHUNK + 100, sizeof *bounds);
    NEED(bounds != NULL);
    for (uint32_t i = 0; i < MPM_CHUNK + 100; i++)
        bounds[i] = i;
    metric small = {.kind = MPM_HISTOGRAM,
                    .name = "small",
                    .labels = {"n"},
                    .bounds = bounds,
                    .bound_count = 30};
    metric large = {.kind = MPM_HISTOGRAM,
                    .name = "large",
                    .bounds = bounds,
                    .bound_count = MPM_CHUNK + 100};
    family f = declare(&s, &small), g = declare(&s, &large);
    static mpm_id ids[SERIES];
    mpm_ref big = {0};
    for (int i = 0; i < SERIES; i++) {
        char n[16];
        snprintf(n, sizeof n, "%d", i);
        ids[i] = series_named(&s, f, n);
        mpm_ref ref = ref_of(&s, f, ids[i]);
        NEED(mpm_ref_open(&s, &ref, f.id, true) == MPM_OK);
        for (uint32_t k = 0; k < 30; k++)
            mpm_store_release(&ref.cell[4 + k], (uint64_t)i * 2 + 1);
        mpm_ref_close(&s, &ref);
        if (i == SERIES / 2) {
            big = ref_of(&s, g, series_of(&s, g, NULL));
            NEED(mpm_ref_open(&s, &big, g.id, true) == MPM_OK);
            for (uint32_t k = 0; k < MPM_CHUNK + 100; k++)
                mpm_store_release(&big.cell[4 + k], 4);
        }
    }
    for (int i = 0; i < SERIES; i++) {
        mpm_reading reading = read_series(&s, f, ids[i]);
        for (uint32_t k = 0; k < 30; k++)
            CHECK(reading.buckets[k] == (uint64_t)i * 2 + 1,
                  "a cell keeps what was written in it (%d)", i);
    }
    CHECK(mpm_histogram_count(big.cell, MPM_CHUNK + 100) ==
              4 * (MPM_CHUNK + 100),
          "a cell larger than a chunk has one of its own size");
    CHECK(mpm_load_acquire(&s.root->word_chunks) > 4, "in several chunks");
    mpm_ref_close(&s, &big);
    free(f.shape);
    free(g.shape);
    free(bounds);
    mpm_store_close(&s);
    close(fd);
}

/* ---- hazards ------------------------------------------------------------- */

typedef struct {
    int fd, ready, go;
    mpm_id series;
} late_writer;

/* Stands between the look at the birth and the write until it is told. */
static void
write_late(void *context)
{
    const late_writer *w = context;
    mpm_store s;
    char byte = 0;
    die_with_parent();
    join(&s, w->fd);
    family f = declare(&s, &level);
    mpm_ref ref = ref_of(&s, f, w->series);
    NEED(mpm_ref_open(&s, &ref, f.id, true) == MPM_OK);
    mpm_exchange_seq_cst(&s.shard->hazard, w->series.birth);
    NEED(mpm_load_seq_cst(&ref.record->birth) == w->series.birth);
    NEED(write(w->ready, &byte, 1) == 1);
    NEED(read(w->go, &byte, 1) == 1);
    mpm_gauge_set(ref.cell, 1e9);
    mpm_store_release(&s.shard->hazard, 0);
    NEED(write(w->ready, &byte, 1) == 1);
    pause();
}

static void
test_hazard(bool killed)
{
    int fd = new_store(), ready[2], go[2];
    char byte = 0;
    mpm_store s;
    join(&s, fd);
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    family f = declare(&s, &level);
    mpm_id old = series_named(&s, f, "old");
    late_writer w = {fd, ready[1], go[0], old};
    pid_t pid = start(write_late, &w);
    NEED(read(ready[0], &byte, 1) == 1);
    remove_series(&s, old);
    mpm_id next = series_named(&s, f, "next");
    CHECK(next.index != old.index,
          "words that a living process may be writing are passed over");
    if (killed) {
        kill(pid, SIGKILL);
        await(pid);
    } else {
        NEED(write(go[1], &byte, 1) == 1);
        NEED(read(ready[0], &byte, 1) == 1);
    }
    CHECK(read_series(&s, f, next).value == 0, "the late write counts nowhere");
    mpm_id third = series_named(&s, f, "third");
    CHECK(third.index == old.index, "and then they are used again");
    CHECK(read_series(&s, f, third).value == 0, "from zero");
    if (!killed) {
        kill(pid, SIGKILL);
        await(pid);
    }
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
    free(f.shape);
    mpm_store_close(&s);
    close(fd);
}

/* ---- declarations -------------------------------------------------------- */

static void
declare_and_die(void *context)
{
    static const metric mine = {.kind = MPM_COUNTER, .name = "mine"};
    mpm_store s;
    join(&s, *(int *)context);
    family f = declare(&s, &mine);
    mpm_store_release(&mpm_family_at(&s, f.id.index)->flags, MPM_SHAPE_PRIVATE);
    kill(getpid(), SIGKILL);
}

static void
test_private_families(void)
{
    int fd = new_store();
    mpm_store s;
    CHECK(await(start(declare_and_die, &fd)) == -SIGKILL, "killed");
    join(&s, fd);
    CHECK(mpm_load_acquire(&mpm_family_at(&s, 0)->birth) != 0, "still there");
    NEED(mpm_shard_own(&s) == MPM_OK);
    CHECK(mpm_load_acquire(&mpm_family_at(&s, 0)->birth) == 0,
          "who takes a shard over forgets the dead owner's private families");
    mpm_store_close(&s);
    close(fd);
}

int
main(void)
{
    bounded(100);
    test_one_after_the_other();
    test_together();
    test_fork();
    test_threads();
    test_chunks();
    test_hazard(false);
    test_hazard(true);
    test_private_families();
    return verdict();
}
