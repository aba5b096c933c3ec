/* series.c: the series of the catalog: made, replaced, removed, walked.
 *
 * A record is live if its birth isn't 0 and its family's slot names it.  So
 * making a series commits with the store of the slot, removing one with the
 * store of birth 0, and Info's replacement swaps one slot for another series in
 * a single store: a scrape sees the old one or the new, never both or neither.
 * Whatever else says who is live is derived (rebuild.c). */
#include <stdlib.h>

#include "index.h"

#define TRIES 64 /* of a walk to read a slot that keeps changing */

mpm_series *
mpm_series_at(mpm_store *s, uint64_t index)
{
    if (index >= mpm_load_acquire(&s->root->records))
        return NULL;
    return mpm_table_at(&s->heap, &s->root->record, MPM_RECORDS, index);
}

/* The table has all of them or the count is damage, and no bound. */
uint64_t
mpm_series_bound(mpm_store *s)
{
    uint64_t records = mpm_load_acquire(&s->root->records);
    return records == 0 || mpm_series_at(s, records - 1) == NULL ? 0 : records;
}

/* ---- the text ------------------------------------------------------------ */

static const uint32_t *
lengths_of(const mpm_label_text *text)
{
    return (const uint32_t *)(const void *)(text + 1);
}

static uint32_t
strings_of(const mpm_label_text *text)
{
    return text->values + 2 * text->info;
}

mpm_strings
mpm_text_strings(const mpm_label_text *text)
{
    const uint32_t *lengths = lengths_of(text);
    return (mpm_strings){lengths, (const char *)(lengths + strings_of(text))};
}

const char *
mpm_text_pairs(const mpm_label_text *text)
{
    return (const char *)text + text->bytes - text->pairs;
}

bool
mpm_text_has(const mpm_label_text *text, const mpm_string *values,
             uint32_t count)
{
    if (text->values != count)
        return false;
    mpm_strings strings = mpm_text_strings(text);
    for (uint32_t i = 0; i < count; i++) {
        mpm_string value = mpm_strings_next(&strings);
        if (values[i].bytes != NULL &&
            (value.length != values[i].length ||
             memcmp(value.bytes, values[i].bytes, value.length) != 0))
            return false;
    }
    return true;
}

static bool
text_is_valid(const mpm_label_text *text)
{
    uint64_t bytes = text->bytes;
    if (bytes < sizeof *text)
        return false; /* what follows isn't there */
    uint64_t strings = text->values + 2 * (uint64_t)text->info;
    uint64_t used = sizeof *text + 4 * strings;
    if (used > bytes || text->split > text->pairs)
        return false;
    for (uint64_t i = 0; i < strings; i++)
        used += lengths_of(text)[i];
    return used + text->pairs <= bytes;
}

/* ---- finding ------------------------------------------------------------- */

typedef struct {
    mpm_store *store;
    uint64_t family;
    const mpm_string *values;
    uint32_t count;
    void *copy;
    uint64_t capacity;
    uint64_t birth; /* of the one looked at last */
    mpm_budget budget;
} wanted;

static bool
is_wanted(void *context, mpm_series *series)
{
    wanted *w = context;
    w->birth = mpm_load_acquire(&series->birth);
    if (w->birth == 0 || mpm_load_acquire(&series->family) != w->family ||
        w->budget.left == 0)
        return false;
    void *copy = mpm_block_copy(&w->store->heap,
                                (mpm_off){mpm_load_acquire(&series->text)},
                                MPM_TEXT_LIMIT, w->copy, &w->capacity);
    if (copy == NULL)
        return false;
    w->copy = copy;
    const mpm_label_text *text = copy;
    mpm_budget_spend(&w->budget, text->bytes);
    return text_is_valid(text) && mpm_text_has(text, w->values, w->count);
}

static uint64_t
hash_values(mpm_store *s, uint64_t family, const mpm_string *values,
            uint32_t count)
{
    mpm_hash hash;
    mpm_hash_begin(&hash, s->heap.header->key);
    mpm_hash_add(&hash, &family, sizeof family);
    for (uint32_t i = 0; i < count; i++) {
        mpm_hash_add(&hash, &values[i].length, sizeof values[i].length);
        mpm_hash_add(&hash, values[i].bytes, values[i].length);
    }
    return mpm_hash_end(&hash);
}

/* The living series with these label values; birth 0: there is none.  Its birth
 * is loaded once: somebody may remove it at any time (removal.c). */
