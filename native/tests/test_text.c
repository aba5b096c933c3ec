/* Golden pages: every kind in both formats, byte for byte.
 *
 * Up to the gauges with a mode they are what prometheus_client 0.26 writes for
 * the same metrics and updates; those are its MultiProcessCollector's. */
#include <math.h>

#include "metric.h"

static const char plain_page[] =
    "# HELP hits_total Back\\\\slash \"quote\"\\nnewline.\n"
    "# TYPE hits_total counter\n"
    "hits_total{code=\"200\",path=\"a\\\"b\\\\c\\nd\"} 3.0\n"
    "hits_total{code=\"404\",path=\"/é\"} 0.5\n"
    "# HELP hits_created Back\\\\slash \"quote\"\\nnewline.\n"
    "# TYPE hits_created gauge\n"
    "hits_created{code=\"200\",path=\"a\\\"b\\\\c\\nd\"} 1.5\n"
    "hits_created{code=\"404\",path=\"/é\"} 1.5\n"
    "# HELP temperature_celsius Warm.\n"
    "# TYPE temperature_celsius gauge\n"
    "temperature_celsius -0.25\n"
    "# HELP size_bytes Sizes.\n"
    "# TYPE size_bytes summary\n"
    "size_bytes_count{zone=\"x\"} 2.0\n"
    "size_bytes_sum{zone=\"x\"} 1.0000025e+06\n"
    "# HELP size_bytes_created Sizes.\n"
    "# TYPE size_bytes_created gauge\n"
    "size_bytes_created{zone=\"x\"} 1.5\n"
    "# HELP latency_seconds Latency.\n"
    "# TYPE latency_seconds histogram\n"
    "latency_seconds_bucket{aa=\"1\",le=\"0.1\",zz=\"2\"} 2.0\n"
    "latency_seconds_bucket{aa=\"1\",le=\"0.5\",zz=\"2\"} 3.0\n"
    "latency_seconds_bucket{aa=\"1\",le=\"+Inf\",zz=\"2\"} 4.0\n"
    "latency_seconds_count{aa=\"1\",zz=\"2\"} 4.0\n"
    "latency_seconds_sum{aa=\"1\",zz=\"2\"} 7.45\n"
    "# HELP latency_seconds_created Latency.\n"
    "# TYPE latency_seconds_created gauge\n"
    "latency_seconds_created{aa=\"1\",zz=\"2\"} 1.5\n"
    "# HELP delta Delta.\n"
    "# TYPE delta histogram\n"
    "delta_bucket{le=\"-1.0\"} 1.0\n"
    "delta_bucket{le=\"0.0\"} 1.0\n"
    "delta_bucket{le=\"1.0\"} 2.0\n"
    "delta_bucket{le=\"+Inf\"} 2.0\n"
    "delta_count 2.0\n"
    "# HELP delta_created Delta.\n"
    "# TYPE delta_created gauge\n"
    "delta_created 1.5\n"
    "# HELP build_info Build.\n"
    "# TYPE build_info gauge\n"
    "build_info{arch=\"arm64\",version=\"1.0 \\\"x\\\"\",zone=\"eu\"} 1.0\n"
    "# HELP state State.\n"
    "# TYPE state gauge\n"
    "state{a=\"1\",state=\"start\\\"ing\",z=\"2\"} 0.0\n"
    "state{a=\"1\",state=\"ready\",z=\"2\"} 1.0\n"
    "# HELP nothing_total Nothing.\n"
    "# TYPE nothing_total counter\n"
    "# HELP load Load.\n"
    "# TYPE load gauge\n"
    "load{host=\"h\",pid=\"4242\",z=\"2\"} 3.0\n"
    "# HELP queue Queue.\n"
    "# TYPE queue gauge\n"
    "queue 4.0\n";

