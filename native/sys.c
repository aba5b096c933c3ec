/* sys.c: everything that is Linux: files, mappings, locks on bytes, clocks.
 *
 * Nothing here knows what a heap is.  A lock on a byte is an open file
 * description's (F_OFD_SETLK, fcntl(2)): a process doesn't lose it when it
 * closes some descriptor of the file, and it lives as long as a mapping of
 * that description: exactly as long as the address space that could write. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

#ifndef F_OFD_SETLK /* musl hides them without _GNU_SOURCE */
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define NANOSECONDS 1000000000ULL
#define GIB ((uint64_t)1 << 30)
#define ALIGNMENT ((uint64_t)1 << 20) /* of mappings: MPM_ALIGN_MAX */
#define LEAST_RESERVE ((uint64_t)1 << 18)
#define INTERRUPTIONS 1000 /* of one fallocate: a profiler's signals */

static uint64_t
read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NANOSECONDS + (uint64_t)t.tv_nsec;
}

uint64_t
mpm_sys_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t
mpm_sys_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

void
mpm_sys_sleep(uint64_t nanoseconds)
{
    struct timespec t = {.tv_sec = (time_t)(nanoseconds / NANOSECONDS),
                         .tv_nsec = (long)(nanoseconds % NANOSECONDS)};
    nanosleep(&t, NULL);
}

mpm_status
mpm_sys_random(void *bytes, size_t count)
{
    return getrandom(bytes, count, 0) == (ssize_t)count ? MPM_OK : MPM_ESYSTEM;
}

uint64_t
mpm_sys_pid(void)
{
    return (uint64_t)getpid();
}

/* ---- files --------------------------------------------------------------- */

mpm_status
mpm_sys_size(int fd, uint64_t *bytes)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return MPM_ESYSTEM;
    *bytes = (uint64_t)st.st_size;
    return MPM_OK;
}

mpm_filesystem
mpm_sys_filesystem(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return MPM_FS_UNKNOWN;
    switch ((unsigned long)fs.f_type) { /* statfs(2) lists them */
    case 0x01021994:                    /* tmpfs, and what a memfd is in */
    case 0x858458f6: /* ramfs */ return MPM_FS_MEMORY;
    case 0xef53: /* ext4 */
    case 0x58465342: /* xfs */ return MPM_FS_DISK;
    default: return MPM_FS_UNKNOWN;
    }
}

mpm_status
mpm_sys_identify(int fd, uint64_t *device, uint64_t *inode)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return MPM_ESYSTEM;
    *device = (uint64_t)st.st_dev;
    *inode = (uint64_t)st.st_ino;
    return MPM_OK;
}

bool
mpm_sys_is(int fd, uint64_t device, uint64_t inode)
{
    uint64_t d, i;
    return fd >= 0 && mpm_sys_identify(fd, &d, &i) == MPM_OK && d == device &&
           i == inode;
}

bool
mpm_sys_is_unlinked(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

void
mpm_sys_close(int fd)
{
    close(fd);
}

/* Does it say nothing of the file, but only that it can't be had now? */
static bool
is_passing(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM ||
           error == EINTR;
}

mpm_status
mpm_sys_reopen(int fd, const char *path, uint64_t device, uint64_t inode,
               bool read_only, int *again)
{
    int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW;
    int opened = -1, error = ENOENT;
    if (mpm_sys_is(fd, device, inode)) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        opened = open(link, flags & ~O_NOFOLLOW);
        error = errno;
    }
    if (opened < 0 && path != NULL && !is_passing(error)) {
        opened = open(path, flags | O_NONBLOCK); /* never wait for a FIFO */
        error = errno;
    }
    if (opened < 0)
        return is_passing(error) ? MPM_ESYSTEM : MPM_EGONE;
    if (!mpm_sys_is(opened, device, inode)) {
        close(opened);
        return MPM_EGONE;
    }
    *again = opened;
    return MPM_OK;
}

