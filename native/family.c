/* family.c: the families of the catalog: declared, shown, forgotten.
 *
 * A family's identity is its shape block, byte for byte: registry, name, kind,
 * label names, buckets or states, mode.  Another shape of the same name is
 * another family; which of them a scrape shows is decided by who reads. */
#include <stdlib.h>

#include "index.h"

#define TRIES 64 /* to copy a help text that others keep replacing */

uint64_t
mpm_family_count(mpm_store *s)
{
    return mpm_heap_most(&s->heap, mpm_load_acquire(&s->root->families),
                         sizeof(mpm_family));
}

mpm_family *
mpm_family_at(mpm_store *s, uint64_t index)
{
    if (index >= mpm_load_acquire(&s->root->families))
        return NULL;
    return mpm_table_at(&s->heap, &s->root->family, MPM_FAMILIES, index);
}

static mpm_family *
living(mpm_store *s, mpm_id id)
{
    mpm_family *f = mpm_family_at(s, id.index);
    return f != NULL && id.birth != 0 && mpm_load_acquire(&f->birth) == id.birth
               ? f
               : NULL;
}

bool
mpm_family_is_alive(mpm_store *s, mpm_id id)
{
    return living(s, id) != NULL;
}

uint64_t
mpm_birth_next(mpm_store *s)
{
    return mpm_add_acq_rel(&s->root->births, 1) + 1;
}

/* ---- the blocks ---------------------------------------------------------- */

static const uint32_t *
lengths_of(const mpm_shape *shape)
{
    return (const uint32_t *)(const void *)(mpm_shape_bounds(shape) +
                                            shape->bounds);
}

const double *
mpm_shape_bounds(const mpm_shape *shape)
{
    return (const double *)(const void *)(shape + 1);
}

mpm_string
mpm_strings_next(mpm_strings *at)
{
    mpm_string next = {at->bytes, *at->length++};
    at->bytes += next.length;
    return next;
}

mpm_strings
mpm_shape_strings(const mpm_shape *shape)
{
    const uint32_t *lengths = lengths_of(shape);
    return (mpm_strings){
        lengths, (const char *)(lengths + 2 + shape->labels + shape->states)};
}

mpm_string
mpm_shape_name(const mpm_shape *shape)
{
    mpm_strings strings = mpm_shape_strings(shape);
    mpm_strings_next(&strings); /* the registry */
    return mpm_strings_next(&strings);
}

uint32_t
mpm_shape_words(const mpm_shape *shape)
{
    switch (shape->kind) {
    case MPM_COUNTER:
    case MPM_GAUGE:
    case MPM_ENUM: return MPM_COUNTER_WORDS;
    case MPM_SUMMARY: return MPM_SUMMARY_WORDS;
    case MPM_HISTOGRAM: return MPM_HISTOGRAM_WORDS(shape->bounds);
    case MPM_GAUGE_MODE: return MPM_MODE_WORDS;
    default: return 0; /* Info is all text */
    }
}

bool
mpm_shape_is_valid(const mpm_shape *shape, uint64_t bytes)
{
    if (bytes < sizeof *shape || shape->kind < MPM_COUNTER ||
        shape->kind >= MPM_KINDS)
        return false;
    if ((shape->kind == MPM_HISTOGRAM) != (shape->bounds != 0) ||
        (shape->kind == MPM_ENUM) != (shape->states != 0))
        return false;
    uint64_t strings = 2 + (uint64_t)shape->labels + shape->states;
    uint64_t used = sizeof *shape + 8 * (uint64_t)shape->bounds + 4 * strings;
    if (used > bytes)
        return false;
    for (uint64_t i = 0; i < strings; i++)
        used += lengths_of(shape)[i];
    return used <= bytes;
}

bool
mpm_help_is_valid(const mpm_help *help, uint64_t bytes)
{
    return bytes >= sizeof *help &&
           sizeof *help + (uint64_t)help->help + help->unit <= bytes;
}

/* The first 32 bits of a linked block are its length. */
static uint64_t
length_of(mpm_store *s, const mpm_word *link)
{
    const mpm_word *block =
        mpm_at(&s->heap, (mpm_off){mpm_load_acquire(link)}, 8);
    return block == NULL ? 0 : (uint32_t)mpm_load_acquire(block);
}

/* [lock held] Gives a block of text back; nothing if there is none.  One that
 * can't be a block is damage: rather lose it than refuse all work for ever. */
void
mpm_block_drop(mpm_store *s, mpm_word *link)
{
    if (mpm_load_acquire(link) != 0 &&
        mpm_heap_give(&s->heap, link, length_of(s, link)) != MPM_OK)
        mpm_store_release(link, 0);
}

/* [lock held] Takes a block and fills it; the caller settles. */
mpm_status
mpm_block_make(mpm_store *s, mpm_word *link, const void *content,
               uint32_t bytes)
{
    mpm_off block;
    bool fresh;
    mpm_status status =
        mpm_heap_take(&s->heap, bytes, link, false, &block, &fresh);
    if (status != MPM_OK)
        return status;
    mpm_copy_in(mpm_at(&s->heap, block, bytes), content, bytes);
    MPM_CRASH_POINT("block.filled");
    mpm_store_release(link, block.raw);
    return MPM_OK;
}