static const char open_page[] =
    "# HELP hits Back\\\\slash \\\"quote\\\"\\nnewline.\n"
    "# TYPE hits counter\n"
    "hits_total{code=\"200\",path=\"a\\\"b\\\\c\\nd\"} 3.0\n"
    "hits_created{code=\"200\",path=\"a\\\"b\\\\c\\nd\"} 1.5\n"
    "hits_total{code=\"404\",path=\"/é\"} 0.5\n"
    "hits_created{code=\"404\",path=\"/é\"} 1.5\n"
    "# HELP temperature_celsius Warm.\n"
    "# TYPE temperature_celsius gauge\n"
    "# UNIT temperature_celsius celsius\n"
    "temperature_celsius -0.25\n"
    "# HELP size_bytes Sizes.\n"
    "# TYPE size_bytes summary\n"
    "# UNIT size_bytes bytes\n"
    "size_bytes_count{zone=\"x\"} 2.0\n"
    "size_bytes_sum{zone=\"x\"} 1.0000025e+06\n"
    "size_bytes_created{zone=\"x\"} 1.5\n"
    "# HELP latency_seconds Latency.\n"
    "# TYPE latency_seconds histogram\n"
    "latency_seconds_bucket{aa=\"1\",le=\"0.1\",zz=\"2\"} 2.0\n"
    "latency_seconds_bucket{aa=\"1\",le=\"0.5\",zz=\"2\"} 3.0\n"
    "latency_seconds_bucket{aa=\"1\",le=\"+Inf\",zz=\"2\"} 4.0\n"
    "latency_seconds_count{aa=\"1\",zz=\"2\"} 4.0\n"
    "latency_seconds_sum{aa=\"1\",zz=\"2\"} 7.45\n"
    "latency_seconds_created{aa=\"1\",zz=\"2\"} 1.5\n"
    "# HELP delta Delta.\n"
    "# TYPE delta histogram\n"
    "delta_bucket{le=\"-1.0\"} 1.0\n"
    "delta_bucket{le=\"0.0\"} 1.0\n"
    "delta_bucket{le=\"1.0\"} 2.0\n"
    "delta_bucket{le=\"+Inf\"} 2.0\n"
    "delta_count 2.0\n"
    "delta_created 1.5\n"
    "# HELP build Build.\n"
    "# TYPE build info\n"
    "build_info{arch=\"arm64\",version=\"1.0 \\\"x\\\"\",zone=\"eu\"} 1.0\n"
    "# HELP state State.\n"
    "# TYPE state stateset\n"
    "state{a=\"1\",state=\"start\\\"ing\",z=\"2\"} 0.0\n"
    "state{a=\"1\",state=\"ready\",z=\"2\"} 1.0\n"
    "# HELP nothing Nothing.\n"
    "# TYPE nothing counter\n"
    "# HELP load Load.\n"
    "# TYPE load gauge\n"
    "load{host=\"h\",pid=\"4242\",z=\"2\"} 3.0\n"
    "# HELP queue Queue.\n"
    "# TYPE queue gauge\n"
    "queue 4.0\n";

/* ---- one of each kind ---------------------------------------------------- */

static mpm_store store;
static mpm_id families[16];
static size_t family_count;

static family
add(const metric *m)
{
    family f = declare(&store, m);
    families[family_count++] = f.id;
    return f;
}

/* A series with these label values, opened; created at a known time. */
static void
open_ref(mpm_ref *ref, family f, const char *first, const char *second)
{
    const char *values[2] = {first, second};
    mpm_id id = series_of(&store, f, values);
    *ref = ref_of(&store, f, id);
    mpm_store_release(&ref->record->created, mpm_bits(1.5));
    NEED(mpm_ref_open(&store, ref, f.id, true) == MPM_OK);
}

static void
done(family f, mpm_ref *ref)
{
    if (ref != NULL)
        mpm_ref_close(&store, ref);
    free(f.shape);
}

static void
add_counters(void)
{
    metric hits = {.kind = MPM_COUNTER,
                   .name = "hits",
                   .labels = {"path", "code"},
                   .help = "Back\\slash \"quote\"\nnewline."};
    family f = add(&hits);
    mpm_ref a, b;
    open_ref(&a, f, "a\"b\\c\nd", "200");
    open_ref(&b, f, "/é", "404");
    mpm_counter_add(a.cell, 3);
    mpm_counter_add(b.cell, 0.5);
    mpm_ref_close(&store, &a);
    done(f, &b);
}

