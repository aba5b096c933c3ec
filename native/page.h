/* page.h: a scrape as text, in either format: text.c, float.c.  Only core.h
 * includes this. */
#ifndef MPM_PAGE_H
#define MPM_PAGE_H

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
 * are nobody's. */
mpm_status mpm_render(mpm_store *s, const mpm_id *families, size_t count,
                      const mpm_page *page, mpm_buffer *out);
/* [pure] A label value as a scrape shows it: \\, \n and \" escaped; a help text
 * of 0.0.4 leaves the quotes as they are. */
void mpm_escape(mpm_buffer *b, const char *bytes, size_t length, bool quotes);

#endif
