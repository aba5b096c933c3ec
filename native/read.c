/* read.c: one series over all shards.
 *
 * Writes nothing but a count, holds nothing, and runs beside every writer.  A
 * cell lies at the same place of each shard, so a scrape looks the shards'
 * chunks up once and walks the series that lie in them: 64 shards of 1,000
 * histograms are 64,000 cells, and some 200 look-ups. */
#include <stdlib.h>

#include "core.h"

/* ---- where the cells lie ------------------------------------------------- */

/* What one shard has of a column; start NULL: nothing yet. */
typedef struct {
    mpm_shard *shard;
    mpm_word *start;
} column_part;

/* One chunk of the word space in every shard, as it was when a scrape first
 * asked.  A chunk or a shard made since then is not seen, as if the scrape had
 * come before its first number; none ever moves or goes away. */
struct mpm_columns {
    mpm_store *store;
    uint64_t shards; /* as many as there were when the scrape began */
    uint64_t chunk;  /* UINT64_MAX: none yet */
    uint64_t words;  /* of the chunk, each part has as many */
    column_part part[];
};

struct mpm_columns *
mpm_columns_new(mpm_store *s)
{
    uint64_t shards = mpm_shard_count(s);
    struct mpm_columns *c = calloc(1, sizeof *c + shards * sizeof(column_part));
    if (c == NULL)
        return NULL;
    c->store = s;
    c->shards = shards;
    c->chunk = UINT64_MAX;
    for (uint64_t i = 0; i < shards; i++)
        c->part[i].shard = mpm_shard_at(s, i);
    return c;
}

void
mpm_columns_free(struct mpm_columns *columns)
{
    free(columns);
}

static void
fill_column(struct mpm_columns *c, uint64_t chunk, uint64_t words)
{
    c->chunk = chunk;
    c->words = words;
    for (uint64_t i = 0; i < c->shards; i++) {
        column_part *part = &c->part[i];
        part->start =
            part->shard == NULL
                ? NULL
                : mpm_shard_chunk(c->store, part->shard, chunk, words);
    }
}

/* The cells of one series: over a column, or each looked up. */
typedef struct {
    mpm_store *store;
    const struct mpm_columns *columns;
    uint64_t words, shards;
    uint32_t count;
} cells;

static cells
cells_of(mpm_store *s, struct mpm_columns *columns, mpm_series *series,
         uint32_t count)
{
    cells c = {.store = s, .count = count};
    c.words = mpm_load_acquire(&series->words);
    uint64_t first = c.words & UINT32_MAX, chunk = c.words >> 32;
    uint64_t size = mpm_shard_chunk_words(s, chunk);
    bool fits = first + count <= size;
    c.shards = fits ? mpm_shard_count(s) : 0;
    if (columns == NULL || !fits)
        return c;
    if (columns->chunk != chunk || columns->words != size)
        fill_column(columns, chunk, size);
    c.columns = columns;
    c.shards = columns->shards;
    return c;
}

/* The cell in shard i; NULL: it never counted there. */
static mpm_word *
cell_in(const cells *c, uint64_t i, mpm_shard **shard)
{
    if (c->columns != NULL) {
        const column_part *part = &c->columns->part[i];
        *shard = part->shard;
        return part->start == NULL ? NULL
                                   : part->start + (c->words & UINT32_MAX);
    }
    *shard = mpm_shard_at(c->store, i);
    return *shard == NULL
               ? NULL
               : mpm_shard_cell(c->store, *shard, c->words, c->count);
}

/* A cell that moved all the while: only a count, ordered by nothing. */
static void
count_unsettled(mpm_store *s)
{
    if (!s->heap.read_only)
        mpm_add_relaxed(&s->root->unsettled, 1);
}

/* ---- gauges with a mode -------------------------------------------------- */

static mpm_mode
fold_of(const mpm_shape *shape)
{
    return (mpm_mode)(shape->mode & ~(unsigned)MPM_MODE_LIVE);
}

/* Reads what one process set; false: nothing that counts. */
static bool
read_part(mpm_store *s, mpm_shard *shard, mpm_word *cell, uint64_t birth,
          bool live, mpm_part *part)
{
    if (!mpm_mode_read(cell, birth, part))
        count_unsettled(s);
    if (!part->written)
        return false;
    return !live || MPM_MUTANT("live.shows.dead") ||
           (part->lease == mpm_load_acquire(&shard->owner) &&
            mpm_lease_is_alive(&s->heap, part->lease));
}

