/* truncated.c: a file that is cut while a program that only looks has it mapped.
 *
 * A page of a mapping behind the end of its file is SIGBUS (mmap(2)), and kills.
 * That is right for an application: what it counted is gone, and what to do at a
 * signal is for the program to choose. But an exporter shall say what happened,
 * and serve the next store. It asks for mpm_truncated_survive: from then on such
 * a page becomes zeros, which every reader takes for damage; and is counted, so
 * that nobody believes what was read meanwhile.
 *
 * Rejected: reading by pread. A copy of cells that move would be torn. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

#define WATCHED 64 /* mappings; the handler may neither lock nor allocate */
#define CLAIMED 1  /* a begin that is no address */

typedef struct {
    mpm_word begin; /* 0: free; stored after `end` */
    mpm_word end;
} range;

static range watched[WATCHED];
static mpm_word pages; /* that were put in the place of lost ones */
static uint64_t page_size;
static struct sigaction before;

void
mpm_truncated_watch(const void *address, uint64_t bytes)
{
    uint64_t begin = (uintptr_t)address;
    for (range *r = watched; r < watched + WATCHED; r++) {
        uint64_t none = 0;
        if (!mpm_cas_acq_rel(&r->begin, &none, CLAIMED))
            continue;
        mpm_store_release(&r->end, begin + bytes);
        mpm_store_release(&r->begin, begin);
        return;
    }
}

void
mpm_truncated_forget(const void *address)
{
    uint64_t begin = (uintptr_t)address;
    for (range *r = watched; r < watched + WATCHED; r++) {
        if (mpm_load_acquire(&r->begin) == begin) {
            mpm_store_release(&r->begin, 0);
            return;
        }
    }
}

static bool
is_watched(uint64_t address)
{
    for (range *r = watched; r < watched + WATCHED; r++) {
        uint64_t begin = mpm_load_acquire(&r->begin);
        if (begin > CLAIMED && address >= begin &&
            address < mpm_load_acquire(&r->end))
            return true;
    }
    return false;
}

static void
put_zeros(int number, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    uint64_t address = (uintptr_t)info->si_addr;
    void *page = (char *)info->si_addr - address % page_size;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    bool is_ours = info->si_code == BUS_ADRERR && is_watched(address);
    if (is_ours) /* first: another thread may read the zeros at once */
        mpm_add_acq_rel(&pages, 1);
    /* Writable: who checks a store that is used holds its lock. */
    if (!is_ours ||
        mmap(page, page_size, PROT_READ | PROT_WRITE, flags, -1, 0) != page) {
        sigaction(number, &before, NULL); /* and the fault comes again */
        if (info->si_code <= 0)
            raise(number); /* it was no fault, but sent */
    }
    errno = error;
}

mpm_status
mpm_truncated_survive(void)
{
    struct sigaction action = {.sa_sigaction = put_zeros,
                               .sa_flags = SA_SIGINFO};
    static bool survives;
    if (survives)
        return MPM_OK;
    page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    survives = sigaction(SIGBUS, &action, &before) == 0;
    return survives ? MPM_OK : MPM_ESYSTEM;
}

uint64_t
mpm_truncated_pages(void)
{
    return mpm_load_acquire(&pages);
}
