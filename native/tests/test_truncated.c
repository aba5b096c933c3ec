/* A file that is cut while it is mapped: what only looks reads zeros and is
 * told; everything else dies of it as before. */
#include <signal.h>

#include "check.h"

#define BYTES ((uint64_t)1 << 20)

static void
touch(void *address)
{
    mpm_word *word = address;
    CHECK(mpm_load_acquire(word) == 0, "the file was never written");
}

static int
cut(void *address, int fd)
{
    NEED(ftruncate(fd, 0) == 0);
    return await(start(touch, address));
}

static void *
map(int fd)
{
    void *address;
    NEED(ftruncate(fd, (off_t)BYTES) == 0);
    NEED(mpm_sys_map(fd, BYTES, true, &address) == MPM_OK);
    return address;
}

/* A page of a mapping that the core didn't make. */
static void *
map_by_hand(int fd)
{
    NEED(ftruncate(fd, (off_t)BYTES) == 0);
    void *address = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    NEED(address != MAP_FAILED);
    return address;
}

static void
test_kills(int fd)
{
    void *address = map(fd);
    int status = cut(address, fd);
    /* The sanitizers' handler ends the process with a status of its own. */
    CHECK(SANITIZED ? status != 0 : status == -SIGBUS,
          "nobody asked to survive: %d", status);
    mpm_sys_unmap(address, BYTES);
}

static void
test_survives(int fd)
{
    char *address = map(fd);
    NEED(mpm_truncated_survive() == MPM_OK);
    CHECK(mpm_truncated_pages() == 0, "nothing was cut yet");
    CHECK(cut(address, fd) == 0, "a forked child survives");
    CHECK(mpm_truncated_pages() == 0, "its pages aren't ours");
    touch(address);
    touch(address + 8);
    CHECK(mpm_truncated_pages() == 1, "one page was put there");
    touch(address + BYTES - 8);
    CHECK(mpm_truncated_pages() == 2, "and another one");
    mpm_sys_unmap(address, BYTES);
}

/* More mappings than are watched at a time, one after the other. */
static void
test_forgets(int fd)
{
    uint64_t pages = mpm_truncated_pages();
    for (int i = 0; i < 200; i++)
        mpm_sys_unmap(map(fd), BYTES);
    void *address = map(fd);
    NEED(ftruncate(fd, 0) == 0);
    touch(address);
    CHECK(mpm_truncated_pages() == pages + 1, "the last one is watched");
    mpm_sys_unmap(address, BYTES);
}

static void
test_others(int fd)
{
    void *address = map_by_hand(fd);
    int status = cut(address, fd);
    CHECK(SANITIZED ? status != 0 : status == -SIGBUS,
          "what isn't a store's mapping is none of ours: %d", status);
    munmap(address, BYTES);
}

static void
send_itself(void *unused)
{
    (void)unused;
    kill(getpid(), SIGBUS);
}

static void
test_sent(void)
{
    int status = await(start(send_itself, NULL));
    CHECK(SANITIZED ? status != 0 : status == -SIGBUS,
          "a signal that is no fault does what it did: %d", status);
}

int
main(void)
{
    int fd = nameless_file();
    test_kills(fd);
    test_survives(fd);
    test_forgets(fd);
    test_others(fd);
    test_sent();
    close(fd);
    return verdict();
}
