/* Writers, readers, kills and a maker of series, all at once.
 *
 *   processes  writers are killed at random instants and begun again, each
 *              time acknowledging what it counted in memory of the test's own:
 *              acknowledged <= total <= acknowledged + kills, at any time no
 *              total goes backwards, and sum == count in every read.
 *   threads    the same without kills, each with a store of its own (its own
 *              lease and shard): here ThreadSanitizer sees both sides.
 *
 * test_stress SEED SECONDS WRITERS READERS repeats a run, or makes it longer. */
#include <math.h>
#include <pthread.h>

#include "metric.h"

#define MOST 16 /* writers */
#define SERIES 3

static const double bounds[] = {0.5, 1, 2, INFINITY};
static const metric latency = {.kind = MPM_HISTOGRAM,
                               .name = "latency",
                               .labels = {"n"},
                               .bounds = bounds,
                               .bound_count = 4};
static const metric size = {
    .kind = MPM_SUMMARY, .name = "size", .labels = {"n"}};
static const metric made = {.kind = MPM_HISTOGRAM,
                            .name = "made",
                            .labels = {"n"},
                            .bounds = bounds,
                            .bound_count = 4};
static const metric level = {
    .kind = MPM_GAUGE, .name = "level", .labels = {"n"}};

/* What was counted, in memory that outlives any child.  Each writer has a
 * number of its own in each series. */
typedef struct {
    mpm_word stop;
    mpm_word histogram[MOST][SERIES], summary[MOST][SERIES];
} acknowledged;

static acknowledged *acks;

typedef struct {
    int fd, number;
    uint64_t seed;
} role;

static bool
is_over(void)
{
    return mpm_load_acquire(&acks->stop) != 0;
}

static mpm_id
series_numbered(mpm_store *s, family f, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return series_named(s, f, text);
}

/* The lock is never held long: try until it is had. */
static void
open_ref(mpm_ref *ref, mpm_store *s, family f, mpm_id id)
{
    *ref = ref_of(s, f, id);
    for (int i = 0; mpm_ref_open(s, ref, f.id, true) != MPM_OK; i++) {
        NEED(i < 5000);
        mpm_sys_sleep(1000000);
    }
}

/* ---- writers ------------------------------------------------------------- */

static void
acknowledge(mpm_word *one)
{
    mpm_store_release(one, mpm_load_relaxed(one) + 1); /* our own */
}

static void
write_until_over(mpm_store *s, const role *r)
{
    uint64_t seed = r->seed;
    family f = declare(s, &latency), g = declare(s, &size);
    mpm_ref h[SERIES], y[SERIES];
    for (unsigned i = 0; i < SERIES; i++) {
        open_ref(&h[i], s, f, series_numbered(s, f, i));
        open_ref(&y[i], s, g, series_numbered(s, g, i));
    }
    while (!is_over()) {
        uint64_t i = random_next(&seed) % SERIES;
        mpm_histogram_observe(h[i].cell, bounds, 4, 1);
        acknowledge(&acks->histogram[r->number][i]);
        mpm_summary_add(y[i].cell, 1, 1);
        acknowledge(&acks->summary[r->number][i]);
    }
    for (unsigned i = 0; i < SERIES; i++) {
        mpm_ref_close(s, &h[i]);
        mpm_ref_close(s, &y[i]);
    }
    free(f.shape);
    free(g.shape);
}

/* ---- a maker ------------------------------------------------------------- */

static void
check_one(mpm_store *s, family f, mpm_id id, double expected)
{
    mpm_reading r = read_series(s, f, id);
    CHECK(r.value == expected && (double)r.buckets[1] == expected,
          "a new series counts from zero: %g, not %g", r.value, expected);
}

/* Series come and go; the words of those gone are the next ones'. */
static void
make_until_over(mpm_store *s, const role *r)
{
    uint64_t seed = r->seed;
    family f = declare(s, &made), g = declare(s, &level);
    uint64_t n = 1000000 * (uint64_t)r->number;
    while (!is_over()) {
        mpm_id id = series_numbered(s, f, ++n);
        mpm_id gauge = series_numbered(s, g, n);
        mpm_ref ref, set;
        open_ref(&ref, s, f, id);
        open_ref(&set, s, g, gauge);
        uint64_t times = random_next(&seed) % 5;
        for (uint64_t i = 0; i < times; i++) {
            mpm_histogram_observe(ref.cell, bounds, 4, 1);
            mpm_ref_write_shared(s, &set, MPM_ADD, mpm_bits(1));
        }
        check_one(s, f, id, (double)times);
        CHECK(read_series(s, g, gauge).value == (double)times,
              "so does a shared one");
        remove_series(s, id);
        remove_series(s, gauge);
        mpm_ref_close(s, &ref);
        mpm_ref_close(s, &set);
    }
    free(f.shape);
    free(g.shape);
}

/* ---- readers ------------------------------------------------------------- */

typedef struct {
    double histogram[SERIES], summary[SERIES];
} totals;

