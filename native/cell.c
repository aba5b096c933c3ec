/* cell.c: the commit protocols.  Layouts and invariants are in core.h.
 *
 * A writer is the only one in its cell, and may be killed between any two
 * stores; each update has one store that commits it.  A reader writes nothing,
 * never sees anything half done, and is bounded.  Every word is stored release
 * and loaded acquire, scratch too: stored plain, the scratch of the next update
 * could be seen before the commit of this one on arm64, and scrapes would tear
 * (tests/models/ shows each such mistake). */
#include "core.h"

/* ---- counter ------------------------------------------------------------- */

void
mpm_counter_add(mpm_word *cell, double x)
{
    double value = mpm_double(mpm_load_relaxed(&cell[1])); /* our own store */
    mpm_store_release(&cell[1], mpm_bits(value + x));
}

/* ---- flip cells ---------------------------------------------------------- */

#define SUMMARY_SLOT 2u
#define MODE_SLOT 4u
enum { SLOT_LEASE, SLOT_VALUE, SLOT_TIME, SLOT_LEFT };

/* The slot that is the truth for n, in a flip cell of such slots. */
static mpm_word *
slot_of(mpm_word *cell, uint64_t n, uint32_t words)
{
    return cell + 2 + (n & 1) * words;
}

void
mpm_summary_add(mpm_word *cell, double count, double sum)
{
    uint64_t n = mpm_load_relaxed(&cell[1]);
    mpm_word *now = slot_of(cell, n, SUMMARY_SLOT);
    mpm_word *next = slot_of(cell, n + 1, SUMMARY_SLOT);
    double counted = mpm_double(mpm_load_relaxed(&now[0])) + count;
    double summed = mpm_double(mpm_load_relaxed(&now[1])) + sum;
    MPM_MISPLACED("summary.commit.early", mpm_store_release(&cell[1], n + 1));
    mpm_store_release(&next[0], mpm_bits(counted));
    MPM_CRASH_POINT("cell.flip.half");
    mpm_store_release(&next[1], mpm_bits(summed));
    MPM_CRASH_POINT("cell.flip.written");
    mpm_store_release(&cell[1], n + 1); /* the commit */
}

/* What a dead owner leaves to those who fold by this mode.  NaN: nothing. */
static double
fold(mpm_mode mode, double left, double value)
{
    switch (mode) {
    case MPM_MODE_SUM: return left != left ? value : left + value;
    case MPM_MODE_MIN: return left < value ? left : value;
    case MPM_MODE_MAX: return left > value ? left : value;
    default: return mpm_double(UINT64_MAX); /* a NaN: the dead leave nothing */
    }
}

void
mpm_mode_write(mpm_word *cell, uint64_t lease, mpm_mode mode, double x,
               bool add, double time)
{
    uint64_t n = mpm_load_relaxed(&cell[1]);
    mpm_word *now = slot_of(cell, n, MODE_SLOT);
    mpm_word *next = slot_of(cell, n + 1, MODE_SLOT);
    uint64_t last = mpm_load_relaxed(&now[SLOT_LEASE]);
    double value = mpm_double(mpm_load_relaxed(&now[SLOT_VALUE]));
    double left = last == 0 ? mpm_double(UINT64_MAX)
                            : mpm_double(mpm_load_relaxed(&now[SLOT_LEFT]));
    if (last != lease) {
        if (last != 0)
            left = fold(mode, left, value);
        value = 0;
    }
    MPM_MISPLACED("mode.commit.early", mpm_store_release(&cell[1], n + 1));
    mpm_store_release(&next[SLOT_LEASE], lease);
    mpm_store_release(&next[SLOT_VALUE], mpm_bits(add ? value + x : x));
    MPM_CRASH_POINT("cell.mode.half");
    mpm_store_release(&next[SLOT_TIME], mpm_bits(time));
    mpm_store_release(&next[SLOT_LEFT], mpm_bits(left));
    MPM_CRASH_POINT("cell.mode.written");
    mpm_store_release(&cell[1], n + 1); /* the commit */
}

/* ---- histogram ----------------------------------------------------------- */