static void
fold_part(mpm_reading *into, const mpm_part *part, mpm_mode mode, bool live)
{
    double value = part->value;
    bool left = !live && part->left == part->left;
    switch (mode) {
    case MPM_MODE_SUM: into->value += value + (left ? part->left : 0); break;
    case MPM_MODE_MIN:
        value = left && part->left < value ? part->left : value;
        if (!into->written || value < into->value)
            into->value = value;
        break;
    case MPM_MODE_MAX:
        value = left && part->left > value ? part->left : value;
        if (!into->written || value > into->value)
            into->value = value;
        break;
    default:
        if (!into->written || part->time >= into->time) {
            into->value = value;
            into->time = part->time;
        }
    }
    into->written = true;
}

static bool
spend(const mpm_reading *into, uint64_t bytes)
{
    return into->budget == NULL || mpm_budget_spend(into->budget, bytes);
}

/* For one shard: a look, or the cell that is there. */
static bool
spend_on(const mpm_reading *into, const mpm_word *cell, uint32_t count)
{
    return spend(into, cell == NULL ? 1 : (uint64_t)count * 8);
}

static void
read_mode(const cells *c, const mpm_shape *shape, uint64_t birth,
          mpm_reading *into)
{
    bool live = (shape->mode & MPM_MODE_LIVE) != 0;
    for (uint64_t i = 1; i < c->shards; i++) {
        mpm_part part;
        mpm_shard *shard;
        mpm_word *cell = cell_in(c, i, &shard);
        if (!spend_on(into, cell, c->count))
            return;
        if (cell != NULL &&
            read_part(c->store, shard, cell, birth, live, &part))
            fold_part(into, &part, fold_of(shape), live);
    }
}

/* Keeps one part a pid, the youngest lease's. */
static size_t
keep_part(mpm_part *parts, size_t count, const mpm_part *part)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i].pid != part->pid)
            continue;
        if (parts[i].lease < part->lease)
            parts[i] = *part;
        return count;
    }
    parts[count] = *part;
    return count + 1;
}

size_t
mpm_series_parts(const mpm_walk *w, const mpm_shape *shape, mpm_part **parts)
{
    mpm_store *s = w->store;
    cells c = cells_of(s, NULL, w->series, MPM_MODE_WORDS);
    bool live = (shape->mode & MPM_MODE_LIVE) != 0;
    size_t count = 0;
    *parts = calloc(c.shards + 1, sizeof **parts);
    for (uint64_t i = 1; *parts != NULL && i < c.shards; i++) {
        mpm_part part;
        mpm_shard *shard;
        mpm_word *cell = cell_in(&c, i, &shard);
        if (!mpm_budget_spend(w->budget, count + 1))
            break;
        if (cell == NULL ||
            !read_part(s, shard, cell, w->id.birth, live, &part))
            continue;
        part.pid = mpm_load_acquire(&shard->pid);
        /* The dead are shown until somebody takes their shard over. */
        if (part.lease == mpm_load_acquire(&shard->owner))
            count = keep_part(*parts, count, &part);
    }
    return count;
}

/* ---- any series ---------------------------------------------------------- */

static void
begin(mpm_reading *into, uint32_t bounds)
{
    mpm_reading empty = {.buckets = into->buckets,
                         .scratch = into->scratch,
                         .columns = into->columns,
                         .budget = into->budget};
    *into = empty;
    if (into->buckets != NULL)
        memset(into->buckets, 0, bounds * sizeof *into->buckets);
}

/* What a reset lets readers subtract: the total as it was read then.  Loaded
 * before the shards, which only grow, and are added in the same order: so a
 * total is never less, though floats are rounded, and no counter is ever shown
 * below zero. */
static double
base_of(mpm_store *s, mpm_series *series, uint64_t birth)
{
    mpm_shard *shared = mpm_shard_at(s, 0);
    mpm_word *cell =
        shared == NULL
            ? NULL
            : mpm_shard_cell(s, shared, mpm_load_acquire(&series->words),
                             MPM_COUNTER_WORDS);
    return cell == NULL || mpm_load_acquire(&cell[0]) != birth
               ? 0
               : mpm_double(mpm_load_acquire(&cell[1]));
}