static mpm_id
find(mpm_store *s, uint64_t family, uint64_t hash, const mpm_string *values,
     uint32_t count)
{
    wanted w = {s, family, values, count, NULL, 0, 0, mpm_budget_of(&s->heap)};
    uint64_t found = mpm_index_find(s, hash, is_wanted, &w);
    free(w.copy);
    return found == 0 ? (mpm_id){0, 0} : (mpm_id){found - 1, w.birth};
}

/* ---- making -------------------------------------------------------------- */

static mpm_word *
free_head(mpm_store *s, uint32_t count)
{
    uint32_t head = count < MPM_SERIES_HEADS ? count : MPM_SERIES_HEADS - 1;
    return &s->root->free_series[head];
}

static bool
is_shared(mpm_kind kind)
{
    return kind == MPM_GAUGE || kind == MPM_ENUM;
}

/* May a living process still be writing in these words of the shared shard,
 * for the series whose birth stands there?  Not the record's last series: that
 * one may not have used the shared shard at all. */
static bool
is_hazardous(mpm_store *s, mpm_series *series, uint32_t count)
{
    mpm_shard *shared = mpm_shard_at(s, 0);
    mpm_word *cell =
        shared == NULL
            ? NULL
            : mpm_shard_cell(s, shared, mpm_load_acquire(&series->words),
                             count);
    uint64_t birth = cell == NULL ? 0 : mpm_load_acquire(&cell[0]);
    return birth != 0 && mpm_shard_is_hazardous(s, birth);
}

/* Unchains a free record of as many words, passing over the hazardous ones. */
static mpm_series *
pop_record(mpm_store *s, mpm_kind kind, uint32_t count, uint64_t *index)
{
    mpm_word *link = free_head(s, count);
    uint64_t most = mpm_series_bound(s);
    for (uint64_t i = 0; i < most; i++) {
        uint64_t next = mpm_load_acquire(link);
        mpm_series *series = next == 0 ? NULL : mpm_series_at(s, next - 1);
        if (series == NULL)
            return NULL;
        if (mpm_load_acquire(&series->place) >> 32 == count &&
            (!is_shared(kind) || !is_hazardous(s, series, count))) {
            *index = next - 1;
            mpm_store_release(link, mpm_load_acquire(&series->next));
            return series;
        }
        link = &series->next;
    }
    return NULL;
}

/* Cuts a range off the word space.  A cell never crosses a chunk. */
mpm_status
mpm_words_cut(mpm_store *s, uint32_t count, uint64_t *words)
{
    mpm_root *root = s->root;
    mpm_word *size;
    uint64_t chunks = mpm_load_acquire(&root->word_chunks);
    uint64_t chunk = mpm_load_acquire(&root->word_chunk);
    uint64_t next = mpm_load_acquire(&root->word_next);
    size = mpm_table_at(&s->heap, &root->word_size, MPM_OFFSETS, chunk);
    if (chunks > 0 && size != NULL && next + count <= mpm_load_acquire(size)) {
        *words = chunk << 32 | next;
        mpm_store_release(&root->word_next, next + count);
        return MPM_OK;
    }
    mpm_status status = mpm_table_reach(&s->heap, &root->word_size, MPM_OFFSETS,
                                        chunks, false, &size);
    if (status != MPM_OK)
        return status;
    uint64_t usual = chunks == 0 ? MPM_FIRST_CHUNK : MPM_CHUNK;
    mpm_store_release(size, count > usual ? count : usual);
    mpm_store_release(&root->word_chunks, chunks + 1);
    mpm_store_release(&root->word_chunk, chunks);
    mpm_store_release(&root->word_next, count);
    *words = chunks << 32;
    return MPM_OK;
}

/* A record with words of its own: a free one, or a new one. */
static mpm_status
get_record(mpm_store *s, mpm_kind kind, uint32_t count, mpm_series **series,
           uint64_t *index)
{
    *series = pop_record(s, kind, count, index);
    if (*series != NULL)
        return MPM_OK;
    uint64_t words = 0;
    *index = mpm_load_acquire(&s->root->records);
    mpm_status status = mpm_table_reach(&s->heap, &s->root->record, MPM_RECORDS,
                                        *index, false, series);
    if (status == MPM_OK && count != 0)
        status = mpm_words_cut(s, count, &words);
    if (status != MPM_OK)
        return status;
    mpm_store_release(&(*series)->birth, 0);
    mpm_store_release(&(*series)->words, words);
    mpm_store_release(&(*series)->place, (uint64_t)count << 32);
    MPM_CRASH_POINT("series.words.cut");
    mpm_store_release(&s->root->records, *index + 1); /* owns them from now */
    return MPM_OK;
}