/* ---- copying out --------------------------------------------------------- */

static mpm_shape *
copy_shape(mpm_store *s, mpm_family *f)
{
    uint64_t capacity = 0;
    mpm_off block = {mpm_load_acquire(&f->shape)};
    mpm_shape *shape =
        mpm_block_copy(&s->heap, block, MPM_SHAPE_LIMIT, NULL, &capacity);
    if (shape != NULL && !mpm_shape_is_valid(shape, shape->bytes)) {
        free(shape);
        shape = NULL;
    }
    return shape;
}

/* The help may be replaced meanwhile: its version says so. */
static mpm_help *
copy_help(mpm_store *s, mpm_family *f)
{
    for (int i = 0; i < TRIES; i++) {
        uint64_t capacity = 0;
        uint64_t version = mpm_load_acquire(&f->version);
        mpm_off block = {mpm_load_acquire(&f->help)};
        mpm_help *help =
            mpm_block_copy(&s->heap, block, MPM_SHAPE_LIMIT, NULL, &capacity);
        if (help != NULL && mpm_help_is_valid(help, help->bytes) &&
            mpm_load_acquire(&f->version) == version)
            return help;
        free(help);
    }
    return NULL;
}

mpm_status
mpm_family_copy(mpm_store *s, mpm_id id, mpm_shape **shape, mpm_help **help)
{
    mpm_family *f = living(s, id);
    if (f == NULL)
        return MPM_EGONE;
    *shape = copy_shape(s, f);
    *help = copy_help(s, f);
    if (*shape != NULL && *help != NULL &&
        mpm_load_acquire(&f->birth) == id.birth)
        return MPM_OK;
    free(*shape);
    free(*help);
    *shape = NULL;
    *help = NULL;
    return MPM_EGONE;
}

/* ---- declaring ----------------------------------------------------------- */

static uint64_t
hash_name(mpm_store *s, const mpm_shape *shape)
{
    mpm_hash hash;
    mpm_strings strings = mpm_shape_strings(shape);
    mpm_hash_begin(&hash, s->heap.header->key);
    for (uint32_t i = 0; i < 2; i++) {
        mpm_string each = mpm_strings_next(&strings);
        mpm_hash_add(&hash, &each.length, sizeof each.length);
        mpm_hash_add(&hash, each.bytes, each.length);
    }
    return mpm_hash_end(&hash);
}

/* Is the block that *link names these bytes? */
static bool
block_equals(mpm_store *s, const mpm_word *link, const void *bytes,
             uint32_t count)
{
    uint64_t capacity = 0;
    mpm_off block = {mpm_load_acquire(link)};
    void *copy = mpm_block_copy(&s->heap, block, count, NULL, &capacity);
    bool equal = copy != NULL && *(uint32_t *)copy == count &&
                 memcmp(copy, bytes, count) == 0;
    free(copy);
    return equal;
}

/* Looks at each: some hundreds, once per declaration and process.  *dead: a
 * record that can be used again. */
static mpm_family *
find(mpm_store *s, uint64_t name, const mpm_shape *shape, uint64_t *index,
     uint64_t *dead)
{
    uint64_t families = mpm_load_acquire(&s->root->families);
    *dead = families;
    for (uint64_t i = 0; i < families; i++) {
        mpm_family *f = mpm_family_at(s, i);
        if (f == NULL)
            break;
        if (mpm_load_acquire(&f->birth) == 0) {
            if (*dead == families)
                *dead = i;
        } else if (mpm_load_acquire(&f->name) == name &&
                   block_equals(s, &f->shape, shape, shape->bytes)) {
            *index = i;
            return f;
        }
    }
    return NULL;
}

/* Makes a family in a record that is dead and mended, or new. */
static mpm_status
make(mpm_store *s, uint64_t index, uint64_t name, const mpm_shape *shape,
     const mpm_help *help, mpm_family **made)
{
    mpm_family *f;
    mpm_status status = mpm_table_reach(&s->heap, &s->root->family,
                                        MPM_FAMILIES, index, false, &f);
    if (status != MPM_OK)
        return status;
    mpm_family_mend(s, f);
    status = mpm_block_make(s, &f->shape, shape, shape->bytes);
    if (status == MPM_OK)
        status = mpm_block_make(s, &f->help, help, help->bytes);
    mpm_heap_settle(&s->heap);
    if (status != MPM_OK) {
        mpm_family_mend(s, f);
        return status;
    }
    mpm_store_release(&f->name, name);
    mpm_store_release(&f->flags, shape->flags);
    mpm_store_release(&f->slots, 0);
    mpm_store_release(&f->series, 0);
    mpm_store_release(&f->free_slot, 0);
    mpm_store_release(&f->dropped, 0);
    if (index >= mpm_load_acquire(&s->root->families))
        mpm_store_release(&s->root->families, index + 1);
    MPM_CRASH_POINT("family.unborn");
    mpm_store_release(&f->birth, mpm_birth_next(s)); /* the commit */
    *made = f;
    return MPM_OK;
}

