/* Leases, the epoch, the lock and the attached mark: who is alive, who owns
 * the lock, who is here; asked by processes that die in every way. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "check.h"

#define ALIVE(h, lease) mpm_lease_is_alive((h), (lease))

typedef struct {
    mpm_heap *h;
    uint64_t *lease; /* shared: what the child took; its other half: go on */
    int ready[2], go[2];
} meeting;

static void
open_heap(mpm_heap *h, char path[64])
{
    int fd = named_file(path);
    NEED(mpm_heap_format(fd, 1 << 20) == MPM_OK);
    NEED(mpm_heap_open(h, fd, path, false) == MPM_OK);
    close(fd);
}

static void
close_heap(mpm_heap *h, const char *path)
{
    mpm_heap_close(h);
    unlink(path);
}

static void
meet(meeting *m, mpm_heap *h)
{
    m->h = h;
    m->lease = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(m->lease != MAP_FAILED && pipe(m->ready) == 0 && pipe(m->go) == 0);
}

/* The child says that it is there, and waits for the parent's word. */
static void
say(meeting *m)
{
    NEED(write(m->ready[1], "", 1) == 1);
}

static void
wait_for_word(meeting *m)
{
    char c;
    NEED(read(m->go[0], &c, 1) == 1);
}

static void
hear(meeting *m)
{
    char c;
    NEED(read(m->ready[0], &c, 1) == 1);
}

static void
give_word(meeting *m)
{
    NEED(write(m->go[1], "", 1) == 1);
}

static void
part(meeting *m)
{
    munmap(m->lease, 4096);
    for (int i = 0; i < 2; i++) {
        close(m->ready[i]);
        close(m->go[i]);
    }
}

/* ---- leases -------------------------------------------------------------- */

static void
take_and_wait(void *context)
{
    meeting *m = context;
    NEED(mpm_lease_take(m->h) == MPM_OK);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    say(m);
    wait_for_word(m);
}

static void
take_and_close_all(void *context)
{
    meeting *m = context;
    NEED(mpm_lease_take(m->h) == MPM_OK);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    uint64_t other = *m->lease - 1;
    for (int fd = 3; fd < 1000; fd++)
        if (fd != m->ready[1] && fd != m->go[0])
            close(fd);
    int taken = open("/dev/null", O_RDONLY); /* the number is another's now */
    CHECK(ALIVE(m->h, *m->lease), "alive to itself without a descriptor");
    CHECK(ALIVE(m->h, other), "who can't look takes everybody for living");
    CHECK(mpm_lock_acquire(m->h) == MPM_OK, "the lock needs no descriptor");
    mpm_lock_release(m->h);
    CHECK(mpm_sys_is(m->h->fd, m->h->device, m->h->inode) &&
              m->h->fd != taken && fcntl(taken, F_GETFD) >= 0,
          "the file is opened again by its path, and nobody else's closed");
    say(m);
    wait_for_word(m);
}

static void
take_and_exec(void *context)
{
    meeting *m = context;
    NEED(mpm_lease_take(m->h) == MPM_OK);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    say(m);
    wait_for_word(m);
    execlp("sleep", "sleep", "100", (char *)NULL);
    _exit(1);
}

static pid_t
begin(meeting *m, void (*run)(void *))
{
    pid_t pid = start(run, m);
    hear(m);
    CHECK(ALIVE(m->h, *m->lease), "a lease is alive while its process is");
    return pid;
}

static void
test_life(mpm_heap *h)
{
    meeting m;
    meet(&m, h);
    pid_t pid = begin(&m, take_and_wait);
    give_word(&m);
    CHECK(await(pid) == 0 && !ALIVE(h, *m.lease), "dead after exit");
    pid = begin(&m, take_and_wait);
    kill(pid, SIGSTOP);
    CHECK(ALIVE(h, *m.lease), "who is stopped lives");
    kill(pid, SIGKILL);
    await(pid);
    CHECK(!ALIVE(h, *m.lease), "dead after SIGKILL");
    pid = begin(&m, take_and_close_all);
    CHECK(ALIVE(h, *m.lease), "alive after closing every descriptor");
    give_word(&m);
    CHECK(await(pid) == 0 && !ALIVE(h, *m.lease), "and dead after its exit");
    pid = begin(&m, take_and_exec);
    give_word(&m);
    for (int i = 0; i < 5000 && ALIVE(h, *m.lease); i++)
        mpm_sys_sleep(1000000);
    CHECK(!ALIVE(h, *m.lease) && kill(pid, 0) == 0,
          "dead after exec, though the pid lives");
    kill(pid, SIGKILL);
    await(pid);
    CHECK(!ALIVE(h, 0) && !ALIVE(h, *m.lease + 1) && !ALIVE(h, UINT64_MAX),
          "what was never given is dead");
    part(&m);
}

