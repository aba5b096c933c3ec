/* label.c: the text of a series, made once when the series is: its label
 * values, and the pairs as every scrape will show them. */
#include <stdlib.h>

#include "core.h"

void
mpm_escape(mpm_buffer *b, const char *bytes, size_t length, bool quotes)
{
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (c != '\\' && c != '\n' && (c != '"' || !quotes))
            continue;
        mpm_buffer_add(b, bytes + from, i - from);
        mpm_buffer_add(b, "\\", 1);
        if (c == '\n') {
            mpm_buffer_add(b, "n", 1);
            from = i + 1;
        } else {
            from = i;
        }
    }
    mpm_buffer_add(b, bytes + from, length - from);
}

typedef struct {
    mpm_string name, value;
} pair;

/* As Python compares str: by code points, which is by UTF-8's bytes. */
static int
compare(mpm_string a, mpm_string b)
{
    uint32_t shorter = a.length < b.length ? a.length : b.length;
    int order = memcmp(a.bytes, b.bytes, shorter);
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

static int
compare_pairs(const void *a, const void *b)
{
    return compare(((const pair *)a)->name, ((const pair *)b)->name);
}

/* The name of the label that a sample has beside the series' own. */
static mpm_string
extra_name(const mpm_shape *shape)
{
    switch (shape->kind) {
    case MPM_HISTOGRAM: return (mpm_string){"le", 2};
    case MPM_GAUGE_MODE: return (mpm_string){"pid", 3};
    case MPM_ENUM: return mpm_shape_name(shape);
    default: return (mpm_string){"", 0};
    }
}

/* Every pair with a comma after it, in the order in which prometheus_client
 * sorts them; *split: where the extra label goes. */
static void
add_pairs(mpm_buffer *b, const mpm_shape *shape, pair *pairs, uint32_t count,
          uint32_t *split)
{
    mpm_string extra = extra_name(shape);
    size_t start = b->length;
    *split = 0;
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (uint32_t i = 0; i < count; i++) {
        mpm_buffer_add(b, pairs[i].name.bytes, pairs[i].name.length);
        mpm_buffer_add(b, "=\"", 2);
        mpm_escape(b, pairs[i].value.bytes, pairs[i].value.length, true);
        mpm_buffer_add(b, "\",", 2);
        if (compare(pairs[i].name, extra) < 0)
            *split = (uint32_t)(b->length - start);
    }
}

mpm_label_text *
mpm_text_make(const mpm_shape *shape, const mpm_string *values,
              const mpm_string *info, uint32_t pairs)
{
    uint32_t labels = shape->labels;
    mpm_label_text head = {.values = labels, .info = pairs};
    mpm_buffer b = {0};
    pair *all = calloc((size_t)labels + pairs + 1, sizeof *all);
    if (all == NULL)
        return NULL;
    mpm_strings names = mpm_shape_strings(shape);
    mpm_strings_next(&names); /* the registry */
    mpm_strings_next(&names); /* the family's own */
    mpm_buffer_add(&b, (const char *)&head, sizeof head);
    for (uint32_t i = 0; i < labels; i++) {
        all[i] = (pair){mpm_strings_next(&names), values[i]};
        mpm_buffer_add(&b, (const char *)&values[i].length, 4);
    }
    for (uint32_t i = 0; i < 2 * pairs; i++)
        mpm_buffer_add(&b, (const char *)&info[i].length, 4);
    for (uint32_t i = 0; i < labels; i++)
        mpm_buffer_add(&b, values[i].bytes, values[i].length);
    for (uint32_t i = 0; i < pairs; i++) {
        all[labels + i] = (pair){info[2 * i], info[2 * i + 1]};
        mpm_buffer_add(&b, info[2 * i].bytes, info[2 * i].length);
        mpm_buffer_add(&b, info[2 * i + 1].bytes, info[2 * i + 1].length);
    }
    size_t before = b.length;
    add_pairs(&b, shape, all, labels + pairs, &head.split);
    free(all);
    if (b.failed || b.length > UINT32_MAX) {
        mpm_buffer_free(&b);
        return NULL;
    }
    head.pairs = (uint32_t)(b.length - before);
    head.bytes = (uint32_t)b.length;
    memcpy(b.bytes, &head, sizeof head);
    return (mpm_label_text *)(void *)b.bytes;
}