static void
add_gauge(void)
{
    metric m = {.kind = MPM_GAUGE,
                .name = "temperature_celsius",
                .help = "Warm.",
                .unit = "celsius"};
    family f = add(&m);
    mpm_ref ref;
    open_ref(&ref, f, NULL, NULL);
    mpm_ref_write_shared(&store, &ref, MPM_SET, mpm_bits(-0.25));
    done(f, &ref);
}

static void
add_summary(void)
{
    metric m = {.kind = MPM_SUMMARY,
                .name = "size_bytes",
                .labels = {"zone"},
                .help = "Sizes.",
                .unit = "bytes"};
    family f = add(&m);
    mpm_ref ref;
    open_ref(&ref, f, "x", NULL);
    mpm_summary_add(ref.cell, 1, 1e6);
    mpm_summary_add(ref.cell, 1, 2.5);
    done(f, &ref);
}

static void
add_histogram(const metric *m, const double *values, size_t count)
{
    family f = add(m);
    mpm_ref ref;
    open_ref(&ref, f, "1", "2");
    for (size_t i = 0; i < count; i++)
        mpm_histogram_observe(ref.cell, m->bounds, m->bound_count, values[i]);
    done(f, &ref);
}

static void
add_histograms(void)
{
    static const double latency_bounds[] = {0.1, 0.5, INFINITY};
    static const double delta_bounds[] = {-1, 0, 1, INFINITY};
    static const double latencies[] = {0.05, 0.1, 0.3, 7}, deltas[] = {-2, 0.5};
    metric latency = {.kind = MPM_HISTOGRAM,
                      .name = "latency_seconds",
                      .labels = {"aa", "zz"},
                      .help = "Latency.",
                      .bounds = latency_bounds,
                      .bound_count = 3};
    metric delta = {.kind = MPM_HISTOGRAM,
                    .name = "delta",
                    .help = "Delta.",
                    .bounds = delta_bounds,
                    .bound_count = 4};
    add_histogram(&latency, latencies, 4);
    add_histogram(&delta, deltas, 2);
}

static mpm_string
string(const char *text)
{
    return (mpm_string){text, (uint32_t)strlen(text)};
}

/* Twice: the second takes the place of the first. */
static void
add_info(void)
{
    metric m = {.kind = MPM_INFO,
                .name = "build",
                .labels = {"zone"},
                .help = "Build."};
    family f = add(&m);
    mpm_string values[1] = {string("eu")};
    mpm_string old[2] = {string("version"), string("0.9")};
    mpm_string pairs[4] = {string("version"), string("1.0 \"x\""),
                           string("arch"), string("arm64")};
    mpm_id id;
    NEED(mpm_lock_acquire(&store.heap) == MPM_OK);
    NEED(mpm_series_replace(&store, f.id, f.shape, values, old, 1, &id) ==
         MPM_OK);
    NEED(mpm_series_replace(&store, f.id, f.shape, values, pairs, 2, &id) ==
         MPM_OK);
    mpm_lock_release(&store.heap);
    done(f, NULL);
}

static void
add_enum(void)
{
    metric m = {.kind = MPM_ENUM,
                .name = "state",
                .labels = {"a", "z"},
                .states = {"start\"ing", "ready"},
                .help = "State."};
    family f = add(&m);
    mpm_ref ref;
    open_ref(&ref, f, "1", "2");
    mpm_ref_write_shared(&store, &ref, MPM_SET, 1);
    done(f, &ref);
}

static void
add_empty(void)
{
    metric m = {.kind = MPM_COUNTER,
                .name = "nothing",
                .labels = {"x"},
                .help = "Nothing."};
    done(add(&m), NULL);
}