/* ---- forks and epochs ---------------------------------------------------- */

/* Does the kernel keep a page from a child that is told to?  Then a pin, and
 * with it the lease, is its owner's alone. */
static bool
pages_stay_here(void)
{
    int ends[2];
    char *page =
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED && madvise(page, 4096, MADV_DONTFORK) == 0);
    NEED(pipe(ends) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) /* the kernel looks, since a signal would be one's end */
        _exit(write(ends[1], page, 1) != 1);
    bool gone = await(pid) == 1;
    munmap(page, 4096);
    close(ends[0]);
    close(ends[1]);
    return gone;
}

static bool pins_are_ours; /* what pages_stay_here says */

static void
be_a_child(void *context)
{
    meeting *m = context;
    mpm_heap *h = m->h;
    uint64_t parents = mpm_load_relaxed(&h->lease);
    CHECK(*mpm_epoch_word == 0, "the kernel has wiped the epoch's word");
    CHECK(ALIVE(h, parents), "the parent lives");
    uint64_t epoch = mpm_epoch();
    CHECK(epoch == mpm_load_relaxed(&h->epoch) + 1 && epoch == mpm_epoch(),
          "one epoch more, once");
    NEED(mpm_lease_take(h) == MPM_OK);
    CHECK(mpm_load_relaxed(&h->lease) == parents + 1,
          "a child has a lease of its own");
    CHECK(ALIVE(h, parents), "and still sees its parent");
    say(m);
    wait_for_word(m);
    for (int i = 0; pins_are_ours && i < 5000 && ALIVE(h, parents); i++)
        mpm_sys_sleep(1000000);
    CHECK(!pins_are_ours || !ALIVE(h, parents),
          "a child doesn't keep its parent's lease");
    _exit(failures != 0 ? 1 : 42);
}

/* A process that takes a lease, forks, and dies while its child lives. */
static void
be_a_parent(void *context)
{
    meeting *m = context;
    NEED(mpm_lease_take(m->h) == MPM_OK);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    pid_t child = start(be_a_child, context);
    m->lease[1] = (uint64_t)child;
    say(m);
    pause(); /* not for a word, which the child waits for */
}

static void
test_fork(mpm_heap *h)
{
    meeting m;
    meet(&m, h);
    pid_t pid = start(be_a_parent, &m);
    hear(&m);
    hear(&m);
    CHECK(ALIVE(h, *m.lease) && ALIVE(h, *m.lease + 1), "both live");
    kill(pid, SIGKILL);
    await(pid);
    CHECK(!pins_are_ours || !ALIVE(h, *m.lease), "the parent is dead");
    CHECK(ALIVE(h, *m.lease + 1), "its child lives on");
    give_word(&m);
    for (int i = 0; i < 5000 && ALIVE(h, *m.lease + 1); i++)
        mpm_sys_sleep(1000000);
    CHECK(!ALIVE(h, *m.lease + 1), "until it is dead, too");
    part(&m);
}

/* While no descriptor is left there is no lease.  One by a POSIX lock would end
 * when the file was next opened and closed, whoever does that here. */