/* The first bound that is not below x; NaN finds the last, +Inf. */
uint32_t
mpm_bucket_of(const double *bounds, uint32_t count, double x)
{
    uint32_t low = 0, high = count - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (x <= bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* `more` observations, an odd number: n must change its parity. */
static void
histogram_add(mpm_word *cell, uint32_t bucket, uint64_t more, double x)
{
    uint64_t n = mpm_load_relaxed(&cell[1]);
    double sum = mpm_double(mpm_load_relaxed(&cell[2 + (n & 1)]));
    uint64_t in = mpm_load_relaxed(&cell[4 + bucket]);
    MPM_MISPLACED("histogram.commit.early",
                  mpm_store_release(&cell[4 + bucket], in + more));
    mpm_store_release(&cell[2 + ((n + 1) & 1)], mpm_bits(sum + x));
    MPM_CRASH_POINT("cell.histogram.summed");
    mpm_store_release(&cell[4 + bucket], in + more); /* the commit */
    MPM_CRASH_POINT("cell.histogram.committed");
    mpm_store_release(&cell[1], n + more);
}

void
mpm_histogram_observe(mpm_word *cell, const double *bounds, uint32_t count,
                      double x)
{
    histogram_add(cell, mpm_bucket_of(bounds, count, x), 1, x);
}

uint64_t
mpm_histogram_count(const mpm_word *cell, uint32_t bounds)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < bounds; i++)
        n += mpm_load_acquire(&cell[4 + i]);
    return n;
}

/* ---- shared shard -------------------------------------------------------- */

void
mpm_gauge_set(mpm_word *cell, double x)
{
    mpm_store_release(&cell[1], mpm_bits(x));
}

void
mpm_gauge_add(mpm_word *cell, double x)
{
    uint64_t old = mpm_load_acquire(&cell[1]);
    while (!mpm_cas_acq_rel(&cell[1], &old, mpm_bits(mpm_double(old) + x)))
        continue; /* somebody's update went in: there is progress */
}

/* ---- taking up, pouring in ----------------------------------------------- */

void
mpm_cell_take_up(mpm_word *cell, mpm_kind kind, uint32_t words, uint64_t birth,
                 const mpm_word *from)
{
    if (mpm_load_acquire(&cell[0]) == birth && !MPM_MUTANT("take_up.zeroes")) {
        /* A dead owner's: it goes on.  Only its hint may be one behind. */
        if (kind == MPM_HISTOGRAM)
            mpm_store_release(&cell[1], mpm_histogram_count(cell, words - 4));
        return;
    }
    mpm_store_release(&cell[0], 0);
    MPM_CRASH_POINT("cell.take_up.unborn");
    MPM_MISPLACED("take_up.commit.early", mpm_store_release(&cell[0], birth));
    for (uint32_t i = 1; i < words; i++)
        mpm_store_release(&cell[i],
                          from == NULL ? 0 : mpm_load_relaxed(&from[i]));
    MPM_CRASH_POINT("cell.take_up.zeroed");
    mpm_store_release(&cell[0], birth);
}

/* One bucket after the other, each in one commit; the sum goes with the first,
 * so a scrape that comes between may see it early. */
static void
pour_histogram(mpm_word *cell, const mpm_word *from, uint32_t bounds)
{
    uint64_t n = mpm_load_relaxed(&from[1]);
    double sum = mpm_double(mpm_load_relaxed(&from[2 + (n & 1)]));
    for (uint32_t i = 0; i < bounds; i++) {
        uint64_t more = mpm_load_relaxed(&from[4 + i]);
        if (more == 0)
            continue;
        if (more % 2 == 0) {
            histogram_add(cell, i, 1, sum);
            more--;
            sum = 0;
        }
        histogram_add(cell, i, more, sum);
        sum = 0;
    }
}

void
mpm_cell_pour(mpm_word *cell, const mpm_word *from, mpm_kind kind,
              uint32_t words)
{
    uint64_t n = mpm_load_relaxed(&from[1]);
    const mpm_word *slot = from + 2 + (n & 1) * SUMMARY_SLOT;
    switch (kind) {
    case MPM_COUNTER: mpm_counter_add(cell, mpm_double(n)); break;
    case MPM_SUMMARY:
        mpm_summary_add(cell, mpm_double(mpm_load_relaxed(&slot[0])),
                        mpm_double(mpm_load_relaxed(&slot[1])));
        break;
    case MPM_HISTOGRAM: pour_histogram(cell, from, words - 4); break;
    default: /* the others are poured by who knows what was written last */
        break;
    }
}

