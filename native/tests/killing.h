/* killing.h: a process killed at every place where it matters, three ways.
 *
 *   by the instruction  a child does its work under ptrace, one instruction at
 *       a time.  Whenever the shared memory has changed, a copy of it is what
 *       a kill right there would have left; the copy is repaired and looked
 *       at.  Exact, in the very build we ship; not under sanitizers.
 *   by the name         MPM_CRASH_AT, in a build with MPM_CRASH_POINTS: each
 *       point, each passage of it, until the child survives.
 *   by the clock        SIGKILL after a random time, everywhere. */
#ifndef MPM_TESTS_KILLING_H
#define MPM_TESTS_KILLING_H

#include <dirent.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <time.h>

#include "check.h"

/* What is killed, and who looks at what is left.  Files are memfds. */
typedef struct {
    void (*format)(int fd);  /* makes the file */
    void (*prepare)(int fd); /* in the child, before it can be killed */
    void (*work)(void);      /* in the child */
    void (*repair)(int fd);  /* in another process, which may be killed too */
    const char *(*look)(int fd); /* repairs, then NULL or what is wrong */
} patient;

/* ---- by the instruction -------------------------------------------------- */

#define REFUSED 77 /* exit status */

typedef struct {
    uint64_t states, steps, second;
} stepped;

/* A copy of a heap as it is now, as far as its header says that it reaches. */
static inline int
copy_of(const char *image, uint64_t bytes)
{
    int fd = nameless_file();
    NEED(ftruncate(fd, (off_t)bytes) == 0);
    NEED(pwrite(fd, image, bytes, 0) == (ssize_t)bytes);
    return fd;
}

static inline void
be_stepped(int fd, void (*prepare)(int), void (*work)(void),
           void (*with_file)(int))
{
    failures = 0;
    if (prepare != NULL)
        prepare(fd);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(REFUSED);
    raise(SIGSTOP);
    if (work != NULL)
        work();
    else
        with_file(fd);
    _exit(failures != 0);
}

/* Steps through the work (or, with no `prepare`, the repair) of a child on
 * this file; looks at each state, and at every `nth` also at those in which
 * its repair can be killed.  False: the kernel refuses ptrace. */
static inline bool
step_through(const patient *p, int fd, bool repairing, uint64_t nth,
             stepped *count)
{
    uint64_t room = 1 << 20, bytes = 0;
    char *now = mmap(NULL, room, PROT_READ, MAP_SHARED, fd, 0);
    char *shadow = malloc(room);
    NEED(now != MAP_FAILED && shadow != NULL);
    fflush(stdout);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0)
        be_stepped(fd, repairing ? NULL : p->prepare,
                   repairing ? NULL : p->work, p->repair);
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    bool allowed = WIFSTOPPED(status);
    const mpm_header *header = (const mpm_header *)(const void *)now;
    while (allowed && WIFSTOPPED(status)) {
        uint64_t size = mpm_load_acquire(&header->size);
        NEED(size <= room);
        if (size != bytes || memcmp(now, shadow, size) != 0) {
            bytes = size;
            memcpy(shadow, now, size);
            int copy = copy_of(shadow, size);
            if (!repairing && nth != 0 && count->states % nth == 0) {
                int again = copy_of(shadow, size);
                stepped inner = {0};
                step_through(p, again, true, 0, &inner);
                count->second += inner.states;
                close(again);
            }
            const char *wrong = p->look(copy);
            CHECK(wrong == NULL, "killed %s instruction %llu: %s",
                  repairing ? "in the repair at" : "at",
                  (unsigned long long)count->steps, wrong == NULL ? "" : wrong);
            count->states++;
            close(copy);
        }
        count->steps++;
        NEED(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        NEED(waitpid(pid, &status, 0) == pid);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (allowed ? 0 : REFUSED),
          "the child did its work (status %d)", status);
    free(shadow);
    munmap(now, room);
    return allowed;
}

/* A step costs 3 us or, in some virtual machines, 60: MPM_KILL_REPAIRS=N also
 * kills the repair of every N-th state, which takes minutes. */