/* Each total as it is now; never less than it was. */
static void
read_totals(mpm_store *s, family f, family g, const mpm_id *h, const mpm_id *y,
            totals *seen)
{
    for (unsigned i = 0; i < SERIES; i++) {
        mpm_reading a = read_series(s, f, h[i]);
        CHECK(a.value == (double)a.buckets[1],
              "a histogram's sum is its count: %g, %g", a.value,
              (double)a.buckets[1]);
        CHECK(a.value >= seen->histogram[i], "no total goes backwards");
        seen->histogram[i] = a.value;
        mpm_reading b = read_series(s, g, y[i]);
        CHECK(b.value == (double)b.count, "a summary's sum is its count");
        CHECK(b.value >= seen->summary[i], "no total goes backwards");
        seen->summary[i] = b.value;
    }
}

/* The number after the text in a page; -1: not there. */
static double
value_after(const char *line, const char *text)
{
    size_t length = strlen(text);
    const char *space = strchr(line, ' ');
    return strncmp(line, text, length) != 0 || space == NULL ? -1
                                                             : atof(space + 1);
}

/* In a page _sum follows _count, and the bucket +Inf is before it. */
static void
check_page(char *page)
{
    double infinite = -1, count = -1;
    for (char *line = strtok_r(page, "\n", &page); line != NULL;
         line = strtok_r(NULL, "\n", &page)) {
        bool is_made = strncmp(line, "made", 4) == 0;
        const char *rest = line + (is_made ? 4 : 7);
        if (!is_made && strncmp(line, "latency", 7) != 0)
            continue;
        if (strncmp(rest, "_bucket{le=\"+Inf\"", 17) == 0)
            infinite = value_after(rest, "_bucket");
        if (strncmp(rest, "_count", 6) == 0)
            count = value_after(rest, "_count");
        if (strncmp(rest, "_sum", 4) == 0)
            CHECK(value_after(rest, "_sum") == count && count == infinite,
                  "in a page sum, count and +Inf are one: %s", line);
    }
}

static void
read_until_over(mpm_store *s, const role *r)
{
    family f = declare(s, &latency), g = declare(s, &size);
    family m = declare(s, &made);
    mpm_id all[3] = {f.id, g.id, m.id}, h[SERIES], y[SERIES];
    totals seen = {{0}, {0}};
    for (unsigned i = 0; i < SERIES; i++) {
        h[i] = series_numbered(s, f, i);
        y[i] = series_numbered(s, g, i);
    }
    while (!is_over()) {
        mpm_buffer page = {0};
        read_totals(s, f, g, h, y, &seen);
        mpm_page how = {.format = (mpm_format)(r->number % 2), .created = true};
        NEED(mpm_render(s, all, 3, &how, &page) == MPM_OK);
        mpm_buffer_add(&page, "", 1);
        check_page(page.bytes);
        mpm_buffer_free(&page);
    }
    free(f.shape);
    free(g.shape);
    free(m.shape);
}

/* ---- the end ------------------------------------------------------------- */

static void
check_end(int fd, const uint64_t *kills, unsigned writers, uint64_t makers)
{
    mpm_store s;
    join(&s, fd);
    family f = declare(&s, &latency), g = declare(&s, &size);
    uint64_t killed = 0;
    for (unsigned w = 0; w < writers; w++)
        killed += kills[w];
    for (unsigned i = 0; i < SERIES; i++) {
        uint64_t in_h = 0, in_y = 0;
        for (unsigned w = 0; w < writers; w++) {
            in_h += mpm_load_acquire(&acks->histogram[w][i]);
            in_y += mpm_load_acquire(&acks->summary[w][i]);
        }
        double a = read_series(&s, f, series_numbered(&s, f, i)).value;
        double b = read_series(&s, g, series_numbered(&s, g, i)).value;
        CHECK((double)in_h <= a && a <= (double)(in_h + killed),
              "what was acknowledged is counted, once: %llu, %g",
              (unsigned long long)in_h, a);
        CHECK((double)in_y <= b && b <= (double)(in_y + killed),
              "and in summaries: %llu, %g", (unsigned long long)in_y, b);
    }
    lock(&s);
    CHECK(mpm_load_acquire(&s.root->live) <= 2 * SERIES + 2 * makers,
          "a maker leaves no more than it had when it was killed");
    CHECK(mpm_heap_is_valid(&s.heap), "the heap is valid");
    mpm_lock_release(&s.heap);
    printf("%llu kills, %llu shards, %llu repairs, %llu unsettled reads, "
           "%llu bytes\n",
           (unsigned long long)killed,
           (unsigned long long)mpm_load_acquire(&s.root->shard_count),
           (unsigned long long)mpm_load_acquire(&s.root->repairs),
           (unsigned long long)mpm_load_acquire(&s.root->unsettled),
           (unsigned long long)mpm_load_acquire(&s.heap.header->used_bytes));
    free(f.shape);
    free(g.shape);
    mpm_store_close(&s);
}

/* ---- processes ----------------------------------------------------------- */

typedef void (*part)(mpm_store *s, const role *r);