static void
add_modes(void)
{
    metric load = {.kind = MPM_GAUGE_MODE,
                   .mode = MPM_MODE_ALL | MPM_MODE_LIVE,
                   .name = "load",
                   .labels = {"host", "z"},
                   .help = "Load."};
    metric queue = {.kind = MPM_GAUGE_MODE,
                    .mode = MPM_MODE_SUM,
                    .name = "queue",
                    .help = "Queue."};
    family l = add(&load), q = add(&queue);
    mpm_ref a, b;
    open_ref(&a, l, "h", "2");
    open_ref(&b, q, NULL, NULL);
    mpm_ref unwritten;
    open_ref(&unwritten, l, "never written", "");
    mpm_store_release(&store.shard->pid, 4242);
    mpm_ref_write_mode(&store, &a, MPM_MODE_ALL, MPM_SET, 3);
    mpm_ref_write_mode(&store, &b, MPM_MODE_SUM, MPM_SET, 5);
    mpm_ref_write_mode(&store, &b, MPM_MODE_SUM, MPM_ADD, -1);
    mpm_ref_close(&store, &unwritten);
    done(l, &a);
    done(q, &b);
}

/* ---- pages --------------------------------------------------------------- */

/* The first line that differs is what one wants to see. */
static void
equal(const char *expected, mpm_buffer *page, const char *fact)
{
    mpm_buffer_add(page, "", 1);
    size_t line = 0, i = 0;
    while (expected[i] != '\0' && expected[i] == page->bytes[i])
        if (expected[i++] == '\n')
            line = i;
    CHECK(expected[i] == page->bytes[i], "%s:\nexpected %.80s\ngot      %.80s",
          fact, expected + line, page->bytes + line);
    mpm_buffer_free(page);
}

static void
compare(const char *expected, mpm_format format, bool created)
{
    mpm_buffer page = {0};
    mpm_page how = {.format = format, .created = created};
    NEED(mpm_render(&store, families, family_count, &how, &page) == MPM_OK);
    equal(expected, &page, "the page is prometheus_client's");
}

/* The expected page without what shows when a series was created. */
static void
compare_without_created(const char *expected, mpm_format format)
{
    mpm_buffer rest = {0};
    for (const char *at = expected; *at != '\0';) {
        size_t length = (size_t)(strchr(at, '\n') + 1 - at);
        char line[256];
        NEED(length < sizeof line);
        memcpy(line, at, length);
        line[length] = '\0';
        if (strstr(line, "_created") == NULL)
            mpm_buffer_add(&rest, line, length);
        at += length;
    }
    mpm_buffer_add(&rest, "", 1);
    compare(rest.bytes, format, false);
    mpm_buffer_free(&rest);
}

/* A removed family and one that never was are passed over. */
static void
test_dead_families(void)
{
    mpm_id dead[2] = {{families[0].index, families[0].birth + 1000}, {1000, 1}};
    mpm_buffer page = {0};
    mpm_page how = {.format = MPM_OPENMETRICS, .created = true};
    CHECK(mpm_render(&store, dead, 2, &how, &page) == MPM_OK &&
              page.length == 0,
          "what is dead isn't shown");
    mpm_buffer_free(&page);
}

/* ---- by shard ------------------------------------------------------------ */

/* `who` counts `times` in each of these, and of the first also in a series that
 * nobody else counts in. */
static void
count_in_all(void *times)
{
    static const double bounds[2] = {1.0, INFINITY};
    unsigned n = *(const unsigned *)times;
    metric all[] = {
        {.kind = MPM_COUNTER, .name = "jobs", .labels = {"who"}},
        {.kind = MPM_HISTOGRAM,
         .name = "took",
         .bounds = bounds,
         .bound_count = 2},
        {.kind = MPM_SUMMARY, .name = "size"},
        {.kind = MPM_GAUGE_MODE, .mode = MPM_MODE_SUM, .name = "load"},
        {.kind = MPM_GAUGE_MODE, .mode = MPM_MODE_ALL, .name = "each"},
        {.kind = MPM_GAUGE_MODE,
         .mode = MPM_MODE_SUM | MPM_MODE_LIVE,
         .name = "busy"},
        {.kind = MPM_GAUGE, .name = "level"},
    };
    mpm_ref refs[8];
    family_count = 0;
    for (size_t i = 0; i < 7; i++) {
        family f = add(&all[i]);
        open_ref(&refs[i], f, "all", NULL);
        if (i == 0)
            open_ref(&refs[7], f, n == 2 ? "two" : "three", NULL);
        free(f.shape);
    }
    for (unsigned i = 0; i < n; i++) {
        mpm_counter_add(refs[0].cell, 1);
        mpm_counter_add(refs[7].cell, 1);
        mpm_histogram_observe(refs[1].cell, bounds, 2, n);
        mpm_summary_add(refs[2].cell, 1, n);
        for (size_t k = 3; k < 6; k++)
            mpm_ref_write_mode(&store, &refs[k], (mpm_mode)all[k].mode, MPM_SET,
                               n);
        mpm_ref_write_shared(&store, &refs[6], MPM_SET, mpm_bits(n));
    }
    for (size_t i = 0; i < 8; i++)
        mpm_ref_close(&store, &refs[i]);
}