/* The slot for a new series: a free one, or one more. */
static mpm_status
get_slot(mpm_store *s, mpm_family *f, uint64_t *slot, mpm_word **entry)
{
    uint64_t free_slot = mpm_load_acquire(&f->free_slot);
    if (free_slot != 0) {
        *slot = free_slot - 1;
        *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, *slot);
        if (*entry == NULL || (mpm_load_acquire(*entry) & MPM_SLOT_FREE) == 0)
            return MPM_EDAMAGED;
        mpm_store_release(&f->free_slot,
                          mpm_load_acquire(*entry) & ~MPM_SLOT_FREE);
        return MPM_OK;
    }
    *slot = mpm_load_acquire(&f->slots);
    if (*slot >= UINT32_MAX)
        return MPM_EMEMORY;
    mpm_status status =
        mpm_table_reach(&s->heap, &f->slot, MPM_OFFSETS, *slot, false, entry);
    if (status != MPM_OK)
        return status;
    mpm_store_release(*entry, 0);
    mpm_store_release(&f->slots, *slot + 1);
    return MPM_OK;
}

/* [lock held] Puts a free slot back on the chain (derived data). */
static void
free_slot(mpm_store *s, mpm_family *f, uint64_t slot)
{
    mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, slot);
    if (entry == NULL)
        return;
    mpm_store_release(entry, MPM_SLOT_FREE | mpm_load_acquire(&f->free_slot));
    mpm_store_release(&f->free_slot, slot + 1);
}

/* Fills a record up to its birth; the slot that names it is the commit. */
static mpm_status
fill(mpm_store *s, mpm_series *series, mpm_id family, const mpm_shape *shape,
     uint64_t hash, uint64_t slot, const mpm_label_text *text, uint64_t first,
     uint64_t *birth)
{
    uint32_t count = mpm_shape_words(shape);
    mpm_status status = mpm_block_make(s, &series->text, text, text->bytes);
    mpm_heap_settle(&s->heap);
    if (status != MPM_OK)
        return status;
    *birth = mpm_birth_next(s);
    if (is_shared((mpm_kind)shape->kind)) {
        mpm_word *cell;
        mpm_shard *shared = mpm_shard_at(s, 0);
        status =
            shared == NULL
                ? MPM_EDAMAGED
                : mpm_shard_reach(s, shared, mpm_load_acquire(&series->words),
                                  count, &cell);
        if (status != MPM_OK)
            return status;
        mpm_cell_take_up(cell, (mpm_kind)shape->kind, count, *birth, NULL);
    }
    mpm_store_release(&series->family, family.birth);
    mpm_store_release(&series->owner, family.index);
    mpm_store_release(&series->first, first == 0 ? *birth : first);
    mpm_store_release(&series->place, (uint64_t)count << 32 | slot);
    mpm_store_release(&series->created,
                      mpm_bits((double)mpm_sys_realtime_ns() / 1e9));
    mpm_store_release(&series->hash, hash);
    MPM_CRASH_POINT("series.unborn");
    mpm_store_release(&series->birth, *birth);
    return MPM_OK;
}

static void
count_series(mpm_store *s, mpm_family *f, uint64_t more)
{
    mpm_store_release(&f->series, mpm_load_relaxed(&f->series) + more);
    mpm_store_release(&s->root->live, mpm_load_relaxed(&s->root->live) + more);
}

/* Makes a series in a slot of its own. */
static mpm_status
make(mpm_store *s, mpm_family *f, mpm_id family, const mpm_shape *shape,
     uint64_t hash, const mpm_label_text *text, mpm_id *id)
{
    mpm_series *series;
    mpm_word *entry;
    uint64_t slot, birth;
    mpm_status status = mpm_index_reach(s);
    if (status == MPM_OK)
        status = get_slot(s, f, &slot, &entry);
    if (status != MPM_OK)
        return status;
    status = get_record(s, (mpm_kind)shape->kind, mpm_shape_words(shape),
                        &series, &id->index);
    if (status != MPM_OK) {
        free_slot(s, f, slot);
        return status;
    }
    status = fill(s, series, family, shape, hash, slot, text, 0, &birth);
    if (status != MPM_OK) {
        free_slot(s, f, slot);
        mpm_series_mend(s, series, id->index);
        return status;
    }
    mpm_store_release(entry, id->index + 1); /* the commit */
    MPM_CRASH_POINT("series.linked");
    count_series(s, f, 1);
    mpm_index_add(s, series, id->index);
    id->birth = birth;
    return MPM_OK;
}

/* ---- the interface ------------------------------------------------------- */