/* Gives back the help that was replaced, after the version has told those who
 * are copying it.  Before: a reader could take the reused block for a help. */
static void
drop_was(mpm_store *s, mpm_family *f)
{
    mpm_store_release(&f->version, mpm_load_acquire(&f->version) + 1);
    MPM_CRASH_POINT("family.help.announced");
    mpm_block_drop(s, &f->was);
}

/* `was` keeps the old block named until it is given back. */
static mpm_status
replace_help(mpm_store *s, mpm_family *f, const mpm_help *help)
{
    mpm_word *link = &f->help;
    mpm_off block;
    bool fresh;
    mpm_status status =
        mpm_heap_take(&s->heap, help->bytes, link, false, &block, &fresh);
    if (status == MPM_OK) {
        mpm_copy_in(mpm_at(&s->heap, block, help->bytes), help, help->bytes);
        mpm_store_release(&f->was, mpm_load_acquire(link));
        MPM_CRASH_POINT("family.help.copied");
        mpm_store_release(link, block.raw);
    }
    mpm_heap_settle(&s->heap);
    MPM_CRASH_POINT("family.help.replaced");
    if (status == MPM_OK)
        drop_was(s, f);
    return status;
}

mpm_status
mpm_family_declare(mpm_store *s, const mpm_shape *shape, const mpm_help *help,
                   bool again, mpm_id *id)
{
    uint64_t name = hash_name(s, shape), index, dead;
    mpm_family *f = find(s, name, shape, &index, &dead);
    mpm_status status = MPM_OK;
    if (f != NULL && again) {
        mpm_id old = {index, mpm_load_acquire(&f->birth)};
        mpm_family_release(s, old);
        mpm_family_forget(s, old);
        if (mpm_load_acquire(&f->birth) == 0) {
            dead = index;
            f = NULL;
        }
    }
    if (f == NULL) {
        index = dead;
        status = make(s, index, name, shape, help, &f);
    } else if (!block_equals(s, &f->help, help, help->bytes)) {
        status = replace_help(s, f, help);
    }
    if (status != MPM_OK)
        return status;
    id->index = index;
    id->birth = mpm_load_acquire(&f->birth);
    status = mpm_shard_declare(s, *id);
    mpm_store_release(&f->declared, mpm_birth_next(s));
    mpm_add_acq_rel(&s->root->declarations, 1);
    return status;
}

/* ---- forgetting ---------------------------------------------------------- */

/* Everything that a dead family may still have; also after a kill anywhere in
 * making, removing or replacing. */
void
mpm_family_mend(mpm_store *s, mpm_family *f)
{
    uint64_t was = mpm_load_acquire(&f->was);
    if (was != 0 && was == mpm_load_acquire(&f->help))
        mpm_store_release(&f->was, 0); /* killed before the replacement */
    else if (was != 0)
        drop_was(s, f);
    if (mpm_load_acquire(&f->birth) != 0)
        return;
    mpm_block_drop(s, &f->shape);
    MPM_CRASH_POINT("family.mend.shapeless");
    mpm_block_drop(s, &f->help);
    mpm_table_clear(&s->heap, &f->slot, MPM_OFFSETS);
}

/* The series go after their family, so that a kill leaves all of it or
 * nothing: a record of a dead family isn't live, and rebuilding mends it. */
void
mpm_family_remove(mpm_store *s, mpm_id id)
{
    mpm_family *f = living(s, id);
    if (f == NULL)
        return;
    mpm_store_release(&f->birth, 0); /* the commit */
    mpm_add_acq_rel(&s->root->declarations, 1);
    MPM_CRASH_POINT("family.removed");
    uint64_t slots = mpm_load_acquire(&f->slots);
    for (uint64_t i = 0; i < slots; i++) {
        mpm_word *entry = mpm_table_at(&s->heap, &f->slot, MPM_OFFSETS, i);
        if (entry == NULL)
            break; /* damage */
        uint64_t e = mpm_load_acquire(entry);
        mpm_series *series =
            e == 0 || (e & MPM_SLOT_FREE) ? NULL : mpm_series_at(s, e - 1);
        if (series != NULL && mpm_load_acquire(&series->family) == id.birth) {
            mpm_id gone = {e - 1, mpm_load_acquire(&series->birth)};
            mpm_series_remove(s, gone);
        }
    }
    mpm_family_mend(s, f);
}

void
mpm_family_forget(mpm_store *s, mpm_id id)
{
    if (!mpm_shard_is_declared(s, id.index, id.birth))
        mpm_family_remove(s, id);
}

void
mpm_family_sweep(mpm_store *s)
{
    uint64_t families = mpm_family_count(s);
    for (uint64_t i = 0; i < families; i++) {
        mpm_family *f = mpm_family_at(s, i);
        if (f == NULL)
            break; /* damage */
        mpm_id id = {i, mpm_load_acquire(&f->birth)};
        if (id.birth != 0 &&
            (mpm_load_acquire(&f->flags) & MPM_SHAPE_PRIVATE) != 0)
            mpm_family_forget(s, id);
    }
}