/* ---- reading ------------------------------------------------------------- */

static bool
read_summary(mpm_word *cell, mpm_reading *into)
{
    uint64_t n = mpm_load_acquire(&cell[1]), count = 0, sum = 0;
    bool settled = false;
    for (int pass = 0; pass < MPM_PASSES && !settled; pass++) {
        mpm_word *slot = slot_of(cell, n, SUMMARY_SLOT);
        count = mpm_load_acquire(&slot[0]);
        MPM_CRASH_POINT("cell.flip.half.read");
        sum = mpm_load_acquire(&slot[1]);
        uint64_t again = mpm_load_acquire(&cell[1]);
        settled = again == n || MPM_MUTANT("summary.read.once");
        n = again;
    }
    double counted = mpm_double(count); /* of a damaged store, anything */
    into->count += counted >= 0 && counted < 0x1p63 ? (uint64_t)counted : 0;
    into->value += mpm_double(sum);
    return settled;
}

static bool
read_histogram(mpm_word *cell, uint32_t bounds, mpm_reading *into)
{
    uint64_t *seen = into->scratch, n = 0, sum = 0;
    bool settled = false;
    for (uint32_t i = 0; i < bounds; i++)
        n += seen[i] = mpm_load_acquire(&cell[4 + i]);
    for (int pass = 0; pass < MPM_PASSES && !settled; pass++) {
        uint64_t again = 0;
        settled = true;
        sum = mpm_load_acquire(&cell[2 + (n & 1)]);
        MPM_CRASH_POINT("cell.histogram.half.read");
        for (uint32_t i = 0; i < bounds; i++) {
            uint64_t bucket = mpm_load_acquire(&cell[4 + i]);
            settled = settled &&
                      (bucket == seen[i] || MPM_MUTANT("histogram.read.once"));
            again += seen[i] = bucket;
        }
        n = again;
    }
    for (uint32_t i = 0; i < bounds; i++)
        into->buckets[i] += seen[i];
    into->value += mpm_double(sum);
    return settled;
}

bool
mpm_cell_read(mpm_word *cell, mpm_kind kind, uint32_t words, uint64_t birth,
              mpm_reading *into)
{
    if (mpm_load_acquire(&cell[0]) != birth && !MPM_MUTANT("birth.unread"))
        return true;
    switch (kind) {
    case MPM_COUNTER:
        into->value += mpm_double(mpm_load_acquire(&cell[1]));
        return true;
    case MPM_GAUGE: /* the only one: -0.0 stays what it is */
        into->value = mpm_double(mpm_load_acquire(&cell[1]));
        return true;
    case MPM_ENUM: into->state = mpm_load_acquire(&cell[1]); return true;
    case MPM_SUMMARY: return read_summary(cell, into);
    case MPM_HISTOGRAM: return read_histogram(cell, words - 4, into);
    default: return true;
    }
}

bool
mpm_mode_read(mpm_word *cell, uint64_t birth, mpm_part *part)
{
    memset(part, 0, sizeof *part);
    if (mpm_load_acquire(&cell[0]) != birth)
        return true;
    uint64_t n = mpm_load_acquire(&cell[1]);
    bool settled = false;
    for (int pass = 0; pass < MPM_PASSES && !settled; pass++) {
        mpm_word *slot = slot_of(cell, n, MODE_SLOT);
        part->lease = mpm_load_acquire(&slot[SLOT_LEASE]);
        part->value = mpm_double(mpm_load_acquire(&slot[SLOT_VALUE]));
        part->time = mpm_double(mpm_load_acquire(&slot[SLOT_TIME]));
        part->left = mpm_double(mpm_load_acquire(&slot[SLOT_LEFT]));
        uint64_t again = mpm_load_acquire(&cell[1]);
        settled = again == n;
        n = again;
    }
    part->written = n != 0;
    return settled;
}
