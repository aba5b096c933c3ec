/* The commit protocols of one cell, each against a simple model: random
 * updates, owners that change, cells taken up, private ones poured in.
 * test_cell SEED COUNT repeats a run, or makes it longer. */
#include <math.h>

#include "metric.h"

#define BOUNDS 5
static const double bounds[BOUNDS] = {-1, 0, 0.5, 10, INFINITY};

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
    return random_next(&seed) % n;
}

/* Quarters: their sums are exact in any order. */
static double
some_double(void)
{
    return ((double)below(200) - 100) / 4;
}

/* ---- counter, summary ---------------------------------------------------- */

static void
test_counter(uint64_t rounds)
{
    mpm_word cell[MPM_COUNTER_WORDS] = {0}, private[MPM_COUNTER_WORDS] = {0};
    mpm_reading reading = {0};
    double model = 0, held = 0;
    mpm_cell_take_up(cell, MPM_COUNTER, MPM_COUNTER_WORDS, 7, NULL);
    for (uint64_t i = 0; i < rounds; i++) {
        double x = (double)below(100) / 4;
        model += x;
        if (below(2) == 0) {
            mpm_counter_add(cell, x);
        } else {
            mpm_counter_add(private, x);
            held += x;
        }
    }
    mpm_cell_read(cell, MPM_COUNTER, MPM_COUNTER_WORDS, 7, &reading);
    CHECK(reading.value == model - held, "a counter is the sum of what it got");
    mpm_cell_pour(cell, private, MPM_COUNTER, MPM_COUNTER_WORDS);
    reading.value = 0;
    mpm_cell_read(cell, MPM_COUNTER, MPM_COUNTER_WORDS, 7, &reading);
    CHECK(reading.value == model, "pouring adds the private counter");
    reading.value = 0;
    mpm_cell_read(cell, MPM_COUNTER, MPM_COUNTER_WORDS, 8, &reading);
    CHECK(reading.value == 0, "a cell of another birth counts nothing");
}

static void
test_summary(uint64_t rounds)
{
    mpm_word cell[MPM_SUMMARY_WORDS] = {0}, private[MPM_SUMMARY_WORDS] = {0};
    double sum = 0;
    mpm_cell_take_up(cell, MPM_SUMMARY, MPM_SUMMARY_WORDS, 7, NULL);
    for (uint64_t i = 0; i < rounds; i++) {
        mpm_reading reading = {0};
        double x = some_double();
        sum += x;
        if (below(4) == 0) {
            memset(private, 0, sizeof private);
            mpm_summary_add(private, 1, x);
            mpm_cell_pour(cell, private, MPM_SUMMARY, MPM_SUMMARY_WORDS);
        } else {
            mpm_summary_add(cell, 1, x);
        }
        mpm_cell_read(cell, MPM_SUMMARY, MPM_SUMMARY_WORDS, 7, &reading);
        CHECK(reading.count == i + 1 && reading.value == sum,
              "a summary is the count and the sum of what it got");
    }
}

/* ---- histogram ----------------------------------------------------------- */

#define WORDS MPM_HISTOGRAM_WORDS(BOUNDS)

typedef struct {
    uint64_t buckets[BOUNDS];
    double sum;
} model;

static uint32_t
bucket_by_hand(double x)
{
    for (uint32_t i = 0; i < BOUNDS; i++)
        if (x <= bounds[i])
            return i;
    return BOUNDS - 1;
}

static void
observe(model *m, mpm_word *cell, double x)
{
    m->buckets[bucket_by_hand(x)]++;
    m->sum += x;
    mpm_histogram_observe(cell, bounds, BOUNDS, x);
}

static void
check_histogram(mpm_word *cell, const model *m, const char *when)
{
    uint64_t buckets[BOUNDS] = {0}, scratch[BOUNDS];
    mpm_reading reading = {.buckets = buckets, .scratch = scratch};
    CHECK(mpm_cell_read(cell, MPM_HISTOGRAM, WORDS, 7, &reading),
          "a cell that nobody writes settles");
    CHECK(memcmp(buckets, m->buckets, sizeof buckets) == 0,
          "the buckets are the model's %s", when);
    CHECK(reading.value == m->sum || (m->sum != m->sum),
          "so is the sum, %s: "
          "%g and %g",
          when, reading.value, m->sum);
}