mpm_status
mpm_sys_duplicate(int fd, int *again)
{
    *again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return *again >= 0 ? MPM_OK : MPM_ESYSTEM;
}

mpm_status
mpm_sys_grow(int fd, uint64_t from, uint64_t to)
{
    struct rlimit limit;
    /* Beyond RLIMIT_FSIZE fallocate sends SIGXFSZ, which kills. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && to > limit.rlim_cur)
        return MPM_EMEMORY;
    for (int i = 0; i < INTERRUPTIONS; i++) {
        if (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) == 0)
            return MPM_OK;
        if (errno != EINTR)
            break;
    }
    return errno == ENOSPC || errno == EFBIG || errno == EDQUOT ||
                   errno == EINTR
               ? MPM_EMEMORY
               : MPM_ESYSTEM;
}

/* What RLIMIT_AS leaves of the address space; 0: no limit. */
static uint64_t
address_space_left(void)
{
    struct rlimit limit;
    unsigned long pages = 0;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    uint64_t used = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return limit.rlim_cur > used ? limit.rlim_cur - used : 1;
}

uint64_t
mpm_sys_reserve(int fd)
{
    uint64_t reserve = 64 * GIB;
    struct statvfs fs;
    if (fstatvfs(fd, &fs) == 0 && fs.f_blocks != 0) {
        uint64_t size = (uint64_t)fs.f_blocks * (uint64_t)fs.f_frsize;
        if (size < reserve)
            reserve = size;
    }
    /* An eighth: malloc must live in the rest, and so must other stores. */
    uint64_t left = address_space_left(), share = left / 8;
    if (share < LEAST_RESERVE) /* half of so little, rather than no store */
        share = left / 2 < LEAST_RESERVE ? left / 2 : LEAST_RESERVE;
    if (left != 0 && share < reserve)
        reserve = share;
    return reserve / MPM_STEP * MPM_STEP;
}

/* ---- mappings ------------------------------------------------------------ */

mpm_status
mpm_sys_map(int fd, uint64_t bytes, bool read_only, void **address)
{
    int protection = PROT_READ | (read_only ? 0 : PROT_WRITE);
    /* A hole first, for the mapping to be aligned in it: users ask for more
     * than pages (users.h), and mean addresses. */
    uint64_t hole = bytes + ALIGNMENT;
    char *begin = mmap(NULL, hole, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED)
        return errno == ENOMEM ? MPM_EMEMORY : MPM_ESYSTEM;
    uint64_t before = (ALIGNMENT - (uintptr_t)begin % ALIGNMENT) % ALIGNMENT;
    int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
    void *a = mmap(begin + before, bytes, protection,
                   flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (a == MAP_FAILED) {
        mpm_status status = errno == ENOMEM ? MPM_EMEMORY : MPM_ESYSTEM;
        munmap(begin, hole);
        return status;
    }
    if (before != 0)
        munmap(begin, before);
    munmap(begin + before + bytes, ALIGNMENT - before);
    /* Else a core dump would write the whole reserve. */
    madvise(a, bytes, MADV_DONTDUMP);
    mpm_truncated_watch(a, bytes);
    *address = a;
    return MPM_OK;
}

void
mpm_sys_unmap(void *address, uint64_t bytes)
{
    mpm_truncated_forget(address);
    munmap(address, bytes);
}

static uint64_t *fork_word;

/* For fork() where the kernel won't: qemu-user before 8 ignores the advice, and
 * Linux before 4.14 doesn't know it.  Elsewhere the word is 0 by now. */
static void
wipe_fork_word(void)
{
    if (*fork_word != 0)
        *fork_word = 0;
}

mpm_status
mpm_sys_fork_word(uint64_t **word)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *a = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a == MAP_FAILED)
        return MPM_ESYSTEM;
    fork_word = a;
    /* The kernel alone also sees a raw clone. */
    if ((madvise(a, bytes, MADV_WIPEONFORK) != 0 && errno != EINVAL) ||
        pthread_atfork(NULL, NULL, wipe_fork_word) != 0) {
        munmap(a, bytes);
        return MPM_ESYSTEM;
    }
    *word = a;
    return MPM_OK;
}

