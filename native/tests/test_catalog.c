/* The catalog: families and series found, made, replaced and removed, walked
 * while others do so, and whole again whatever a process was doing when it was
 * killed.  Prints what the 10th and the 100,000th series cost.
 *
 * test_catalog SEED repeats the choices of a run. */
#include <pthread.h>

#include "killing.h"

#define MANY 100000u
#define NAME_BYTES 32

/* ---- shapes -------------------------------------------------------------- */

typedef struct {
    union {
        mpm_shape head;
        char bytes[6000];
    } u;
} shape;

static void
append(shape *s, const void *bytes, size_t count)
{
    NEED(s->u.head.bytes + count <= sizeof *s);
    memcpy(s->u.bytes + s->u.head.bytes, bytes, count);
    s->u.head.bytes += (uint32_t)count;
}

/* With one label, `l`, unless it has none. */
static shape
make_shape(mpm_kind kind, const char *name, uint32_t labels, uint32_t bounds)
{
    shape s = {.u.head = {.bytes = sizeof(mpm_shape),
                          .kind = kind,
                          .labels = labels,
                          .bounds = bounds}};
    uint32_t lengths[] = {1, (uint32_t)strlen(name), 1};
    if (kind == MPM_ENUM)
        s.u.head.states = 1;
    for (uint32_t i = 0; i < bounds; i++)
        append(&s, &(double){i}, sizeof(double));
    uint32_t state = 2, more = labels + s.u.head.states;
    append(&s, lengths, 4 * (2 + labels));
    if (kind == MPM_ENUM)
        append(&s, &state, 4);
    append(&s, "r", 1);
    append(&s, name, strlen(name));
    append(&s, "lon", more == 0 ? 0 : labels + 2 * s.u.head.states);
    NEED(mpm_shape_is_valid(&s.u.head, s.u.head.bytes));
    return s;
}

typedef struct {
    mpm_help head;
    char text[200];
} help;

static help
make_help(const char *text)
{
    help h = {.head = {.help = (uint32_t)strlen(text)}};
    memcpy(h.text, text, strlen(text));
    h.head.bytes = (uint32_t)(sizeof h.head + strlen(text));
    return h;
}

/* ---- one store, and what is done with it --------------------------------- */

static mpm_store mine;

static void
format(int fd)
{
    NEED(mpm_store_format(fd, 1 << 20, 0) == MPM_OK);
}

static void
prepare(int fd)
{
    NEED(mpm_store_open(&mine, fd, NULL, false) == MPM_OK);
    NEED(mpm_lease_take(&mine.heap) == MPM_OK);
}

static void
lock(mpm_store *s)
{
    NEED(mpm_lock_acquire(&s->heap) == MPM_OK);
}

static void
unlock(mpm_store *s)
{
    mpm_lock_release(&s->heap);
}

static mpm_id
declare(mpm_store *s, const shape *of, const char *text, bool again)
{
    mpm_id id;
    help h = make_help(text);
    NEED(mpm_shard_own(s) == MPM_OK);
    lock(s);
    mpm_status status = mpm_family_declare(s, &of->u.head, &h.head, again, &id);
    unlock(s);
    CHECK(status == MPM_OK, "declared: %s", mpm_status_text(status));
    return id;
}

static mpm_string
string_of(const char *text)
{
    return (mpm_string){text, (uint32_t)strlen(text)};
}

static mpm_id
get(mpm_store *s, mpm_id family, const shape *of, const char *value)
{
    mpm_id id;
    mpm_string v = string_of(value);
    lock(s);
    mpm_status status = mpm_series_get(s, family, &of->u.head, &v, &id);
    unlock(s);
    CHECK(status == MPM_OK, "got %s: %s", value, mpm_status_text(status));
    return id;
}

static mpm_id
replace(mpm_store *s, mpm_id family, const shape *of, const char *value,
        const char *info)
{
    mpm_id id;
    mpm_string v = string_of(value), pair[] = {string_of("k"), string_of(info)};
    lock(s);
    mpm_status status =
        mpm_series_replace(s, family, &of->u.head, &v, pair, 1, &id);
    unlock(s);
    CHECK(status == MPM_OK, "replaced: %s", mpm_status_text(status));
    return id;
}

static void
drop(mpm_store *s, mpm_id id)
{
    lock(s);
    mpm_series_remove(s, id);
    unlock(s);
}

/* Whole, with no block that nothing links; the lock is held. */
static const char *
whole(mpm_store *s)
{
    uint64_t unreached;
    const char *broken = mpm_store_check(s, &unreached);
    return broken != NULL ? broken : unreached != 0 ? "a lost block" : NULL;
}

