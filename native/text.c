/* text.c: rendering a scrape, in the text format 0.0.4 and in OpenMetrics 1.0.
 *
 * Runs with nothing held and beside every writer.  Families that a plain
 * renderer can't show (names outside the legacy character set, escaping
 * schemes) are rendered from Python. */
#include <stdlib.h>

#include "core.h"

/* ---- a text that grows --------------------------------------------------- */

void
mpm_buffer_add(mpm_buffer *b, const char *bytes, size_t length)
{
    if (b->capacity - b->length < length && !b->failed) {
        size_t capacity = 2 * b->capacity + length + 256;
        char *larger = realloc(b->bytes, capacity);
        if (larger == NULL) {
            b->failed = true;
        } else {
            b->bytes = larger;
            b->capacity = capacity;
        }
    }
    if (!b->failed && length != 0) {
        memcpy(b->bytes + b->length, bytes, length);
        b->length += length;
    }
}

void
mpm_buffer_free(mpm_buffer *b)
{
    free(b->bytes);
    memset(b, 0, sizeof *b);
}

#define ADD(b, literal) mpm_buffer_add((b), (literal), sizeof(literal) - 1)

static void
add_string(mpm_buffer *b, mpm_string s)
{
    mpm_buffer_add(b, s.bytes, s.length);
}

static void
add_float(mpm_buffer *b, double x)
{
    char text[MPM_FLOAT_MAX];
    mpm_buffer_add(b, text, mpm_float_write(text, x));
}

/* ---- one family ---------------------------------------------------------- */

typedef struct {
    mpm_store *store;
    mpm_format format;
    bool created;
    mpm_string label; /* of the page by shard */
    mpm_buffer who;   /* that label's pair; empty: all shards added up */
    mpm_shape *shape;
    mpm_help *help;
    mpm_string name;
    mpm_string *extras; /* le="0.1" or state pairs, made once per family */
    mpm_buffer arena;   /* their bytes */
    mpm_buffer *out;
    mpm_buffer later; /* 0.0.4 shows _created as a family of its own */
    size_t limit;     /* of both together */
    mpm_reading reading;
} rendering;

static void
add_header(rendering *r, mpm_buffer *b, const char *suffix, const char *type)
{
    const char *help = (const char *)(r->help + 1);
    mpm_string end = {suffix, (uint32_t)strlen(suffix)};
    ADD(b, "# HELP ");
    add_string(b, r->name);
    add_string(b, end);
    ADD(b, " ");
    mpm_escape(b, help, r->help->help, r->format == MPM_OPENMETRICS);
    ADD(b, "\n# TYPE ");
    add_string(b, r->name);
    add_string(b, end);
    ADD(b, " ");
    mpm_buffer_add(b, type, strlen(type));
    ADD(b, "\n");
    if (r->format == MPM_OPENMETRICS && r->help->unit != 0) {
        ADD(b, "# UNIT ");
        add_string(b, r->name);
        ADD(b, " ");
        mpm_buffer_add(b, help + r->help->help, r->help->unit);
        ADD(b, "\n");
    }
}

/* The header as each format names the family's type. */
static void
add_family_header(rendering *r)
{
    static const struct {
        const char *suffix, *plain, *open;
    } headers[MPM_KINDS] = {
        [MPM_COUNTER] = {"_total", "counter", "counter"},
        [MPM_GAUGE] = {"", "gauge", "gauge"},
        [MPM_GAUGE_MODE] = {"", "gauge", "gauge"},
        [MPM_SUMMARY] = {"", "summary", "summary"},
        [MPM_HISTOGRAM] = {"", "histogram", "histogram"},
        [MPM_INFO] = {"_info", "gauge", "info"},
        [MPM_ENUM] = {"", "gauge", "stateset"},
    };
    bool open = r->format == MPM_OPENMETRICS;
    uint32_t kind = r->shape->kind;
    add_header(r, r->out, open ? "" : headers[kind].suffix,
               open ? headers[kind].open : headers[kind].plain);
}

