/* Series removed while a process that was stopped has the lock: nobody waits,
 * nothing is lost, also by a kill, and the lock's next owner tidies up.
 *
 * test_removal SEED kills by the clock as that run did. */
#include <pthread.h>

#include "killing.h"
#include "metric.h"

#define SERIES 12u
#define ROUNDS 3000

static const metric pairs = {
    .kind = MPM_COUNTER, .name = "pairs", .labels = {"a", "b"}};

static mpm_store holder, mine; /* who has the lock, and who removes */
static family mines;
static int held_fd = -1; /* the file that `holder` has */

/* Label sets 0/0, 0/1, 0/2, 1/0 and so on: four values of a, three of b. */
static mpm_id
pair(mpm_store *s, family f, unsigned n)
{
    char a[12], b[12];
    const char *values[] = {a, b};
    snprintf(a, sizeof a, "%u", n / 3);
    snprintf(b, sizeof b, "%u", n % 3);
    return series_of(s, f, values);
}

/* Removes by the values of a and b; NULL: any. */
static void
remove_like(mpm_store *s, family f, const char *a, const char *b)
{
    mpm_string values[] = {
        {a, a == NULL ? 0 : (uint32_t)strlen(a)},
        {b, b == NULL ? 0 : (uint32_t)strlen(b)},
    };
    mpm_series_remove_like(s, f.id, values, 2);
}

static unsigned
count_shown(mpm_store *s, family f)
{
    mpm_walk w;
    mpm_budget budget = mpm_budget_of(&s->heap);
    unsigned shown = 0;
    for (mpm_walk_begin(&w, s, f.id, &budget); mpm_walk_next(&w);)
        shown++;
    mpm_walk_end(&w);
    return shown;
}

/* NULL, or what is wrong: with all of it tidied by who has the lock now. */
static const char *
whole(mpm_store *s)
{
    uint64_t unreached;
    lock(s);
    const char *wrong = mpm_store_check(s, &unreached);
    if (wrong == NULL && unreached != 0)
        wrong = "a block is lost";
    if (wrong == NULL && mpm_load_acquire(&s->root->untidy) != 0)
        wrong = "it is still untidy";
    /* Twice: all may be gone, and made anew by who has the lock meanwhile. */
    if (wrong == NULL && mpm_load_acquire(&s->root->records) > 2 * SERIES)
        wrong = "a record is lost";
    mpm_lock_release(&s->heap);
    return wrong;
}

/* All series are there, and `holder` has the lock, as if it were stopped. */
static void
hold(int fd)
{
    join(&holder, fd);
    family f = declare(&holder, &pairs);
    for (unsigned n = 0; n < SERIES; n++)
        pair(&holder, f, n);
    free(f.shape);
    mpm_store left; /* a shard, for who comes while the lock is held */
    own_shard(join(&left, fd));
    mpm_store_close(&left);
    lock(&holder);
    held_fd = fd;
}

static void
let_go(void)
{
    if (held_fd < 0)
        return;
    mpm_lock_release(&holder.heap);
    mpm_store_close(&holder);
    held_fd = -1;
}

/* ---- nobody waits --------------------------------------------------------- */

static void
test_stopped_holder(void)
{
    int fd = nameless_file();
    NEED(mpm_store_format(fd, 1 << 20, 0) == MPM_OK);
    join(&mine, fd);
    mines = declare(&mine, &pairs);
    hold(fd);
    mpm_id kept = {0, 0};
    mpm_walk w;
    mpm_budget budget = mpm_budget_of(&mine.heap);
    for (mpm_walk_begin(&w, &mine, mines.id, &budget); mpm_walk_next(&w);)
        kept = w.id;
    mpm_walk_end(&w);
    remove_like(&mine, mines, "1", "2");
    CHECK(count_shown(&mine, mines) == SERIES - 1, "one is gone at once");
    remove_like(&mine, mines, NULL, "0");
    CHECK(count_shown(&mine, mines) == 7, "and those with one value in common");
    remove_like(&mine, mines, "2", "7");
    CHECK(count_shown(&mine, mines) == 7, "none that isn't there");
    remove_like(&mine, mines, NULL, NULL);
    CHECK(count_shown(&mine, mines) == 0, "and all");
    mpm_ref ref = ref_of(&mine, mines, kept);
    CHECK(mpm_ref_is_stale(&ref), "who has one of them sees that");
    mpm_ref_close(&mine, &ref);
    let_go();
    const char *wrong = whole(&mine);
    CHECK(wrong == NULL, "the next owner tidies up: %s", wrong);
    CHECK(mpm_load_acquire(&mine.root->repairs) == 0, "and nobody had died");
    for (unsigned n = 0; n < SERIES; n++)
        CHECK(pair(&mine, mines, n).birth > kept.birth, "made anew");
    CHECK(mpm_load_acquire(&mine.root->records) == SERIES,
          "in the same records");
    free(mines.shape);
    mpm_store_close(&mine);
    close(fd);
}