static void
check_whole(mpm_store *s, const char *when)
{
    lock(s);
    const char *broken = whole(s);
    CHECK(broken == NULL, "%s the store is whole: %s", when,
          broken == NULL ? "" : broken);
    unlock(s);
}

static uint64_t
count_shown(mpm_store *s, mpm_id family)
{
    mpm_walk w;
    uint64_t shown = 0;
    mpm_budget budget = mpm_budget_of(&s->heap);
    mpm_walk_begin(&w, s, family, &budget);
    while (mpm_walk_next(&w))
        shown++;
    mpm_walk_end(&w);
    return shown;
}

static mpm_string
first_value(const mpm_walk *w)
{
    mpm_strings values = mpm_text_strings(w->text);
    return mpm_strings_next(&values);
}

/* ---- what is killed ------------------------------------------------------ */

static shape counter, histogram, gauge, info; /* made once, not stepped */

/* Each operation once in a new store and once in a used one. */
static void
work(void)
{
    mpm_id c = declare(&mine, &counter, "first", false);
    mpm_id a = get(&mine, c, &counter, "a");
    get(&mine, c, &counter, "b");
    c = declare(&mine, &counter, "the second is longer", false);
    mpm_id g = declare(&mine, &gauge, "", false);
    get(&mine, g, &gauge, "a");
    mpm_id i = declare(&mine, &info, "", false);
    replace(&mine, i, &info, "", "one");
    replace(&mine, i, &info, "", "two");
    drop(&mine, a);
    get(&mine, c, &counter, "c");
    mpm_id h = declare(&mine, &histogram, "", false);
    get(&mine, h, &histogram, "a");
    declare(&mine, &counter, "anew", true);
    lock(&mine);
    mpm_family_remove(&mine, g);
    unlock(&mine);
    declare(&mine, &gauge, "again", false);
}

static void
repair(int fd)
{
    mpm_store s;
    NEED(mpm_store_open(&s, fd, NULL, false) == MPM_OK);
    lock(&s);
    unlock(&s);
    mpm_store_close(&s);
}

/* One label set never stands twice: the check looks at that, too. */
static const char *
look(int fd)
{
    mpm_store s;
    NEED(mpm_store_open(&s, fd, NULL, false) == MPM_OK);
    if (mpm_lock_acquire(&s.heap) != MPM_OK)
        return "the lock can't be had";
    const char *broken = whole(&s);
    unlock(&s);
    if (broken == NULL) {
        mpm_store kept = mine;
        mine = s;
        work(); /* whatever was left, it all can be done again */
        s = mine;
        mine = kept;
        lock(&s);
        broken = whole(&s);
        unlock(&s);
    }
    mpm_store_close(&s);
    return broken;
}

/* ---- families ------------------------------------------------------------ */

/* Is it the one text or the other? */
static bool
help_is_one_of(mpm_store *s, mpm_id id, const char *text, const char *other)
{
    mpm_shape *shape_copy;
    mpm_help *help_copy;
    if (mpm_family_copy(s, id, &shape_copy, &help_copy) != MPM_OK)
        return false;
    uint32_t length = help_copy->help;
    const char *shown = (const char *)(help_copy + 1);
    bool same = (length == strlen(text) && memcmp(shown, text, length) == 0) ||
                (length == strlen(other) && memcmp(shown, other, length) == 0);
    free(shape_copy);
    free(help_copy);
    return same;
}

static bool
help_is(mpm_store *s, mpm_id id, const char *text)
{
    return help_is_one_of(s, id, text, text);
}

static void
test_families(mpm_store *s)
{
    shape x = make_shape(MPM_COUNTER, "x", 1, 0);
    shape y = make_shape(MPM_COUNTER, "y", 1, 0);
    shape x_gauge = make_shape(MPM_GAUGE, "x", 1, 0);
    mpm_id a = declare(s, &x, "one", false), b = declare(s, &x, "two", false);
    CHECK(a.index == b.index && a.birth == b.birth, "one shape, one family");
    CHECK(help_is(s, a, "two"), "the newest help is the one that is shown");
    CHECK(declare(s, &y, "", false).birth != a.birth, "another name");
    CHECK(declare(s, &x_gauge, "", false).birth != a.birth, "another shape");
    get(s, a, &x, "v");
    b = declare(s, &x, "three", true);
    CHECK(b.birth > a.birth && count_shown(s, b) == 0,
          "declared again by its only declarer it starts anew");
    CHECK(!help_is(s, a, "three") && help_is(s, b, "three"), "the old is gone");
    lock(s);
    mpm_family_forget(s, b);
    unlock(s);
    CHECK(help_is(s, b, "three"), "who is declared isn't forgotten");
    lock(s);
    mpm_family_release(s, b);
    mpm_family_forget(s, b);
    unlock(s);
    CHECK(!help_is(s, b, "three"), "who isn't, is");
    check_whole(s, "after families came and went");
}