/* Name, suffix and labels up to the value.  `extra` goes where it sorts. */
static void
add_sample(rendering *r, mpm_buffer *b, const mpm_label_text *text,
           mpm_string suffix, const mpm_string *extra)
{
    const char *pairs = mpm_text_pairs(text);
    uint32_t split = extra == NULL ? text->pairs : text->split;
    bool of_shard = r->who.length != 0;
    bool more = text->pairs != 0 || extra != NULL;
    if (r->out->length + r->later.length > r->limit)
        r->reading.budget->left = 0; /* so the walk ends, too */
    if (r->reading.budget->left == 0)
        return;
    add_string(b, r->name);
    add_string(b, suffix);
    if (of_shard || more) {
        ADD(b, "{");
        mpm_buffer_add(b, r->who.bytes, r->who.length);
        if (of_shard && more)
            ADD(b, ",");
        /* Each pair ends in a comma; the last one's is not wanted. */
        if (extra == NULL && more) {
            mpm_buffer_add(b, pairs, split - 1);
        } else if (extra != NULL) {
            mpm_buffer_add(b, pairs, split);
            add_string(b, *extra);
            if (split != text->pairs) {
                ADD(b, ",");
                mpm_buffer_add(b, pairs + split, text->pairs - split - 1);
            }
        }
        ADD(b, "}");
    }
    ADD(b, " ");
}

#define STRING(literal) ((mpm_string){literal, sizeof(literal) - 1})

/* name="n", in a buffer that is used again. */
static void
set_pair(rendering *r, mpm_buffer *pair, mpm_string name, uint64_t n)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    pair->length = 0;
    add_string(pair, name);
    ADD(pair, "=\"");
    mpm_buffer_add(pair, digits + first, sizeof digits - first);
    ADD(pair, "\"");
    r->out->failed = r->out->failed || pair->failed;
}

static void
add_value(rendering *r, const mpm_label_text *text, mpm_string suffix,
          const mpm_string *extra, double value)
{
    add_sample(r, r->out, text, suffix, extra);
    add_float(r->out, value);
    ADD(r->out, "\n");
}

/* ` # {trace_id="..."} value time`: OpenMetrics, "Exemplars". */
static void
add_exemplar(rendering *r, const mpm_exemplar *e)
{
    mpm_buffer *b = r->out;
    char time[MPM_FLOAT_MAX];
    ADD(b, " # {");
    for (uint32_t at = 0; at + 4 <= e->bytes;) {
        uint16_t length[2];
        memcpy(length, e->text + at, 4);
        const char *name = e->text + at + 4;
        if ((uint64_t)at + 4 + length[0] + length[1] > e->bytes)
            break; /* damage */
        if (at != 0)
            ADD(b, ",");
        mpm_buffer_add(b, name, length[0]);
        ADD(b, "=\"");
        mpm_escape(b, name + length[0], length[1], true);
        ADD(b, "\"");
        at += 4u + length[0] + length[1];
    }
    ADD(b, "} ");
    add_float(b, e->value);
    ADD(b, " ");
    mpm_buffer_add(b, time, mpm_float_write_repr(time, e->time));
}

/* A counter or a bucket: what may have an exemplar. */
static void
add_counted(rendering *r, const mpm_walk *w, mpm_string suffix,
            const mpm_string *extra, double value, uint32_t part)
{
    mpm_exemplar e;
    add_sample(r, r->out, w->text, suffix, extra);
    add_float(r->out, value);
    if (r->format == MPM_OPENMETRICS && r->label.length == 0 &&
        mpm_exemplar_read(w, r->shape, part, &e))
        add_exemplar(r, &e);
    ADD(r->out, "\n");
}

static void
add_created(rendering *r, const mpm_walk *w)
{
    mpm_buffer *b = r->format == MPM_OPENMETRICS ? r->out : &r->later;
    if (!r->created)
        return;
    add_sample(r, b, w->text, STRING("_created"), NULL);
    add_float(b, mpm_double(mpm_load_acquire(&w->series->created)));
    ADD(b, "\n");
}

