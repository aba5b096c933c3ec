/* index.c: from label values to a series, by a hash index over the catalog.
 *
 * Linear hashing: with each series added one bucket is split, so no insertion
 * ever waits for a whole table to be made anew.  Everything here is derived
 * from the series' records and used only under the lock; after a kill it is
 * made again (mpm_catalog_rebuild).
 *
 * The hash is keyed (SipHash-1-3, Aumasson and Bernstein 2012): label values
 * often come from strangers, and a chain of a hundred thousand would be walked
 * under the lock. */
#include "index.h"

/* ---- SipHash-1-3 --------------------------------------------------------- */

static uint64_t
rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void
sip_word(mpm_hash *hash, uint64_t word)
{
    hash->v[3] ^= word;
    sip_round(hash->v);
    hash->v[0] ^= word;
}

void
mpm_hash_begin(mpm_hash *hash, const uint64_t key[2])
{
    hash->v[0] = key[0] ^ 0x736f6d6570736575ULL;
    hash->v[1] = key[1] ^ 0x646f72616e646f6dULL;
    hash->v[2] = key[0] ^ 0x6c7967656e657261ULL;
    hash->v[3] = key[1] ^ 0x7465646279746573ULL;
    hash->tail = 0;
    hash->length = 0;
}

void
mpm_hash_add(mpm_hash *hash, const void *bytes, size_t count)
{
    const unsigned char *in = bytes;
    for (size_t i = 0; i < count; i++) {
        hash->tail |= (uint64_t)in[i] << (hash->length % 8 * 8);
        if (++hash->length % 8 == 0) {
            sip_word(hash, hash->tail);
            hash->tail = 0;
        }
    }
}

uint64_t
mpm_hash_end(mpm_hash *hash)
{
    sip_word(hash, hash->tail | hash->length << 56);
    hash->v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(hash->v);
    return hash->v[0] ^ hash->v[1] ^ hash->v[2] ^ hash->v[3];
}

/* ---- buckets ------------------------------------------------------------- */

static uint64_t
bucket_count(mpm_store *s)
{
    uint64_t n = mpm_load_acquire(&s->root->buckets);
    return n == 0 || n > UINT32_MAX ? 1 : n;
}

/* With n buckets, 2^k <= n < 2^(k+1), those below n - 2^k are split. */
static uint64_t
bucket_of(uint64_t hash, uint64_t n)
{
    uint64_t half = (uint64_t)1 << (63 - __builtin_clzll(n));
    uint64_t at = hash & (2 * half - 1);
    return at < n ? at : hash & (half - 1);
}

static mpm_word *
head_of(mpm_store *s, uint64_t bucket)
{
    return mpm_table_at(&s->heap, &s->root->bucket, MPM_BUCKETS, bucket);
}

static void
chain(mpm_word *head, mpm_series *series, uint64_t index)
{
    mpm_store_release(&series->next, mpm_load_relaxed(head));
    mpm_store_release(head, index + 1);
}

/* Parts the bucket that is next in turn between itself and a new one. */
static void
split(mpm_store *s)
{
    uint64_t n = bucket_count(s);
    uint64_t half = (uint64_t)1 << (63 - __builtin_clzll(n));
    mpm_word *from = head_of(s, n - half), *to = head_of(s, n);
    if (from == NULL || to == NULL)
        return;
    uint64_t next = mpm_load_acquire(from), most = mpm_series_bound(s);
    mpm_store_release(from, 0);
    mpm_store_release(to, 0);
    for (uint64_t i = 0; next != 0 && i < most; i++) {
        uint64_t index = next - 1;
        mpm_series *series = mpm_series_at(s, index);
        if (series == NULL)
            break;
        next = mpm_load_acquire(&series->next);
        uint64_t hash = mpm_load_acquire(&series->hash);
        chain((hash & (2 * half - 1)) == n ? to : from, series, index);
    }
    mpm_store_release(&s->root->buckets, n + 1);
}

mpm_status
mpm_index_reach(mpm_store *s)
{
    mpm_word *entry;
    return mpm_table_reach(&s->heap, &s->root->bucket, MPM_BUCKETS,
                           bucket_count(s), false, &entry);
}

void
mpm_index_add(mpm_store *s, mpm_series *series, uint64_t index)
{
    uint64_t n = bucket_count(s);
    mpm_word *head = head_of(s, bucket_of(mpm_load_acquire(&series->hash), n));
    if (head != NULL)
        chain(head, series, index);
    if (mpm_load_acquire(&s->root->live) >= n)
        split(s);
}

void
mpm_index_remove(mpm_store *s, mpm_series *series, uint64_t index)
{
    uint64_t hash = mpm_load_acquire(&series->hash);
    uint64_t most = mpm_series_bound(s);
    mpm_word *link = head_of(s, bucket_of(hash, bucket_count(s)));
    for (uint64_t i = 0; link != NULL && i <= most; i++) {
        uint64_t next = mpm_load_acquire(link);
        if (next == 0)
            return;
        mpm_series *other = mpm_series_at(s, next - 1);
        if (other == NULL)
            return;
        if (next - 1 == index) {
            mpm_store_release(link, mpm_load_acquire(&series->next));
            return;
        }
        link = &other->next;
    }
}

void
mpm_index_clear(mpm_store *s)
{
    uint64_t n = bucket_count(s);
    for (uint64_t i = 0; i < n; i++) {
        mpm_word *head = head_of(s, i);
        if (head == NULL) { /* damage: as many as there are */
            mpm_store_release(&s->root->buckets, i == 0 ? 1 : i);
            return;
        }
        mpm_store_release(head, 0);
    }
}

uint64_t
mpm_index_find(mpm_store *s, uint64_t hash, mpm_index_match is_it,
               void *context)
{
    mpm_word *head = head_of(s, bucket_of(hash, bucket_count(s)));
    uint64_t next = head == NULL ? 0 : mpm_load_acquire(head);
    for (uint64_t i = mpm_series_bound(s); next != 0 && i > 0; i--) {
        mpm_series *series = mpm_series_at(s, next - 1);
        if (series == NULL)
            return 0;
        if (mpm_load_acquire(&series->hash) == hash && is_it(context, series))
            return next;
        next = mpm_load_acquire(&series->next);
    }
    return 0;
}

bool
mpm_index_is_valid(mpm_store *s)
{
    uint64_t n = bucket_count(s), found = 0, most = mpm_series_bound(s);
    for (uint64_t i = 0; i < n; i++) {
        mpm_word *head = head_of(s, i);
        if (head == NULL) /* the first is made with the first series */
            return n == 1 && mpm_load_acquire(&s->root->live) == 0;
        uint64_t next = mpm_load_acquire(head);
        for (; next != 0; found++) {
            mpm_series *series = mpm_series_at(s, next - 1);
            if (series == NULL || found >= most ||
                mpm_load_acquire(&series->birth) == 0 ||
                bucket_of(mpm_load_acquire(&series->hash), n) != i)
                return false;
            next = mpm_load_acquire(&series->next);
        }
    }
    return found == mpm_load_acquire(&s->root->live);
}