static mpm_family *
family_of(mpm_store *s, mpm_id id)
{
    mpm_family *f = mpm_family_at(s, id.index);
    return f != NULL && mpm_load_acquire(&f->birth) == id.birth ? f : NULL;
}

/* May the family have one series more?  The overflow series always may. */
static bool
has_room(mpm_store *s, mpm_family *f, const mpm_string *values, uint32_t count)
{
    uint64_t most = mpm_load_acquire(&s->root->max_series);
    if (most == 0 || mpm_load_acquire(&f->series) < most || count == 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (values[i].length != sizeof MPM_OVERFLOW - 1 ||
            memcmp(values[i].bytes, MPM_OVERFLOW, values[i].length) != 0)
            return false;
    return true;
}

mpm_status
mpm_series_find(mpm_store *s, mpm_id family, const mpm_shape *shape,
                const mpm_string *values, mpm_id *id)
{
    id->birth = 0;
    if (family_of(s, family) == NULL)
        return MPM_EGONE;
    uint64_t hash = hash_values(s, family.birth, values, shape->labels);
    *id = find(s, family.birth, hash, values, shape->labels);
    return MPM_OK;
}

mpm_status
mpm_series_get(mpm_store *s, mpm_id family, const mpm_shape *shape,
               const mpm_string *values, mpm_id *id)
{
    mpm_family *f = family_of(s, family);
    id->birth = 0;
    if (f == NULL)
        return MPM_EGONE;
    uint64_t hash = hash_values(s, family.birth, values, shape->labels);
    *id = find(s, family.birth, hash, values, shape->labels);
    if (id->birth != 0)
        return MPM_OK;
    if (!has_room(s, f, values, shape->labels)) {
        mpm_store_release(&f->dropped, mpm_load_relaxed(&f->dropped) + 1);
        mpm_add_relaxed(&s->root->dropped, 1); /* a count, ordered by nothing */
        return MPM_EFULL;
    }
    mpm_label_text *text = mpm_text_make(shape, values, NULL, 0);
    if (text == NULL)
        return MPM_EPRIVATE;
    mpm_status status = text->bytes > MPM_TEXT_LIMIT
                            ? MPM_EMEMORY
                            : make(s, f, family, shape, hash, text, id);
    free(text);
    return status;
}

mpm_status
mpm_series_replace(mpm_store *s, mpm_id family, const mpm_shape *shape,
                   const mpm_string *values, const mpm_string *info,
                   uint32_t pairs, mpm_id *id)
{
    mpm_id old, made = {0, 0};
    uint64_t birth;
    mpm_series *series, *before;
    mpm_status status = mpm_series_get(s, family, shape, values, &old);
    if (status != MPM_OK)
        return status;
    before = mpm_series_at(s, old.index);
    mpm_family *f = mpm_family_at(s, family.index);
    if (before == NULL || f == NULL)
        return MPM_EDAMAGED;
    uint64_t slot = mpm_load_acquire(&before->place) & UINT32_MAX;
    mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, slot);
    mpm_label_text *text = mpm_text_make(shape, values, info, pairs);
    if (text == NULL)
        return MPM_EPRIVATE;
    status = entry == NULL ? MPM_EDAMAGED
             : text->bytes > MPM_TEXT_LIMIT
                 ? MPM_EMEMORY
                 : get_record(s, MPM_INFO, 0, &series, &made.index);
    if (status != MPM_OK)
        goto free;
    status = fill(s, series, family, shape, mpm_load_acquire(&before->hash),
                  slot, text, mpm_load_acquire(&before->first), &birth);
    if (status != MPM_OK) {
        mpm_series_mend(s, series, made.index);
        goto free;
    }
    MPM_CRASH_POINT("series.replacing");
    MPM_MISPLACED("info.gap", mpm_store_release(entry, MPM_SLOT_FREE));
    mpm_store_release(entry, made.index + 1); /* the commit */
    MPM_CRASH_POINT("series.replaced");
    mpm_index_remove(s, before, old.index);
    mpm_index_add(s, series, made.index);
    mpm_series_mend(s, before, old.index);
    made.birth = birth;
    *id = made;
free:
    free(text);
    return status;
}