/* ---- series against a model ---------------------------------------------- */

/* births[i]: of the series with the label value "v<i>"; 0: none. */
static uint64_t births[MANY];

static const char *
value_of(char text[NAME_BYTES], uint64_t i)
{
    snprintf(text, NAME_BYTES, "v%lu", (unsigned long)i);
    return text;
}

static void
test_model(mpm_store *s, uint64_t *seed)
{
    char text[NAME_BYTES];
    shape of = make_shape(MPM_COUNTER, "model", 1, 0);
    mpm_id family = declare(s, &of, "", false);
    uint64_t live = 0, before = mpm_load_acquire(&s->root->records);
    uint64_t *indexes = calloc(MANY, sizeof *indexes);
    NEED(indexes != NULL);
    uint64_t marks[] = {10, 100, 1000, 10000, MANY};
    uint64_t began = 0, mark = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        if (i == marks[mark] - 10)
            began = mpm_sys_monotonic_ns();
        mpm_id id = get(s, family, &of, value_of(text, i));
        births[i] = id.birth;
        indexes[i] = id.index;
        if (i + 1 == marks[mark]) {
            printf("ten series up to the %luth: %.2f us each\n",
                   (unsigned long)marks[mark],
                   (double)(mpm_sys_monotonic_ns() - began) / 1e4);
            mark++;
        }
    }
    check_whole(s, "after making many series");
    /* Found, removed, made again at random: as the model says each time. */
    for (uint64_t n = 0; n < MANY; n++) {
        uint64_t i = random_next(seed) % MANY;
        mpm_id id;
        if (random_next(seed) % 2 == 0 && births[i] != 0) {
            drop(s, (mpm_id){indexes[i], births[i]});
            births[i] = 0;
            continue;
        }
        id = get(s, family, &of, value_of(text, i));
        CHECK(births[i] == 0 || births[i] == id.birth, "found, not made twice");
        births[i] = id.birth;
        indexes[i] = id.index;
    }
    for (uint64_t i = 0; i < MANY; i++)
        live += births[i] != 0;
    CHECK(count_shown(s, family) == live, "a walk shows the model's series");
    CHECK(mpm_load_acquire(&s->root->records) <= before + MANY,
          "records are used again: no more than lived at one time");
    check_whole(s, "after a hundred thousand choices");
    began = mpm_sys_monotonic_ns();
    lock(s);
    NEED(mpm_heap_repair(&s->heap) == MPM_OK);
    NEED(mpm_catalog_rebuild(&s->heap, true) == MPM_OK);
    unlock(s);
    printf("rebuilt %u records in %.1f ms\n", MANY,
           (double)(mpm_sys_monotonic_ns() - began) / 1e6);
    check_whole(s, "after rebuilding by hand");
    free(indexes);
    lock(s);
    mpm_family_remove(s, family);
    unlock(s);
    check_whole(s, "after removing them all");
}

/* Cells of all sizes: the check looks at the ranges of all records. */
static void
test_words(mpm_store *s, uint64_t *seed)
{
    char text[NAME_BYTES];
    for (int i = 0; i < 200; i++) {
        static const uint32_t bounds[] = {1, 10, 60, 61, 100, 600, 700};
        shape of =
            make_shape(MPM_HISTOGRAM, "w", 1, bounds[random_next(seed) % 7]);
        mpm_id family = declare(s, &of, "", false);
        mpm_id id = get(s, family, &of, value_of(text, random_next(seed) % 20));
        if (i % 3 == 0)
            drop(s, id);
    }
    check_whole(s, "with cells of many sizes");
}

static void
test_limit(void)
{
    mpm_store s;
    mpm_id id;
    int fd = nameless_file();
    shape of = make_shape(MPM_COUNTER, "l", 1, 0);
    NEED(mpm_store_format(fd, 1 << 20, 2) == MPM_OK);
    NEED(mpm_store_open(&s, fd, NULL, false) == MPM_OK);
    mpm_id family = declare(&s, &of, "", false);
    mpm_string values[] = {string_of("c"), string_of(MPM_OVERFLOW)};
    get(&s, family, &of, "a");
    mpm_id b = get(&s, family, &of, "b");
    lock(&s);
    CHECK(mpm_series_get(&s, family, &of.u.head, values, &id) == MPM_EFULL &&
              mpm_load_acquire(&s.root->dropped) == 1,
          "one label set too many is refused and counted");
    CHECK(mpm_series_get(&s, family, &of.u.head, values + 1, &id) == MPM_OK,
          "the overflow series always has room");
    unlock(&s);
    drop(&s, b);
    drop(&s, id);
    get(&s, family, &of, "c");
    check_whole(&s, "at its limit");
    mpm_store_close(&s);
    close(fd);
}

