/* scrape.h: what only looks: a walk over a family's series, one series over all
 * shards, a page of them.  The last part of core.h, which alone includes it;
 * the tags are its own.  Nothing here waits for anybody, and all of it is
 * bounded, whatever the file holds. */
#ifndef MPM_SCRAPE_H
#define MPM_SCRAPE_H

/* ---- what it may cost: budget.c ------------------------------------------ */

/* What a scrape may still look at, in bytes.  In a whole store each block is
 * linked once, so that all of a scrape looks at the file a few times over; only
 * damage, which lets many records name one block, spends this. */
#ifndef MPM_SCRAPE_FREE
#define MPM_SCRAPE_FREE ((uint64_t)1 << 28) /* bytes, however small the file */
#endif
#define MPM_SCRAPE_TIMES 64u /* the file may be looked at */
#define MPM_PAGE_TIMES 256u  /* the file's size is a page's, at the most */
typedef struct mpm_budget {
    uint64_t left;
} mpm_budget;
/* [any process] */
mpm_budget mpm_budget_of(mpm_heap *h);
/* [pure] False: there is none left. */
static inline bool
mpm_budget_spend(mpm_budget *budget, uint64_t bytes)
{
    bool enough = budget->left > bytes;
    budget->left = enough ? budget->left - bytes : 0;
    return enough;
}

/* ---- a file that is cut meanwhile: truncated.c ---------------------------- */

/* [any process] From now on a page behind the end of a file is zeros, in this
 * process and its forks, and not the SIGBUS that kills.  Only for programs of
 * our own: the signal's handler is the program's. */
mpm_status mpm_truncated_survive(void);
/* [any process] How many pages became zeros.  What was read while this moved is
 * worth nothing. */
uint64_t mpm_truncated_pages(void);
/* [any process] sys.c names its mappings, and takes them back.  64 are enough:
 * more are mapped, and not survived. */
void mpm_truncated_watch(const void *address, uint64_t bytes);
void mpm_truncated_forget(const void *address);

/* ---- a walk: series.c ---------------------------------------------------- */

/* [any process] A walk over the series of one family, in the order of their
 * slots, skipping what was born after it began. */
typedef struct {
    mpm_store *store;
    mpm_family *family;
    uint64_t birth, limit;
    uint64_t slot;      /* UINT64_MAX before the first step */
    mpm_series *series; /* the one that the walk stands on, and its id */
    mpm_id id;
    mpm_label_text *text; /* a copy of its text, valid until the next step */
    uint64_t capacity;
    mpm_budget *budget;
} mpm_walk;

/* [any process] */
void mpm_walk_begin(mpm_walk *w, mpm_store *s, mpm_id family,
                    mpm_budget *budget);
/* [any process] False: no more, or the budget is spent. */
bool mpm_walk_next(mpm_walk *w);
/* [any process] Is what was read since the last step that same series' own?
 * A series without words (Info) is all text, and that was copied whole: one
 * that was replaced since is not dropped, for the walk is past its slot. */
bool mpm_walk_holds(const mpm_walk *w);
/* [any process] */
void mpm_walk_end(mpm_walk *w);
/* [pure] Has a valid text these label values?  NULL bytes: any value. */
bool mpm_text_has(const mpm_label_text *text, const mpm_string *values,
                  uint32_t count);
/* [pure] The strings of a valid text: label values, then Info's own. */
mpm_strings mpm_text_strings(const mpm_label_text *text);
const char *mpm_text_pairs(const mpm_label_text *text);

/* ---- one series: read.c, exemplar.c -------------------------------------- */

/* [any process] Where the cells of a scrape's series lie in all shards, looked
 * up once for neighbours.  NULL: no memory, and each is looked up. */
struct mpm_columns *mpm_columns_new(mpm_store *s);
void mpm_columns_free(struct mpm_columns *columns);
/* [any process] Reads one series over all shards; `buckets`, `scratch`,
 * `columns` and `budget` are the caller's. */
void mpm_series_read(mpm_store *s, const mpm_shape *shape, mpm_series *series,
                     uint64_t birth, mpm_reading *into);
/* [any process] Reads what one shard alone counted, as written: what a reset
 * subtracts is no shard's part.  False: it shows nothing of the series, or the
 * series is of the shared shard. */
bool mpm_series_read_shard(mpm_store *s, const mpm_shape *shape,
                           mpm_series *series, uint64_t birth, uint64_t shard,
                           mpm_reading *into);
/* [any process] The samples of a gauge with mode all or liveall, one a pid, in
 * memory of the caller's own; returns how many. */
size_t mpm_series_parts(const mpm_walk *w, const mpm_shape *shape,
                        mpm_part **parts);
/* [any process] The newest of all processes, of the series that the walk stands
 * on; false: there is none. */
bool mpm_exemplar_read(const mpm_walk *w, const mpm_shape *shape, uint32_t part,
                       mpm_exemplar *newest);

/* ---- text: text.c, label.c, float.c -------------------------------------- */

#define MPM_FLOAT_MAX 32u
/* [pure] x as prometheus_client writes it: `0.1`, `1.0`, `+Inf`, `1e+06`.
 * `out` has room for MPM_FLOAT_MAX bytes, and those after the text
 * may be overwritten, too.  Returns the length; no terminating NUL. */
size_t mpm_float_write(char *out, double x);
/* [pure] The same digits as Python's repr lays them out. */
size_t mpm_float_write_repr(char *out, double x);

typedef enum { MPM_TEXT_0_0_4, MPM_OPENMETRICS } mpm_format;

/* How a page is written. */
typedef struct {
    mpm_format format;
    bool created;     /* with the _created series */
    mpm_string shard; /* name of a label that says which shard it is of: each is
                         shown by itself.  Empty: all shards added up */
} mpm_page;

/* A text that grows.  Process-local. */
typedef struct {
    char *bytes;
    size_t length, capacity;
    bool failed; /* out of memory: what was to follow is missing */
} mpm_buffer;

/* [pure] */
void mpm_buffer_add(mpm_buffer *b, const char *bytes, size_t length);
void mpm_buffer_free(mpm_buffer *b);

/* [any process] Renders these families, each with its header lines, skipping
 * the dead.  Writes nothing in the store, and may run beside anything.  Shard
 * by shard there are no exemplars, and no families of the shared shard: those
 * are nobody's.  MPM_EDAMAGED: only of a damaged store could there be so much. */
mpm_status mpm_render(mpm_store *s, const mpm_id *families, size_t count,
                      const mpm_page *page, mpm_buffer *out);
/* [pure] A label value as a scrape shows it: \\, \n and \" escaped; a help text
 * of 0.0.4 leaves the quotes as they are. */
void mpm_escape(mpm_buffer *b, const char *bytes, size_t length, bool quotes);

#endif
