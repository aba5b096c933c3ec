/* check.h: what the core's tests share: checks that say the fact they prove,
 * files and processes of a test's own.  No test needs another header but
 * core.h and, for kills, killing.h. */
#ifndef MPM_TESTS_CHECK_H
#define MPM_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int failures;

/* The fact is a sentence; what follows it, printf's, only helps to find why. */
#define CHECK(condition, ...)                                                  \
    do {                                                                       \
        if (!(condition) && ++failures <= 20) {                                \
            printf("%s:%d: not so: ", __FILE__, __LINE__);                     \
            printf(__VA_ARGS__);                                               \
            printf("\n");                                                      \
            fflush(stdout);                                                    \
        }                                                                      \
    } while (0)

/* For what the test itself needs. */
#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("%s:%d: needed: %s\n", __FILE__, __LINE__, #condition);     \
            exit(2);                                                           \
        }                                                                      \
    } while (0)

/* A file without a name, with a megabyte to grow in unless a test says more. */
static inline int
nameless_file(void)
{
    int fd = memfd_create("mpm-test", MFD_CLOEXEC);
    NEED(fd >= 0);
    return fd;
}

/* A file in /dev/shm, which the caller unlinks. */
static inline int
named_file(char path[64])
{
    snprintf(path, 64, "/dev/shm/mpm-test-%d-XXXXXX", (int)getpid());
    int fd = mkstemp(path);
    NEED(fd >= 0);
    return fd;
}

/* Runs a function in a child, which exits 0, or 1 if a check failed in it. */
static inline pid_t
start(void (*run)(void *), void *context)
{
    fflush(stdout);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        failures = 0;
        run(context);
        fflush(stdout);
        _exit(failures != 0);
    }
    return pid;
}

/* Waits for a child: its exit status, or minus the signal that killed it. */
static inline int
await(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* An emulator may lack what a test is about: then it says so by name.  True:
 * go on. */
static inline bool
can_test(bool able, const char *what, const char *why)
{
    if (!able)
        printf("not tested here: %s: %s\n", what, why);
    return able;
}

/* Slow, too: for how often something is tried. */
static inline bool
is_emulated(void)
{
    return getenv("MPM_EMULATED") != NULL;
}

static inline uint64_t
seed_of(int argc, char **argv)
{
    uint64_t seed = mpm_sys_monotonic_ns();
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* xorshift64*: the same numbers from the same seed everywhere. */
static inline uint64_t
random_next(uint64_t *state)
{
    *state |= *state == 0;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static inline int
verdict(void)
{
    if (failures != 0)
        printf("%d checks failed\n", failures);
    return failures != 0;
}

#endif