static const char by_shard[] = "# HELP jobs Help.\n"
                               "# TYPE jobs counter\n"
                               "jobs_total{s=\"1\",who=\"all\"} 2.0\n"
                               "jobs_total{s=\"2\",who=\"all\"} 3.0\n"
                               "jobs_total{s=\"2\",who=\"three\"} 3.0\n"
                               "jobs_total{s=\"1\",who=\"two\"} 2.0\n"
                               "# HELP took Help.\n"
                               "# TYPE took histogram\n"
                               "took_bucket{s=\"1\",le=\"1.0\"} 0.0\n"
                               "took_bucket{s=\"1\",le=\"+Inf\"} 2.0\n"
                               "took_count{s=\"1\"} 2.0\n"
                               "took_sum{s=\"1\"} 4.0\n"
                               "took_bucket{s=\"2\",le=\"1.0\"} 0.0\n"
                               "took_bucket{s=\"2\",le=\"+Inf\"} 3.0\n"
                               "took_count{s=\"2\"} 3.0\n"
                               "took_sum{s=\"2\"} 9.0\n"
                               "# HELP size Help.\n"
                               "# TYPE size summary\n"
                               "size_count{s=\"1\"} 2.0\n"
                               "size_sum{s=\"1\"} 4.0\n"
                               "size_count{s=\"2\"} 3.0\n"
                               "size_sum{s=\"2\"} 9.0\n"
                               "# HELP load Help.\n"
                               "# TYPE load gauge\n"
                               "load{s=\"1\"} 2.0\n"
                               "load{s=\"2\"} 3.0\n"
                               "# HELP each Help.\n"
                               "# TYPE each gauge\n"
                               "each{s=\"1\"} 2.0\n"
                               "each{s=\"2\"} 3.0\n"
                               "# HELP busy Help.\n"
                               "# TYPE busy gauge\n"
                               "busy{s=\"1\"} 2.0\n";

/* What each process counted, the living and the dead; of a live gauge only the
 * living, and nothing of what everybody writes. */
static void
test_by_shard(void)
{
    unsigned mine = 2, childs = 3;
    mpm_page how = {.format = MPM_OPENMETRICS, .shard = {"s", 1}};
    mpm_buffer page = {0};
    CHECK(await(start(count_in_all, &childs)) == 0, "the child counted");
    count_in_all(&mine);
    NEED(mpm_render(&store, families, family_count, &how, &page) == MPM_OK);
    equal(by_shard, &page, "each shard is shown by itself");
}

int
main(void)
{
    bounded(60);
    int fd = new_store();
    join(&store, fd);
    add_counters();
    add_gauge();
    add_summary();
    add_histograms();
    add_info();
    add_enum();
    add_empty();
    add_modes();
    compare(plain_page, MPM_TEXT_0_0_4, true);
    compare(open_page, MPM_OPENMETRICS, true);
    compare_without_created(plain_page, MPM_TEXT_0_0_4);
    compare_without_created(open_page, MPM_OPENMETRICS);
    test_dead_families();
    test_by_shard();
    mpm_store_close(&store);
    close(fd);
    return verdict();
}