static inline void
kill_by_instruction(const patient *p)
{
    stepped count = {0};
    const char *every = getenv("MPM_KILL_REPAIRS");
    uint64_t nth = every == NULL ? 0 : strtoull(every, NULL, 10);
    if (SANITIZED)
        return;
    int fd = nameless_file();
    p->format(fd);
    if (!step_through(p, fd, false, nth, &count))
        printf("ptrace is refused here: not killed by the instruction\n");
    printf("%llu instructions, %llu states, and %llu within repairs\n",
           (unsigned long long)count.steps, (unsigned long long)count.states,
           (unsigned long long)count.second);
    close(fd);
}

/* ---- by the name --------------------------------------------------------- */

#ifdef MPM_CRASH_POINTS
#define POINTS 128

typedef struct {
    char name[POINTS][64];
    int count;
} points;

static inline void
grep_points(const char *path, points *all)
{
    char line[512];
    FILE *f = fopen(path, "r");
    NEED(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        char *at = strstr(line, "MPM_CRASH_POINT(\"");
        if (at == NULL)
            continue;
        at += sizeof "MPM_CRASH_POINT(\"" - 1;
        NEED(all->count < POINTS && strchr(at, '"') != NULL);
        snprintf(all->name[all->count++], 64, "%.*s",
                 (int)(strchr(at, '"') - at), at);
    }
    fclose(f);
}

/* Grepped from the sources: none can be forgotten. */
static inline void
find_points(points *all)
{
    char folder[512], path[1024];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    *strrchr(folder, '/') = '\0';
    *strrchr(folder, '/') = '\0';
    DIR *d = opendir(folder);
    NEED(d != NULL);
    all->count = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length < 3 || strcmp(e->d_name + length - 2, ".c") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        grep_points(path, all);
    }
    closedir(d);
}

typedef struct {
    const patient *patient;
    int fd;
    const char *at;
    bool repairing;
} crash;

static inline void
run_crash(void *context)
{
    const crash *c = context;
    if (!c->repairing)
        c->patient->prepare(c->fd);
    setenv("MPM_CRASH_AT", c->at, 1);
    if (c->repairing)
        c->patient->repair(c->fd);
    else
        c->patient->work();
}

/* Killed at that passage of the point?  And looked at. */
static inline bool
crash_at(const patient *p, const char *at, const points *inner)
{
    int fd = nameless_file();
    p->format(fd);
    crash c = {p, fd, at, false};
    int status = await(start(run_crash, &c));
    CHECK(status == 0 || status == -SIGKILL, "%s: the child ended with %d", at,
          status);
    /* Those who repair are killed, too, each at another point. */
    for (int i = 0; inner != NULL && status == -SIGKILL && i < inner->count;
         i++) {
        crash again = {p, fd, inner->name[i], true};
        await(start(run_crash, &again));
    }
    const char *wrong = p->look(fd);
    CHECK(wrong == NULL, "killed at %s: %s", at, wrong == NULL ? "" : wrong);
    close(fd);
    return status == -SIGKILL;
}

/* Prints the points that the work never passed. */
static inline void
kill_by_name(const patient *p, int passages)
{
    static points all;
    find_points(&all);
    int kills = 0, reached = 0;
    for (int i = 0; i < all.count; i++) {
        char at[96];
        for (int n = 1; n <= passages; n++) {
            snprintf(at, sizeof at, "%s:%d", all.name[i], n);
            if (!crash_at(p, at, n == 1 ? &all : NULL))
                break;
            kills++;
            reached += n == 1;
        }
    }
    printf("%d kills at %d of %d crash points\n", kills, reached, all.count);
    CHECK(reached > 0, "the work passes crash points");
}
#endif

/* ---- by the clock -------------------------------------------------------- */

typedef struct {
    const patient *patient;
    int fd;
} victim;

static inline void
work_for_ever(void *context)
{
    const victim *v = context;
    v->patient->prepare(v->fd);
    for (;;)
        v->patient->work();
}

/* One file all the time, so that what one kill leaves the next one meets. */
static inline void
kill_by_clock(const patient *p, int rounds, uint64_t *seed)
{
    int fd = nameless_file();
    p->format(fd);
    for (int i = 0; i < rounds && failures == 0; i++) {
        victim v = {p, fd};
        pid_t pid = start(work_for_ever, &v);
        mpm_sys_sleep(300000 + random_next(seed) % 3000000);
        kill(pid, SIGKILL);
        await(pid);
        const char *wrong = p->look(fd);
        CHECK(wrong == NULL, "killed by the clock, round %d: %s", i,
              wrong == NULL ? "" : wrong);
    }
    close(fd);
}

#endif