/* ---- walks beside changes ------------------------------------------------ */

typedef struct {
    mpm_store *store; /* another mapping: as another process has */
    mpm_id labelled, info, helped;
    shape of_labelled, of_info, of_helped;
    _Atomic bool stop;
} scene;

/* Of one class of blocks, so that each stands where the one before the last
 * did, and many words long: a torn copy is neither. */
static const char *const helps[] = {
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};

static void *
change(void *context)
{
    scene *c = context;
    char text[NAME_BYTES];
    mpm_id kept[8] = {{0, 0}};
    for (uint64_t n = 0; !c->stop; n++) {
        unsigned i = n % 7;
        if (kept[i].birth != 0)
            drop(c->store, kept[i]);
        kept[i] = get(c->store, c->labelled, &c->of_labelled,
                      value_of(text, n * 5 % 7));
        replace(c->store, c->info, &c->of_info, "", value_of(text, n));
        declare(c->store, &c->of_helped, helps[n % 2], false);
    }
    return NULL;
}

/* No label set twice in one walk. */
static bool
is_walk_unique(mpm_store *s, mpm_id family)
{
    mpm_walk w;
    bool unique = true;
    uint64_t seen = 0;
    mpm_budget budget = mpm_budget_of(&s->heap);
    mpm_walk_begin(&w, s, family, &budget);
    while (mpm_walk_next(&w)) {
        mpm_string value = first_value(&w);
        uint64_t bit = (uint64_t)1
                       << (value.length == 2 ? value.bytes[1] - '0' : 63);
        unique &= (seen & bit) == 0;
        seen |= bit;
    }
    mpm_walk_end(&w);
    return unique;
}

static void
test_walks(void)
{
    static mpm_store writer, reader;
    static scene c;
    pthread_t thread;
    int fd = nameless_file();
    NEED(mpm_store_format(fd, 1 << 24, 0) == MPM_OK);
    NEED(mpm_store_open(&writer, fd, NULL, false) == MPM_OK);
    NEED(mpm_store_open(&reader, fd, NULL, true) == MPM_OK);
    c.store = &writer;
    c.of_labelled = make_shape(MPM_COUNTER, "labelled", 1, 0);
    c.of_info = make_shape(MPM_INFO, "info", 0, 0);
    c.of_helped = make_shape(MPM_COUNTER, "helped", 0, 0);
    c.labelled = declare(&writer, &c.of_labelled, "", false);
    c.info = declare(&writer, &c.of_info, "", false);
    c.helped = declare(&writer, &c.of_helped, helps[0], false);
    replace(&writer, c.info, &c.of_info, "", "first");
    NEED(pthread_create(&thread, NULL, change, &c) == 0);
    uint64_t began = mpm_sys_monotonic_ns(), walks = 0;
    while (mpm_sys_monotonic_ns() - began < 1000000000ULL) {
        CHECK(is_walk_unique(&reader, c.labelled), "no label set twice");
        uint64_t shown = count_shown(&reader, c.info);
        CHECK(shown == 1, "an Info that is replaced is shown once, not %lu",
              (unsigned long)shown);
        CHECK(help_is_one_of(&reader, c.helped, helps[0], helps[1]),
              "a help that is replaced is the old or the new");
        walks++;
    }
    c.stop = true;
    pthread_join(thread, NULL);
    printf("%lu walks beside changes\n", (unsigned long)walks);
    check_whole(&writer, "after walks and changes");
    mpm_store_close(&reader);
    mpm_store_close(&writer);
    close(fd);
}

/* A walk shows nothing that was born after it began. */
static void
test_walk_limit(mpm_store *s)
{
    mpm_walk w;
    shape of = make_shape(MPM_COUNTER, "walked", 1, 0);
    mpm_id family = declare(s, &of, "", false);
    mpm_id a = get(s, family, &of, "a");
    get(s, family, &of, "b");
    mpm_budget budget = mpm_budget_of(&s->heap);
    mpm_walk_begin(&w, s, family, &budget);
    CHECK(mpm_walk_next(&w) && mpm_walk_holds(&w), "the first slot's");
    drop(s, a);
    CHECK(!mpm_walk_holds(&w), "a walk knows when its series is gone");
    get(s, family, &of, "c");
    get(s, family, &of, "a");
    CHECK(mpm_walk_next(&w) && first_value(&w).bytes[0] == 'b',
          "the second slot's");
    CHECK(!mpm_walk_next(&w), "and no more");
    mpm_walk_end(&w);
    CHECK(count_shown(s, family) == 3, "the next walk sees them all");
}

