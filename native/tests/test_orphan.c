/* What a process inherited by fork from one that is dead: metrics of a registry
 * that nobody else names, which nothing but its own word keeps alive. */
#include "metric.h"

static const metric counter = {.kind = MPM_COUNTER, .name = "counter"};

/* As one of a private registry. */
static void
make_private(mpm_store *s, family f)
{
    mpm_store_release(&mpm_family_at(s, f.id.index)->flags, MPM_SHAPE_PRIVATE);
}

/* A dead parent's counter, in which it counted; what its child has of it. */
typedef struct {
    int fd;
    mpm_store other, child;
    family f;
    mpm_ref ref;
} scene;

static void
inherit(mpm_store *child, const family *families, uint64_t count)
{
    child->held = calloc(count, sizeof *child->held);
    NEED(child->held != NULL);
    child->held_size = child->held_count = count;
    for (uint64_t i = 0; i < count; i++)
        child->held[i] = families[i].id;
}

static void
set(scene *c)
{
    mpm_store parent;
    static const metric others = {.kind = MPM_COUNTER, .name = "others"};
    memset(c, 0, sizeof *c);
    c->fd = new_store();
    join(&parent, c->fd);
    join(&c->other, c->fd);
    join(&c->child, c->fd);
    free(declare(&c->other, &others).shape);
    c->f = declare(&parent, &counter);
    make_private(&parent, c->f);
    mpm_id series = series_of(&parent, c->f, NULL);
    mpm_ref ref = ref_of(&parent, c->f, series);
    NEED(mpm_ref_open(&parent, &ref, c->f.id, true) == MPM_OK);
    mpm_counter_add(ref.cell, 100);
    mpm_ref_close(&parent, &ref);
    c->ref = ref_of(&c->child, c->f, series);
    inherit(&c->child, &c->f, 1);
    mpm_store_close(&parent);
}

static void
clear(scene *c)
{
    mpm_ref_close(&c->child, &c->ref);
    mpm_store_close(&c->other);
    mpm_store_close(&c->child);
    free(c->f.shape);
    close(c->fd);
}

static void
sweep(scene *c)
{
    lock(&c->other);
    mpm_family_sweep(&c->other);
    mpm_lock_release(&c->other.heap);
}

/* Declares the child's family again, as who finds that it died does. */
static void
declare_again(scene *c)
{
    mpm_id before = c->f.id;
    free(c->f.shape);
    c->f = declare(&c->child, &counter);
    make_private(&c->child, c->f);
    mpm_family_release(&c->child, before);
    mpm_id series = series_of(&c->child, c->f, NULL);
    NEED(mpm_ref_bind(&c->child, &c->ref, series) == MPM_OK);
}

static void
test_goes_on(void)
{
    scene c;
    set(&c);
    CHECK(mpm_ref_open(&c.child, &c.ref, c.f.id, false) == MPM_OK, "shared");
    mpm_counter_add(c.ref.cell, 1);
    sweep(&c);
    CHECK(mpm_family_is_alive(&c.child, c.f.id), "the child has said so");
    CHECK(read_series(&c.child, c.f, c.ref.series).value == 101, "both count");
    clear(&c);
}

/* ---- what happens while the child waits for the lock ---------------------- */

static scene *waiting;
static bool another_thread; /* declares it again meanwhile */

static void
sweep_meanwhile(uint64_t nanoseconds)
{
    (void)nanoseconds;
    scene *c = waiting;
    waiting = NULL;
    if (c == NULL)
        return;
    mpm_family_sweep(&c->other);
    mpm_lock_release(&c->other.heap);
    if (another_thread) {
        declare_again(c);
        NEED(mpm_ref_open(&c->child, &c->ref, c->f.id, false) == MPM_OK);
        mpm_counter_add(c->ref.cell, 1);
    }
}

static mpm_status
open_while_swept(scene *c)
{
    set(c);
    lock(&c->other);
    waiting = c;
    c->child.heap.wait = sweep_meanwhile;
    mpm_status status = mpm_ref_open(&c->child, &c->ref, c->f.id, false);
    c->child.heap.wait = mpm_sys_sleep;
    return status;
}

/* What it counts then is kept, and not scratch for good. */
static void
test_swept_meanwhile(void)
{
    scene c;
    another_thread = false;
    CHECK(open_while_swept(&c) == MPM_EGONE, "its family is dead");
    mpm_counter_add(c.ref.cell, 1);
    CHECK(mpm_family_is_held(&c.child, c.f.id), "though it still holds it");
    declare_again(&c);
    CHECK(mpm_ref_open(&c.child, &c.ref, c.f.id, true) == MPM_OK, "shared");
    CHECK(read_series(&c.child, c.f, c.ref.series).value == 1, "poured in");
    clear(&c);
}

/* The note of the new family isn't overwritten with the dead one's. */
static void
test_declared_meanwhile(void)
{
    scene c;
    another_thread = true;
    CHECK(open_while_swept(&c) == MPM_OK, "the other thread has opened it");
    mpm_counter_add(c.ref.cell, 1);
    sweep(&c);
    CHECK(mpm_family_is_alive(&c.child, c.f.id), "the child declares it");
    CHECK(read_series(&c.child, c.f, c.ref.series).value == 2, "both count");
    clear(&c);
}

/* ---- a full store ---------------------------------------------------------- */

#define MANY 40u /* more than one chunk of notes */

static void
fill(mpm_store *s)
{
    mpm_off block;
    bool fresh;
    lock(s);
    for (uint64_t bytes = MPM_STEP; bytes >= MPM_LINE; bytes /= 2)
        while (mpm_heap_take(&s->heap, bytes, NULL, true, &block, &fresh) ==
               MPM_OK)
            mpm_heap_settle(&s->heap);
    mpm_lock_release(&s->heap);
}

/* Where not all can be noted nothing is swept: it might be one's own. */
static void
test_no_room_for_notes(void)
{
    mpm_store small, parent, child;
    metric m = counter;
    family f[MANY];
    char name[8];
    int fd = nameless_file();
    NEED(mpm_store_format(fd, 4 * MPM_STEP, 0) == MPM_OK);
    join(&small, fd);
    join(&parent, fd);
    join(&child, fd);
    free(declare(&small, &counter).shape); /* a shard with few notes */
    m.name = name;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "c%u", i);
        f[i] = declare(&parent, &m);
        make_private(&parent, f[i]);
    }
    inherit(&child, f, MANY);
    fill(&parent);
    mpm_store_close(&small);
    mpm_store_close(&parent);
    CHECK(mpm_shard_own(&child) == MPM_OK, "the dead one's shard");
    CHECK(child.undeclared, "has no room for all notes");
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK(mpm_family_is_alive(&child, f[i].id), "but %u is alive", i);
        free(f[i].shape);
    }
    mpm_store_close(&child);
    close(fd);
}

int
main(void)
{
    bounded(100);
    test_goes_on();
    test_swept_meanwhile();
    test_declared_meanwhile();
    test_no_room_for_notes();
    return verdict();
}