/* All shards added up, what a reset subtracts included. */
static void
read_all(mpm_store *s, const mpm_shape *shape, mpm_series *series,
         uint64_t birth, struct mpm_columns *columns, mpm_reading *into)
{
    uint32_t count = mpm_shape_words(shape);
    mpm_kind kind = (mpm_kind)shape->kind;
    bool shared = kind == MPM_GAUGE || kind == MPM_ENUM;
    cells c = cells_of(s, columns, series, count);
    if (kind == MPM_GAUGE_MODE) {
        read_mode(&c, shape, birth, into);
        return;
    }
    uint64_t last = shared && c.shards > 1 ? 1 : c.shards;
    for (uint64_t i = shared ? 0 : 1; i < last; i++) {
        mpm_shard *shard;
        mpm_word *cell = cell_in(&c, i, &shard);
        if (!spend_on(into, cell, count))
            return;
        if (cell != NULL && !mpm_cell_read(cell, kind, count, birth, into))
            count_unsettled(s);
    }
}

void
mpm_series_read(mpm_store *s, const mpm_shape *shape, mpm_series *series,
                uint64_t birth, mpm_reading *into)
{
    uint32_t count = mpm_shape_words(shape);
    begin(into, shape->bounds);
    if (count == 0 || !spend(into, count))
        return;
    double base = shape->kind == MPM_COUNTER ? base_of(s, series, birth) : 0;
    /* A column may be older than the base, and lack a chunk that is in it. */
    read_all(s, shape, series, birth, base != 0 ? NULL : into->columns, into);
    if (base != 0) /* two infinities are equal, and their difference is none */
        into->value = into->value > base ? into->value - base : 0;
}

bool
mpm_series_read_shard(mpm_store *s, const mpm_shape *shape, mpm_series *series,
                      uint64_t birth, uint64_t shard, mpm_reading *into)
{
    mpm_part part;
    mpm_shard *owner;
    mpm_kind kind = (mpm_kind)shape->kind;
    uint32_t count = mpm_shape_words(shape);
    begin(into, shape->bounds);
    if (shard == 0 || count == 0 || kind == MPM_GAUGE || kind == MPM_ENUM ||
        !spend(into, (uint64_t)count * 8))
        return false;
    cells c = cells_of(s, into->columns, series, count);
    mpm_word *cell = shard < c.shards ? cell_in(&c, shard, &owner) : NULL;
    if (cell == NULL || mpm_load_acquire(&cell[0]) != birth)
        return false;
    if (kind != MPM_GAUGE_MODE) {
        if (!mpm_cell_read(cell, kind, count, birth, into))
            count_unsettled(s);
        return true;
    }
    mpm_mode mode = fold_of(shape);
    bool live = (shape->mode & MPM_MODE_LIVE) != 0;
    bool shown =
        read_part(s, owner, cell, birth, live, &part) &&
        (mode != MPM_MODE_ALL || part.lease == mpm_load_acquire(&owner->owner));
    if (shown)
        fold_part(into, &part, mode, live);
    return shown;
}

mpm_status
mpm_series_reset(mpm_store *s, const mpm_shape *shape, mpm_id id)
{
    mpm_word *cell;
    mpm_reading reading = {0};
    mpm_series *series = mpm_series_at(s, id.index);
    mpm_shard *shared = mpm_shard_at(s, 0);
    if (id.birth == 0 || series == NULL || shared == NULL ||
        shape->kind != MPM_COUNTER ||
        mpm_load_acquire(&series->birth) != id.birth)
        return MPM_EGONE;
    uint64_t words = mpm_load_acquire(&series->words);
    mpm_status status =
        mpm_shard_reach(s, shared, words, MPM_COUNTER_WORDS, &cell);
    if (status != MPM_OK)
        return status;
    uint64_t stands = mpm_load_acquire(&cell[0]);
    if (stands != id.birth) {
        /* Words of the shared shard: somebody may still write in them for a
         * gauge that they belonged to. */
        if (stands != 0 && mpm_shard_is_hazardous(s, stands))
            return MPM_BUSY;
        mpm_cell_take_up(cell, MPM_COUNTER, MPM_COUNTER_WORDS, id.birth, NULL);
    }
    read_all(s, shape, series, id.birth, NULL, &reading);
    mpm_store_release(&cell[1], mpm_bits(reading.value));
    mpm_store_release(&series->created,
                      mpm_bits((double)mpm_sys_realtime_ns() / 1e9));
    return MPM_OK;
}