/* An Info that is replaced while a scrape has it in hand is not left out: the
 * next one stands in the same slot, which the walk has passed. */
static void
test_walk_replaced(mpm_store *s)
{
    mpm_walk w;
    shape of = make_shape(MPM_INFO, "replaced", 0, 0);
    mpm_id family = declare(s, &of, "", false);
    replace(s, family, &of, "", "old");
    mpm_budget budget = mpm_budget_of(&s->heap);
    mpm_walk_begin(&w, s, family, &budget);
    CHECK(mpm_walk_next(&w), "there is one");
    replace(s, family, &of, "", "new");
    CHECK(mpm_walk_holds(&w), "it is shown as it was");
    CHECK(!mpm_walk_next(&w), "and once");
    mpm_walk_end(&w);
}

/* ---- hostile files ------------------------------------------------------- */

/* Damages words below top, then does everything. */
static void
test_hostile(uint64_t *seed)
{
    static char bytes[4 * MPM_STEP];
    int fd = nameless_file(), rounds = SANITIZED ? 200 : 1000;
    format(fd);
    prepare(fd);
    work();
    uint64_t size = mpm_load_acquire(&mine.heap.header->size);
    uint64_t top = (mpm_load_acquire(&mine.heap.header->top) & UINT32_MAX) * 64;
    mpm_store_close(&mine);
    NEED(size <= sizeof bytes);
    NEED(pread(fd, bytes, size, 0) == (ssize_t)size);
    uint64_t used[sizeof bytes / 8 / 16], words = 0;
    for (uint64_t i = 0; i < top / 8; i++) /* where something stands */
        if (((uint64_t *)(void *)bytes)[i] != 0 &&
            words < sizeof used / sizeof *used)
            used[words++] = i;
    for (int i = 0; i < rounds; i++) {
        mpm_store s;
        int copy = nameless_file();
        NEED(pwrite(copy, bytes, size, 0) == (ssize_t)size);
        for (uint64_t n = 1 + random_next(seed) % 3; n > 0; n--) {
            uint64_t at = used[random_next(seed) % words];
            uint64_t word = random_next(seed) >> (random_next(seed) % 64);
            NEED(pwrite(copy, &word, 8, (off_t)(at * 8)) == 8);
        }
        if (mpm_store_open(&s, copy, NULL, false) == MPM_OK) {
            uint64_t unreached;
            mpm_store_release(&s.heap.header->lock, UINT64_MAX);
            if (mpm_shard_own(&s) == MPM_OK &&
                mpm_lock_acquire(&s.heap) == MPM_OK) {
                mpm_store_check(&s, &unreached);
                for (uint64_t k = 0; k < 6; k++) {
                    mpm_family *f = mpm_family_at(&s, k);
                    mpm_id id = {k,
                                 f == NULL ? 0 : mpm_load_acquire(&f->birth)};
                    count_shown(&s, id);
                    mpm_family_remove(&s, id);
                }
                unlock(&s);
            }
            mpm_store_close(&s);
        }
        close(copy);
    }
    close(fd);
}

int
main(int argc, char **argv)
{
    counter = make_shape(MPM_COUNTER, "c", 1, 0);
    histogram = make_shape(MPM_HISTOGRAM, "h", 1, 100);
    gauge = make_shape(MPM_GAUGE, "g", 1, 0);
    info = make_shape(MPM_INFO, "i", 0, 0);
    static const patient catalog = {format, prepare, work, repair, look};
    uint64_t seed = seed_of(argc, argv);
    mpm_store s;
    NEED(mpm_epoch_start() == MPM_OK);
    int fd = nameless_file();
    NEED(mpm_store_format(fd, 1 << 28, 0) == MPM_OK);
    NEED(mpm_store_open(&s, fd, NULL, false) == MPM_OK);
    test_families(&s);
    test_walk_limit(&s);
    test_walk_replaced(&s);
    test_words(&s, &seed);
    test_model(&s, &seed);
    mpm_store_close(&s);
    close(fd);
    test_limit();
    test_walks();
    kill_by_instruction(&catalog);
#ifdef MPM_CRASH_POINTS
    kill_by_name(&catalog, 12);
#endif
    kill_by_clock(&catalog, SANITIZED ? 40 : 200, &seed);
    test_hostile(&seed);
    return verdict();
}