static void
take_at_the_limit(void *context)
{
    meeting *m = context;
    struct rlimit old;
    NEED(getrlimit(RLIMIT_NOFILE, &old) == 0);
    struct rlimit none = {0, old.rlim_max};
    NEED(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(mpm_lease_take(m->h) == MPM_ESYSTEM, "not now");
    CHECK(mpm_load_relaxed(&m->h->lease) == 0, "and not by half");
    NEED(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(mpm_lease_take(m->h) == MPM_OK, "but once one can be had");
    int again = open(m->h->path, O_RDWR | O_CLOEXEC);
    NEED(again >= 0);
    close(again);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    say(m);
    wait_for_word(m);
    _exit(failures != 0);
}

static void
test_limit(mpm_heap *h)
{
    meeting m;
    meet(&m, h);
    pid_t pid = start(take_at_the_limit, &m);
    hear(&m);
    CHECK(ALIVE(h, *m.lease), "its lease is kept, whoever closes the file");
    give_word(&m);
    CHECK(await(pid) == 0, "in the child all was well");
    part(&m);
}

/* Pages without a file, and no descriptor for locks: nobody is known to be dead,
 * but all can count. */
static void
test_no_descriptor(void)
{
    mpm_heap h;
    NEED(mpm_heap_open_fileless(&h, -1, (uint64_t)1 << 20) == MPM_OK);
    CHECK(mpm_lease_take(&h) == MPM_OK, "a lease is a number");
    uint64_t mine = mpm_load_relaxed(&h.lease);
    CHECK(mine != 0 && ALIVE(&h, mine), "one's own is alive");
    CHECK(mpm_lock_acquire(&h) == MPM_OK, "the lock is a word");
    mpm_lock_release(&h);
    CHECK(mpm_attach(&h) == MPM_OK, "there is nobody to be told");
    mpm_heap_close(&h);
}

/* ---- the lock ------------------------------------------------------------ */

#define TURNS (SANITIZED ? 500 : 3000)

static uint64_t *counted; /* plain: only the lock makes it exact */

static void
count_up(void *context)
{
    mpm_heap *h = context;
    for (int i = 0; i < TURNS; i++) {
        while (mpm_lock_acquire(h) == MPM_BUSY)
            continue;
        uint64_t n = *(volatile uint64_t *)counted;
        for (volatile int k = 0; k < 20; k++)
            continue;
        *(volatile uint64_t *)counted = n + 1;
        mpm_lock_release(h);
    }
}

static void
test_exclusion(mpm_heap *h)
{
    pid_t pids[4];
    counted = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(counted != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        pids[i] = start(count_up, h);
    for (int i = 0; i < 4; i++)
        CHECK(await(pids[i]) == 0, "a counting process ends well");
    CHECK(*counted == 4 * (uint64_t)TURNS, "one at a time: %lu",
          (unsigned long)*counted);
    munmap(counted, 4096);
}

static void
hold(void *context)
{
    meeting *m = context;
    NEED(mpm_lock_acquire(m->h) == MPM_OK);
    *m->lease = mpm_load_relaxed(&m->h->lease);
    say(m);
    wait_for_word(m);
    mpm_lock_release(m->h);
    say(m);
    wait_for_word(m);
}

static uint64_t
nanoseconds_of_busy(mpm_heap *h)
{
    uint64_t began = mpm_sys_monotonic_ns();
    mpm_status status = mpm_lock_acquire(h);
    CHECK(status == MPM_BUSY, "a living process has the lock: %s",
          mpm_status_text(status));
    return mpm_sys_monotonic_ns() - began;
}

static int rebuilt;

static mpm_status
rebuild(mpm_heap *h, bool died)
{
    (void)h;
    rebuilt += died;
    return MPM_OK;
}

static void
test_busy_and_dead(mpm_heap *h)
{
    meeting m;
    meet(&m, h);
    pid_t pid = start(hold, &m);
    hear(&m);
    kill(pid, SIGSTOP);
    uint64_t first = nanoseconds_of_busy(h), second = nanoseconds_of_busy(h);
    printf("a stopped owner costs %.1f ms once, then %.3f ms\n",
           (double)first / 1e6, (double)second / 1e6);
    CHECK(first > 40000000 && second < first / 2,
          "its owner is waited for once and then only tried");
    kill(pid, SIGCONT);
    give_word(&m);
    hear(&m);
    CHECK(mpm_lock_acquire(h) == MPM_OK, "free as soon as it is released");
    mpm_lock_release(h);
    give_word(&m);
    CHECK(await(pid) == 0, "the owner ends well");
    pid = start(hold, &m);
    hear(&m);
    kill(pid, SIGKILL);
    await(pid);
    h->rebuild = rebuild;
    rebuilt = 0;
    CHECK(mpm_lock_acquire(h) == MPM_OK && rebuilt == 1,
          "taken from the dead at once, and all behind it rebuilt");
    mpm_lock_release(h);
    CHECK(mpm_lock_acquire(h) == MPM_OK && rebuilt == 1, "and only once");
    mpm_lock_release(h);
    mpm_store_release(&h->header->lock, mpm_load_relaxed(&h->lease));
    CHECK(mpm_lock_acquire(h) == MPM_OK && rebuilt == 2,
          "one's own number while not inside is taken like a dead one's");
    mpm_lock_release(h);
    mpm_store_release(&h->header->lock, UINT64_MAX);
    CHECK(mpm_lock_acquire(h) == MPM_OK && rebuilt == 3,
          "a number that was never given is dead");
    mpm_lock_release(h);
    h->rebuild = NULL;
    mpm_store_release(&h->header->lock, UINT64_MAX);
    mpm_store_release(&h->header->root, 1);
    CHECK(mpm_lock_acquire(h) == MPM_BUSY,
          "who knows no store leaves a dead one's lock to one that does");
    mpm_store_release(&h->header->root, 0);
    mpm_store_release(&h->header->lock, 0);
    part(&m);
}

static void
be_busy_as_child(void *context)
{
    mpm_heap *h = context;
    CHECK(mpm_lock_acquire(h) == MPM_BUSY,
          "a child forked inside isn't inside");
}

/* Which no Python program can do: the interpreter forks between two calls. */
static void
test_fork_inside(mpm_heap *h)
{
    NEED(mpm_lock_acquire(h) == MPM_OK);
    CHECK(await(start(be_busy_as_child, h)) == 0, "the lock is the parent's");
    mpm_lock_release(h);
}

/* ---- attached ------------------------------------------------------------ */

static void
attach_and_wait(void *context)
{
    meeting *m = context;
    if (m->h->attached == NULL)
        CHECK(mpm_attach(m->h) == MPM_OK, "a process can attach");
    say(m);
    wait_for_word(m);
}

static bool
can_claim(const char *path)
{
    bool claimed = false;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    NEED(fd >= 0);
    CHECK(mpm_claim(fd, &claimed) == MPM_OK, "claiming can be asked for");
    close(fd);
    return claimed;
}

static void
test_attached(mpm_heap *h, const char *path)
{
    meeting m;
    meet(&m, h);
    CHECK(!mpm_is_attached(h->fd) && can_claim(path),
          "nobody is here at first");
    pid_t pid = start(attach_and_wait, &m);
    hear(&m);
    CHECK(mpm_is_attached(h->fd) && !can_claim(path),
          "another process is here");
    kill(pid, SIGKILL);
    await(pid);
    CHECK(!mpm_is_attached(h->fd) && can_claim(path), "and gone when killed");
    NEED(mpm_attach(h) == MPM_OK);
    CHECK(mpm_attach(h) == MPM_OK && mpm_is_attached(h->fd) && !can_claim(path),
          "this process counts, too");
    pid = start(attach_and_wait, &m);
    hear(&m);
    mpm_detach(h);
    CHECK(mpm_is_attached(h->fd) && !can_claim(path),
          "a child of its own holds the mark when the parent lets go");
    give_word(&m);
    await(pid);
    CHECK(!mpm_is_attached(h->fd) && can_claim(path), "last one out");
    bool claimed;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    NEED(fd >= 0 && mpm_claim(fd, &claimed) == MPM_OK && claimed);
    CHECK(mpm_attach(h) == MPM_BUSY, "nobody comes in while it is claimed");
    close(fd);
    CHECK(mpm_attach(h) == MPM_OK, "but afterwards");
    mpm_detach(h);
    part(&m);
}

int
main(void)
{
    mpm_heap h;
    char path[64];
    NEED(mpm_epoch_start() == MPM_OK);
    open_heap(&h, path);
    test_attached(&h, path);
    test_life(&h);
    pins_are_ours = pages_stay_here();
    can_test(pins_are_ours, "whether a child keeps its parent's lease alive",
             "MADV_DONTFORK is ignored, as by qemu-user");
    test_fork(&h);
    test_limit(&h);
    test_no_descriptor();
    NEED(mpm_lease_take(&h) == MPM_OK);
    test_life(&h);
    test_exclusion(&h);
    test_busy_and_dead(&h);
    test_fork_inside(&h);
    close_heap(&h, path);
    return verdict();
}
