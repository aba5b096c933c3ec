/* index.h: the hash index, from label values to a series, and its hash.
 *
 * Derived data, all of it read and written under the lock, by the catalog's
 * files alone. */
#ifndef MPM_INDEX_H
#define MPM_INDEX_H

#include "core.h"

typedef struct {
    uint64_t v[4], tail, length;
} mpm_hash;
/* [pure] SipHash-1-3 of the parts, one after the other. */
void mpm_hash_begin(mpm_hash *hash, const uint64_t key[2]);
void mpm_hash_add(mpm_hash *hash, const void *bytes, size_t count);
uint64_t mpm_hash_end(mpm_hash *hash);

/* [lock held] Room for one more series; before blocks are taken. */
mpm_status mpm_index_reach(mpm_store *s);
/* [lock held] */
void mpm_index_add(mpm_store *s, mpm_series *series, uint64_t index);
void mpm_index_remove(mpm_store *s, mpm_series *series, uint64_t index);
void mpm_index_clear(mpm_store *s);
bool mpm_index_is_valid(mpm_store *s);
typedef bool (*mpm_index_match)(void *context, mpm_series *series);
/* [lock held] Calls `is_it` for those with that hash, until it says so.
 * Returns the index + 1, or 0. */
uint64_t mpm_index_find(mpm_store *s, uint64_t hash, mpm_index_match is_it,
                        void *context);

#endif