typedef struct {
    part play;
    role role;
} player;

static void
run_player(void *context)
{
    const player *p = context;
    mpm_store s;
    die_with_parent();
    join(&s, p->role.fd);
    p->play(&s, &p->role);
    mpm_store_close(&s);
}

static pid_t
start_player(part play, int fd, unsigned number, uint64_t *seed)
{
    player p = {play, {fd, (int)number, random_next(seed)}};
    return start(run_player, &p);
}

static void
stress_processes(double seconds, unsigned writers, unsigned readers,
                 uint64_t seed)
{
    int fd = new_store();
    pid_t pids[MOST], others[MOST + 2];
    uint64_t kills[MOST] = {0};
    memset(acks, 0, sizeof *acks);
    for (unsigned i = 0; i < writers; i++)
        pids[i] = start_player(write_until_over, fd, i, &seed);
    for (unsigned i = 0; i < readers; i++)
        others[i] = start_player(read_until_over, fd, i, &seed);
    pid_t maker = start_player(make_until_over, fd, 1, &seed);
    uint64_t maker_kills = 0;
    uint64_t end = mpm_sys_monotonic_ns() + (uint64_t)(seconds * 1e9);
    while (mpm_sys_monotonic_ns() < end) {
        mpm_sys_sleep(random_next(&seed) % 10000000);
        uint64_t i = random_next(&seed) % (writers + 1);
        pid_t *victim = i == writers ? &maker : &pids[i];
        kill(*victim, SIGKILL);
        int status = await(*victim);
        CHECK(status == -SIGKILL, "only kills end a writer: %d", status);
        if (i < writers)
            kills[i]++;
        *victim = i == writers
                      ? start_player(make_until_over, fd,
                                     2 + (unsigned)maker_kills++, &seed)
                      : start_player(write_until_over, fd, (unsigned)i, &seed);
    }
    mpm_store_release(&acks->stop, 1);
    for (unsigned i = 0; i < writers; i++)
        CHECK(await(pids[i]) == 0, "a writer saw nothing wrong");
    for (unsigned i = 0; i < readers; i++)
        CHECK(await(others[i]) == 0, "a reader saw nothing wrong");
    CHECK(await(maker) == 0, "nor did the maker");
    check_end(fd, kills, writers, maker_kills);
    close(fd);
}

/* ---- threads ------------------------------------------------------------- */

typedef struct {
    player player;
    mpm_store store;
    pthread_t thread;
} thread_player;

/* One mapping for all: ThreadSanitizer knows addresses, and would take the same
 * word at two of them for two words. */
static void
share_mapping(mpm_store *s, const mpm_store *with)
{
    uint64_t root = mpm_offset(&s->heap, s->root).raw;
    mpm_sys_unmap(s->heap.header, s->heap.reserve);
    s->heap.header = with->heap.header;
    s->root = mpm_at(&s->heap, (mpm_off){root}, sizeof(mpm_root));
}

static void *
run_thread(void *context)
{
    thread_player *t = context;
    t->player.play(&t->store, &t->player.role);
    return NULL;
}

static void
stress_threads(double seconds, unsigned writers, unsigned readers,
               uint64_t seed)
{
    static thread_player all[2 * MOST + 1];
    static const uint64_t no_kills[MOST];
    int fd = new_store();
    unsigned count = writers + readers + 1;
    memset(acks, 0, sizeof *acks);
    for (unsigned i = 0; i < count; i++) {
        part play = i < writers             ? write_until_over
                    : i < writers + readers ? read_until_over
                                            : make_until_over;
        player p = {play, {fd, (int)i, random_next(&seed)}};
        all[i].player = p;
        join(&all[i].store, fd);
        if (i > 0)
            share_mapping(&all[i].store, &all[0].store);
    }
    for (unsigned i = 0; i < count; i++)
        NEED(pthread_create(&all[i].thread, NULL, run_thread, &all[i]) == 0);
    mpm_sys_sleep((uint64_t)(seconds * 1e9));
    mpm_store_release(&acks->stop, 1);
    for (unsigned i = 0; i < count; i++)
        pthread_join(all[i].thread, NULL);
    check_end(fd, no_kills, writers, 0);
    for (unsigned i = count; i-- > 0;) {
        if (i > 0) /* the first one's to unmap */
            all[i].store.heap.header = NULL;
        mpm_store_close(&all[i].store);
    }
    close(fd);
}

int
main(int argc, char **argv)
{
    uint64_t seed = seed_of(argc, argv);
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    unsigned writers = argc > 3 ? (unsigned)atoi(argv[3]) : 4;
    unsigned readers = argc > 4 ? (unsigned)atoi(argv[4]) : 2;
    NEED(writers > 0 && writers <= MOST && readers <= MOST);
    bounded(60 + 10 * (unsigned)seconds);
    acks = mmap(NULL, sizeof *acks, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(acks != MAP_FAILED);
    stress_processes(seconds, writers, readers, seed);
    stress_threads(seconds, writers, readers, seed);
    return verdict();
}