static void
test_buckets(void)
{
    static const double edges[] = {-INFINITY, -1.5,     -1,  -0.5, -0.0,
                                   0,         0.25,     0.5, 0.75, 10,
                                   10.25,     INFINITY, NAN};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        model m = {{0}, 0};
        mpm_word cell[WORDS] = {0};
        mpm_cell_take_up(cell, MPM_HISTOGRAM, WORDS, 7, NULL);
        observe(&m, cell, edges[i]);
        check_histogram(cell, &m, "at the edges");
    }
}

/* Owners die between the commit and the hint, others go on; private cells are
 * poured in, also with an even number in a bucket. */
static void
test_histogram(uint64_t rounds)
{
    model m = {{0}, 0};
    mpm_word cell[WORDS] = {0}, private[WORDS];
    for (uint64_t i = 0; i < rounds; i++) {
        mpm_cell_take_up(cell, MPM_HISTOGRAM, WORDS, 7, NULL);
        for (uint64_t k = below(5); k > 0; k--)
            observe(&m, cell, some_double());
        if (below(3) == 0) {
            memset(private, 0, sizeof private);
            for (uint64_t k = below(9); k > 0; k--)
                observe(&m, private, some_double());
            mpm_cell_pour(cell, private, MPM_HISTOGRAM, WORDS);
        }
        check_histogram(cell, &m, "after each round");
        uint64_t n = mpm_histogram_count(cell, BOUNDS);
        CHECK(mpm_load_acquire(&cell[1]) == n, "the hint is the count");
        if (n > 0 && below(2) == 0)
            mpm_store_release(&cell[1], n - 1); /* killed before the hint */
    }
}

static void
test_take_up(void)
{
    model m = {{0}, 0}, none = {{0}, 0};
    mpm_word cell[WORDS], private[WORDS] = {0};
    for (uint32_t i = 0; i < WORDS; i++)
        mpm_store_release(&cell[i], 99); /* of the words' last series */
    mpm_cell_take_up(cell, MPM_HISTOGRAM, WORDS, 7, NULL);
    check_histogram(cell, &none, "taken up fresh");
    mpm_store_release(&cell[0], 6);
    for (int i = 0; i < 6; i++)
        observe(&m, private, some_double());
    mpm_cell_take_up(cell, MPM_HISTOGRAM, WORDS, 7, private);
    check_histogram(cell, &m, "taken up from a private cell");
    observe(&m, cell, 1);
    check_histogram(cell, &m, "and counted on");
}

/* ---- gauges -------------------------------------------------------------- */

/* What each lease set last; the dead are folded by the mode. */
static void
test_fold(mpm_mode mode, uint64_t rounds)
{
    mpm_word cell[MPM_MODE_WORDS] = {0};
    mpm_part part;
    double left = NAN, value = 0;
    bool written = false;
    mpm_cell_take_up(cell, MPM_GAUGE_MODE, MPM_MODE_WORDS, 7, NULL);
    mpm_mode_read(cell, 7, &part);
    CHECK(!part.written, "a cell taken up and not written takes no part");
    for (uint64_t i = 0, lease = 1; i < rounds; i++) {
        bool add = below(2) == 0, dies = written && below(5) == 0;
        double x = some_double();
        if (dies) {
            lease++;
            if (mode == MPM_MODE_SUM)
                left = left != left ? value : left + value;
            if (mode == MPM_MODE_MIN)
                left = left != left || value < left ? value : left;
            if (mode == MPM_MODE_MAX)
                left = left != left || value > left ? value : left;
            value = 0;
        }
        value = add ? value + x : x;
        written = true;
        mpm_mode_write(cell, lease, mode, x, add, (double)i);
        mpm_mode_read(cell, 7, &part);
        CHECK(part.written && part.value == value && part.lease == lease &&
                  part.time == (double)i,
              "the last write is what is read (mode %d)", (int)mode);
        CHECK(part.left == left || (left != left && part.left != part.left),
              "mode %d folds the dead: %g, not %g", (int)mode, left, part.left);
    }
}

static void
test_shared(void)
{
    mpm_word cell[MPM_COUNTER_WORDS] = {0};
    mpm_gauge_set(cell, 2.5);
    mpm_gauge_add(cell, -4);
    CHECK(mpm_double(mpm_load_acquire(&cell[1])) == -1.5,
          "a shared gauge is set and added to");
}

int
main(int argc, char **argv)
{
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000;
    bounded(100);
    seed = seed_of(argc, argv);
    test_counter(rounds);
    test_summary(rounds);
    test_buckets();
    test_histogram(rounds);
    test_take_up();
    for (mpm_mode mode = MPM_MODE_ALL; mode <= MPM_MODE_MOSTRECENT; mode++)
        test_fold(mode, rounds);
    test_shared();
    return verdict();
}