static void
add_histogram(rendering *r, const mpm_walk *w)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < r->shape->bounds; i++) {
        n += r->reading.buckets[i];
        add_counted(r, w, STRING("_bucket"), &r->extras[i], (double)n, i);
    }
    add_value(r, w->text, STRING("_count"), NULL, (double)n);
    /* OpenMetrics, Histogram: no sum where values may be negative. */
    if (mpm_shape_bounds(r->shape)[0] >= 0)
        add_value(r, w->text, STRING("_sum"), NULL, r->reading.value);
    add_created(r, w);
}

/* A gauge that shows each process's value, and no fold of them. */
static bool
shows_parts(const mpm_shape *shape)
{
    return shape->kind == MPM_GAUGE_MODE &&
           (shape->mode & ~(unsigned)MPM_MODE_LIVE) == MPM_MODE_ALL;
}

static void
add_parts(rendering *r, const mpm_walk *w)
{
    mpm_part *parts;
    size_t count = mpm_series_parts(w, r->shape, &parts);
    mpm_buffer pair = {0};
    for (size_t i = 0; i < count; i++) {
        set_pair(r, &pair, STRING("pid"), parts[i].pid);
        mpm_string extra = {pair.bytes, (uint32_t)pair.length};
        add_value(r, w->text, STRING(""), &extra, parts[i].value);
    }
    mpm_buffer_free(&pair);
    free(parts);
}

static void
add_series(rendering *r, const mpm_walk *w)
{
    const mpm_reading *reading = &r->reading;
    switch (r->shape->kind) {
    case MPM_COUNTER:
        add_counted(r, w, STRING("_total"), NULL, reading->value, 0);
        add_created(r, w);
        break;
    case MPM_GAUGE:
        add_value(r, w->text, STRING(""), NULL, reading->value);
        break;
    case MPM_GAUGE_MODE:
        if (shows_parts(r->shape) && r->label.length == 0)
            add_parts(r, w);
        else if (reading->written)
            add_value(r, w->text, STRING(""), NULL, reading->value);
        break;
    case MPM_SUMMARY:
        add_value(r, w->text, STRING("_count"), NULL, (double)reading->count);
        add_value(r, w->text, STRING("_sum"), NULL, reading->value);
        add_created(r, w);
        break;
    case MPM_HISTOGRAM: add_histogram(r, w); break;
    case MPM_INFO: add_value(r, w->text, STRING("_info"), NULL, 1); break;
    case MPM_ENUM:
        for (uint32_t i = 0; i < r->shape->states; i++)
            add_value(r, w->text, STRING(""), &r->extras[i],
                      i == reading->state);
        break;
    default: break;
    }
}

/* ---- what a family needs while it is rendered ---------------------------- */

/* name="value" of the label that the samples of one series differ by. */
static void
add_extra(rendering *r, uint32_t i, mpm_strings *states)
{
    mpm_buffer *b = &r->arena;
    if (r->shape->kind == MPM_HISTOGRAM) {
        ADD(b, "le=\"");
        add_float(b, mpm_shape_bounds(r->shape)[i]);
    } else {
        mpm_string state = mpm_strings_next(states);
        add_string(b, r->name);
        ADD(b, "=\"");
        mpm_escape(b, state.bytes, state.length, true);
    }
    ADD(b, "\"");
}

