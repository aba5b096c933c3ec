/* budget.c: a bound on what a scrape looks at.
 *
 * Each walk has a bound of its own, but damage multiplies them: a thousand
 * records that name one text of a megabyte, each with a thousand buckets.  In a
 * whole store the blocks are disjoint, so the file's size bounds them all. */
#include "core.h"

mpm_budget
mpm_budget_of(mpm_heap *h)
{
    uint64_t file = mpm_load_relaxed(&h->known); /* no matter how old */
    return (mpm_budget){MPM_SCRAPE_FREE + file * MPM_SCRAPE_TIMES};
}