/* ---- killed --------------------------------------------------------------- */

static void
format(int fd)
{
    NEED(mpm_store_format(fd, 1 << 20, 0) == MPM_OK);
    let_go(); /* of the file before */
    hold(fd);
}

/* It has waited before, so it does not now. */
static void
prepare(int fd)
{
    join(&mine, fd);
    NEED(mpm_shard_own(&mine) == MPM_OK); /* one that was left */
    mines = (family){shape_of(&pairs), {0, 0}};
    mpm_family *f = mpm_family_at(&mine, 0);
    NEED(f != NULL);
    mines.id.birth = mpm_load_acquire(&f->birth);
    mine.heap.gave_up = mpm_load_acquire(&mine.heap.header->lock);
}

static void
work(void)
{
    remove_like(&mine, mines, "1", "2");
    remove_like(&mine, mines, NULL, "1");
    remove_like(&mine, mines, NULL, NULL);
}

static void
repair(int fd)
{
    mpm_store s;
    join(&s, fd);
    if (mpm_lock_acquire(&s.heap) == MPM_OK)
        mpm_lock_release(&s.heap);
    mpm_store_close(&s);
}

/* Of a copy of the file the holder is dead; of the file itself it goes on. */
static const char *
look(int fd)
{
    mpm_store s, other, third;
    bool held = fd == held_fd;
    if (held)
        let_go();
    join(&s, fd);
    own_shard(&s);
    own_shard(join(&other, fd)); /* between them they have the patient's */
    own_shard(join(&third, fd));
    const char *wrong = whole(&s);
    mpm_store_close(&s);
    mpm_store_close(&other);
    mpm_store_close(&third);
    if (held)
        hold(fd);
    return wrong;
}

/* ---- beside an owner that goes on ------------------------------------------ */

typedef struct {
    int fd;
    _Atomic bool over;
    uint64_t owner; /* the lease that the remover never waits for */
} scene;

static void *
remove_until_over(void *context)
{
    scene *c = context;
    mpm_store s;
    join(&s, c->fd);
    family f = declare(&s, &pairs);
    while (!c->over) {
        s.heap.gave_up = c->owner;
        remove_like(&s, f, NULL, NULL);
    }
    free(f.shape);
    mpm_store_close(&s);
    return NULL;
}

/* Finds and makes what somebody removes all the while, mostly without it. */
static void
test_beside_an_owner(void)
{
    pthread_t remover;
    mpm_store s;
    scene c = {.fd = nameless_file()};
    NEED(mpm_store_format(c.fd, 1 << 20, 0) == MPM_OK);
    join(&s, c.fd);
    family f = declare(&s, &pairs);
    c.owner = mpm_load_relaxed(&s.heap.lease);
    NEED(pthread_create(&remover, NULL, remove_until_over, &c) == 0);
    uint64_t births[SERIES] = {0}, found = 0;
    for (unsigned n = 0, made = 0; made < ROUNDS; n = (n + 1) % SERIES) {
        mpm_id id = pair(&s, f, n);
        CHECK(id.birth >= births[n], "what is found or made has a birth");
        made += id.birth != births[n];
        found += id.birth == births[n];
        births[n] = id.birth;
    }
    c.over = true;
    NEED(pthread_join(remover, NULL) == 0);
    const char *wrong = whole(&s);
    CHECK(wrong == NULL, "and all of it is whole: %s", wrong);
    printf("%d made and %llu found\n", ROUNDS, (unsigned long long)found);
    free(f.shape);
    mpm_store_close(&s);
    close(c.fd);
}

/* ---- removed, and not yet announced --------------------------------------- */

static void
retire_and_die(void *context)
{
    mpm_store s;
    own_shard(join(&s, *(int *)context));
    family f = declare(&s, &pairs);
    mpm_id id = pair(&s, f, 0);
    mpm_exchange_seq_cst(&s.shard->hazard, id.birth);
    mpm_exchange_seq_cst(&mpm_series_at(&s, id.index)->birth, 0);
    kill(getpid(), SIGKILL);
}

/* Nobody has taken the dead one's shard over, so only its hazard word tells. */
static void
test_unannounced(void)
{
    int fd = nameless_file();
    mpm_store s;
    NEED(mpm_store_format(fd, 1 << 20, 0) == MPM_OK);
    CHECK(await(start(retire_and_die, &fd)) == -SIGKILL, "killed");
    const char *wrong = whole(join(&s, fd));
    CHECK(wrong == NULL, "a removal is no damage before it is said: %s", wrong);
    mpm_store_close(&s);
    close(fd);
}

int
main(int argc, char **argv)
{
    static const patient p = {format, prepare, work, repair, look};
    uint64_t seed = seed_of(argc, argv);
    bounded(110);
    test_stopped_holder();
    test_beside_an_owner();
    test_unannounced();
    kill_by_instruction(&p);
#ifdef MPM_CRASH_POINTS
    kill_by_name(&p, 10);
#endif
    kill_by_clock(&p, 60, &seed);
    return verdict();
}