static bool
begin_family(rendering *r)
{
    uint32_t count = r->shape->bounds + r->shape->states;
    mpm_strings strings = mpm_shape_strings(r->shape);
    r->name = mpm_shape_name(r->shape);
    if (count == 0)
        return true;
    for (uint32_t i = 0; i < 2 + r->shape->labels; i++)
        mpm_strings_next(&strings);
    r->extras = calloc(count, sizeof *r->extras);
    uint64_t *buckets = calloc(2 * (size_t)count, sizeof *buckets);
    r->reading.buckets = buckets;
    if (r->extras == NULL || buckets == NULL)
        return false;
    r->reading.scratch = buckets + count;
    for (uint32_t i = 0; i < count; i++) {
        size_t before = r->arena.length;
        add_extra(r, i, &strings);
        r->extras[i].length = (uint32_t)(r->arena.length - before);
    }
    const char *bytes = r->arena.bytes;
    for (uint32_t i = 0; i < count; i++) {
        r->extras[i].bytes = bytes;
        bytes += r->extras[i].length;
    }
    return !r->arena.failed;
}

static void
end_family(rendering *r)
{
    free(r->shape);
    free(r->help);
    free(r->extras);
    free(r->reading.buckets);
    mpm_buffer_free(&r->arena);
    mpm_buffer_free(&r->later);
    mpm_buffer_free(&r->who);
}

/* The series over all shards. */
static void
add_sum(rendering *r, const mpm_walk *w)
{
    if (!shows_parts(r->shape))
        mpm_series_read(r->store, r->shape, w->series, w->id.birth,
                        &r->reading);
    add_series(r, w);
}

/* The series once for each shard that counted it. */
static void
add_shards(rendering *r, const mpm_walk *w)
{
    uint64_t shards = mpm_shard_count(r->store);
    for (uint64_t i = 1; i < shards && r->reading.budget->left != 0; i++) {
        if (!mpm_series_read_shard(r->store, r->shape, w->series, w->id.birth,
                                   i, &r->reading))
            continue;
        set_pair(r, &r->who, r->label, i);
        add_series(r, w);
    }
}

static void
add_all_series(rendering *r, mpm_id id)
{
    mpm_walk w;
    mpm_walk_begin(&w, r->store, id, r->reading.budget);
    while (mpm_walk_next(&w)) {
        size_t length = r->out->length, later = r->later.length;
        if (r->label.length != 0)
            add_shards(r, &w);
        else
            add_sum(r, &w);
        if (!mpm_walk_holds(&w)) { /* removed meanwhile: as if never seen */
            r->out->length = length;
            r->later.length = later;
        }
    }
    mpm_walk_end(&w);
}

/* Is the family on such a page?  What everybody writes is no shard's. */
static bool
is_shown(const rendering *r)
{
    uint32_t kind = r->shape->kind;
    return r->label.length == 0 ||
           (kind != MPM_GAUGE && kind != MPM_ENUM && kind != MPM_INFO);
}

mpm_status
mpm_render(mpm_store *s, const mpm_id *families, size_t count,
           const mpm_page *page, mpm_buffer *out)
{
    struct mpm_columns *columns = mpm_columns_new(s);
    mpm_budget budget = mpm_budget_of(&s->heap);
    for (size_t i = 0; i < count && !out->failed && budget.left != 0; i++) {
        rendering r = {.store = s, .format = page->format, .out = out};
        r.created = page->created;
        r.label = page->shard;
        r.reading.columns = columns;
        r.reading.budget = &budget;
        r.limit =
            MPM_SCRAPE_FREE + mpm_load_relaxed(&s->heap.known) * MPM_PAGE_TIMES;
        if (mpm_family_copy(s, families[i], &r.shape, &r.help) != MPM_OK)
            continue;
        mpm_budget_spend(&budget, r.shape->bytes + r.help->bytes);
        if (!is_shown(&r)) {
            /* nothing: not even its header */
        } else if (begin_family(&r)) {
            add_family_header(&r);
            add_all_series(&r, families[i]);
            if (r.later.length != 0) {
                add_header(&r, out, "_created", "gauge");
                mpm_buffer_add(out, r.later.bytes, r.later.length);
            }
        } else {
            out->failed = true;
        }
        out->failed = out->failed || r.later.failed;
        end_family(&r);
    }
    mpm_columns_free(columns);
    if (budget.left == 0)
        return MPM_EDAMAGED;
    return out->failed ? MPM_EPRIVATE : MPM_OK;
}