mpm_status
mpm_series_remove(mpm_store *s, mpm_id id)
{
    mpm_series *series = mpm_series_at(s, id.index);
    if (series == NULL || id.birth == 0 ||
        mpm_load_acquire(&series->birth) != id.birth)
        return MPM_OK;
    mpm_family *f = mpm_family_at(s, mpm_load_acquire(&series->owner));
    mpm_exchange_seq_cst(&series->birth, 0); /* the commit */
    MPM_CRASH_POINT("series.removed");
    mpm_index_remove(s, series, id.index);
    if (f != NULL) {
        free_slot(s, f, mpm_load_acquire(&series->place) & UINT32_MAX);
        count_series(s, f, UINT64_MAX); /* one less */
    }
    mpm_series_mend(s, series, id.index);
    return MPM_OK;
}

void
mpm_series_mend(mpm_store *s, mpm_series *series, uint64_t index)
{
    uint64_t count = mpm_load_acquire(&series->place) >> 32;
    mpm_word *head = free_head(s, (uint32_t)count);
    /* Not a plain store: whoever writes under the hazard protocol must see
     * it before this process looks for hazards. */
    mpm_exchange_seq_cst(&series->birth, 0);
    mpm_block_drop(s, &series->text);
    mpm_store_release(&series->next, mpm_load_acquire(head));
    mpm_store_release(head, index + 1);
}

/* ---- walking ------------------------------------------------------------- */

void
mpm_walk_begin(mpm_walk *w, mpm_store *s, mpm_id family, mpm_budget *budget)
{
    memset(w, 0, sizeof *w);
    w->store = s;
    w->budget = budget;
    w->family = mpm_family_at(s, family.index);
    w->birth = family.birth;
    w->slot = UINT64_MAX;
    w->limit = mpm_load_acquire(&s->root->births);
}

typedef enum { SHOWN, SKIPPED, CHANGED } slot_state;

/* Does the slot still name that series?  Asked in this order: the record may be
 * another's by now, or be in the making for this very slot
 * (tests/models/test_catalog.py). */
static bool
is_still(const mpm_word *entry, uint64_t e, const mpm_series *series,
         uint64_t birth)
{
    return mpm_load_acquire(entry) == e &&
           mpm_load_acquire(&series->birth) == birth;
}

/* Reads the series that a slot names, if it was there when the walk began. */
static slot_state
read_slot(mpm_walk *w, const mpm_word *entry, uint64_t e)
{
    mpm_store *s = w->store;
    mpm_series *series =
        e == 0 || (e & MPM_SLOT_FREE) ? NULL : mpm_series_at(s, e - 1);
    if (series == NULL)
        return SKIPPED;
    uint64_t birth = mpm_load_acquire(&series->birth);
    if (birth == 0 || mpm_load_acquire(&series->family) != w->birth ||
        (mpm_load_acquire(&series->place) & UINT32_MAX) != w->slot)
        return CHANGED;
    if (mpm_load_acquire(&series->first) > w->limit)
        return is_still(entry, e, series, birth) ? SKIPPED : CHANGED;
    void *copy =
        mpm_block_copy(&s->heap, (mpm_off){mpm_load_acquire(&series->text)},
                       MPM_TEXT_LIMIT, w->text, &w->capacity);
    if (copy == NULL)
        return CHANGED;
    w->text = copy;
    mpm_budget_spend(w->budget, w->text->bytes);
    if (!is_still(entry, e, series, birth))
        return CHANGED;
    w->series = series;
    w->id = (mpm_id){e - 1, birth};
    return text_is_valid(w->text) ? SHOWN : SKIPPED;
}

bool
mpm_walk_next(mpm_walk *w)
{
    mpm_heap *h = &w->store->heap;
    if (w->family == NULL)
        return false;
    for (w->slot++; mpm_load_acquire(&w->family->birth) == w->birth &&
                    w->slot < mpm_load_acquire(&w->family->slots) &&
                    mpm_budget_spend(w->budget, sizeof(mpm_series));
         w->slot++) {
        mpm_word *entry =
            mpm_table_at(h, &w->family->slot, MPM_OFFSETS, w->slot);
        if (entry == NULL)
            return false;
        slot_state state = CHANGED;
        uint64_t e = mpm_load_acquire(entry);
        for (int i = 0; i < TRIES && state == CHANGED; i++) {
            state = read_slot(w, entry, e);
            /* Not given up when the entry is the same as before: Info may
             * have been replaced twice, and be back in the first record. */
            e = mpm_load_acquire(entry);
        }
        if (state == SHOWN)
            return true;
    }
    return false;
}

bool
mpm_walk_holds(const mpm_walk *w)
{
    bool has_words = mpm_load_acquire(&w->series->place) >> 32 != 0;
    return !has_words || mpm_load_acquire(&w->series->birth) == w->id.birth;
}

void
mpm_walk_end(mpm_walk *w)
{
    free(w->text);
    w->text = NULL;
}