/* ---- locks on bytes ------------------------------------------------------ */

static struct flock
one_byte(uint64_t byte, short type)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
    l.l_start = (off_t)byte;
    return l;
}

mpm_status
mpm_sys_pin(int fd, uint64_t byte, bool shared, bool children, void **pin)
{
    struct flock l = one_byte(byte, shared ? F_RDLCK : F_WRLCK);
    if (fcntl(fd, F_OFD_SETLK, &l) != 0)
        return errno == EAGAIN || errno == EACCES ? MPM_BUSY : MPM_ESYSTEM;
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *a = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, fd, 0);
    if (a == MAP_FAILED)
        return errno == ENOMEM ? MPM_EMEMORY : MPM_ESYSTEM;
    if (!children && madvise(a, bytes, MADV_DONTFORK) != 0) {
        munmap(a, bytes);
        return MPM_ESYSTEM;
    }
    *pin = a;
    return MPM_OK;
}

void
mpm_sys_unpin(void *pin)
{
    munmap(pin, (size_t)sysconf(_SC_PAGESIZE));
}

mpm_status
mpm_sys_is_locked(int fd, uint64_t byte, bool *locked)
{
    struct flock l = one_byte(byte, F_WRLCK);
    if (fcntl(fd, F_OFD_GETLK, &l) != 0)
        return MPM_ESYSTEM;
    *locked = l.l_type != F_UNLCK;
    return MPM_OK;
}

mpm_status
mpm_sys_try_lock(int fd, uint64_t byte, bool posix, bool *locked)
{
    struct flock l = one_byte(byte, F_WRLCK);
    *locked = fcntl(fd, posix ? F_SETLK : F_OFD_SETLK, &l) == 0;
    return *locked || errno == EAGAIN || errno == EACCES ? MPM_OK : MPM_ESYSTEM;
}

/* ---- tests --------------------------------------------------------------- */

#ifdef MPM_CRASH_POINTS
#define NAP 200000 /* ns */

/* MPM_CRASH_PAUSE=N: sleeps at every N-th point, on average. */
static void
pause_sometimes(void)
{
    static uint64_t state;
    const char *every = getenv("MPM_CRASH_PAUSE");
    uint64_t n = every == NULL ? 0 : strtoull(every, NULL, 10);
    if (n == 0)
        return;
    if (state == 0)
        state = mpm_sys_monotonic_ns(); /* Knuth's MMIX from here on */
    state = state * 6364136223846793005u + 1442695040888963407u;
    if ((state >> 33) % n == 0)
        mpm_sys_sleep(NAP);
}

/* MPM_CRASH_AT=NAME or NAME:N dies at the first or the N-th passage, a child
 * at its own. */
void
mpm_crash_point(const char *name)
{
    static unsigned long passages;
    static pid_t counted;
    pause_sometimes();
    const char *at = getenv("MPM_CRASH_AT");
    size_t length = strlen(name);
    if (at == NULL || strncmp(at, name, length) != 0 ||
        (at[length] != '\0' && at[length] != ':'))
        return;
    unsigned long wanted =
        at[length] == ':' ? strtoul(at + length + 1, NULL, 10) : 1;
    if (counted != getpid())
        passages = 0;
    counted = getpid();
    if (++passages == wanted)
        kill(counted, SIGKILL);
}
#endif

#ifdef MPM_MUTANTS
bool
mpm_mutant(const char *name)
{
    const char *mutant = getenv("MPM_MUTANT");
    return mutant != NULL && strcmp(mutant, name) == 0;
}
#endif
