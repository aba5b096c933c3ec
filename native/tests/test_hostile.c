/* Hostile stores and heaps: whatever a file holds, and whatever another process
 * makes of it meanwhile, is an error at the worst.
 *
 *   corpus     inputs that once found something, each named for what it was
 *   at random  inputs of a printed seed; libFuzzer finds better ones (`make fuzz`)
 *   scribbled  a process uses a store in which another one writes all the time
 *   amplified  many records that name one block: a scrape of them has a bound
 *   long chain  and so has the search for a label set among them
 *
 * test_hostile SEED ROUNDS repeats the choices of a run, or makes it longer. */
#include <dirent.h>

#include "hostile.h"

#define ROUNDS (is_emulated() ? 500 : SANITIZED ? 2000 : 10000)

/* ---- past finds ---------------------------------------------------------- */

static void
meet_file(const char *path)
{
    uint8_t bytes[4096];
    FILE *f = fopen(path, "rb");
    NEED(f != NULL);
    size_t count = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    int before = failures;
    meet(bytes, count);
    CHECK(failures == before, "%s was mended", path);
}

static void
test_corpus(void)
{
    char folder[512], path[1024];
    int files = 0;
    snprintf(folder, sizeof folder, "%s", __FILE__);
    snprintf(strrchr(folder, '/') + 1, 16, "corpus");
    DIR *d = opendir(folder);
    NEED(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        meet_file(path);
        files++;
    }
    closedir(d);
    printf("%d past finds\n", files);
    CHECK(files > 0, "past finds are kept in %s", folder);
}

/* ---- at random ----------------------------------------------------------- */

static void
test_random(uint64_t *seed, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds && failures == 0; i++) {
        uint8_t bytes[64];
        size_t count = 2 + random_next(seed) % (sizeof bytes - 2);
        for (size_t k = 0; k < count; k++)
            bytes[k] = (uint8_t)(random_next(seed) >> 32);
        meet(bytes, count);
    }
}

/* ---- scribbled ----------------------------------------------------------- */

static void
use_for_a_while(void *context)
{
    bool bare = *(bool *)context;
    die_with_parent();
    bounded(60);
    for (int i = 0; i < 40 && failures == 0; i++) {
        put_image(bare ? &hostile.heap : &hostile.store);
        if (bare)
            open_heap(hostile.fd);
        else
            open_store(hostile.fd, (unsigned)i);
    }
}

static uint64_t
false_word(const image *of, uint64_t at, uint64_t *seed)
{
    const uint64_t *original = (const uint64_t *)(const void *)of->bytes;
    switch (random_next(seed) % 4) {
    case 0: return random_next(seed);
    case 1: return original[of->used[random_next(seed) % of->used_count]];
    case 2: return original[at] + random_next(seed) % 1024;
    default: return (uint64_t)1 << random_next(seed) % 64;
    }
}

/* False words in the file as long as the process lives, most for a moment only:
 * were all of them false at once, nobody would get beyond the first. */
static int
scribble_until(pid_t pid, const image *of, uint64_t *seed)
{
    uint64_t *words =
        mmap(NULL, of->size, PROT_READ | PROT_WRITE, MAP_SHARED, hostile.fd, 0);
    const uint64_t *original = (const uint64_t *)(const void *)of->bytes;
    NEED((void *)words != MAP_FAILED);
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        for (int i = 0; i < 1000; i++) {
            uint16_t at = of->used[random_next(seed) % of->used_count];
            mpm_word *word = (mpm_word *)(void *)&words[at];
            mpm_store_relaxed(word, false_word(of, at, seed));
            for (uint64_t spin = random_next(seed) % 256; spin > 0; spin--)
                mpm_load_relaxed(word);
            if (random_next(seed) % 16 != 0)
                mpm_store_relaxed(word, original[at]);
        }
    }
    munmap(words, of->size);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
test_scribbled(uint64_t *seed, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds && failures == 0; i++) {
        bool bare = i % 4 == 3;
        const image *of = bare ? &hostile.heap : &hostile.store;
        put_image(of);
        int status = scribble_until(start(use_for_a_while, &bare), of, seed);
        CHECK(status == 0, "who uses a store that changes under it lives: %d",
              status);
    }
}

/* ---- amplified ----------------------------------------------------------- */

#define SERIES 200u
#define BOUNDS 2000u

/* A family whose series all have one text, the longest there is. */
static void
share_text(mpm_store *s, family f)
{
    char value[20];
    uint64_t longest = 0;
    char *text = malloc(MPM_STEP);
    NEED(text != NULL);
    memset(text, 'x', MPM_STEP);
    text[MPM_STEP - 1] = '\0';
    longest = mpm_load_acquire(
        &mpm_series_at(s, series_named(s, f, text).index)->text);
    for (uint32_t i = 0; i < SERIES; i++) {
        snprintf(value, sizeof value, "%u", i);
        mpm_id id = series_named(s, f, value);
        mpm_store_release(&mpm_series_at(s, id.index)->text, longest);
    }
    free(text);
}

static void
test_amplified(void)
{
    mpm_store s;
    static double bounds[BOUNDS];
    for (uint32_t i = 0; i < BOUNDS; i++)
        bounds[i] = i;
    metric m = {.kind = MPM_HISTOGRAM,
                .name = "h",
                .labels = {"l"},
                .bounds = bounds,
                .bound_count = BOUNDS};
    int fd = new_store();
    join(&s, fd);
    family f = declare(&s, &m);
    share_text(&s, f);
    uint64_t file = mpm_load_acquire(&s.heap.header->size);
    mpm_buffer page = {0};
    double began = cpu_seconds();
    mpm_page how = {.format = MPM_TEXT_0_0_4};
    mpm_status status = mpm_render(&s, &f.id, 1, &how, &page);
    CHECK(status == MPM_EDAMAGED, "so much is damage: %s",
          mpm_status_text(status));
    CHECK(page.length < MPM_SCRAPE_FREE + (MPM_PAGE_TIMES + 4) * file,
          "and the page stays bounded: %zu bytes", page.length);
    printf("given up after %zu MB and %.1f CPU seconds, of a file of %llu kB\n",
           page.length >> 20, cpu_seconds() - began,
           (unsigned long long)file >> 10);
    mpm_buffer_free(&page);
    free(f.shape);
    mpm_store_close(&s);
    close(fd);
}

#define LONG ((uint32_t)1 << 20) /* bytes of a text */

/* Is the first of these series found, if so many of one long text stand before
 * it in the chain of its hash? */
static bool
is_found_behind(uint32_t count)
{
    mpm_store s;
    char name[20], *text = calloc(1, LONG);
    const metric m = {.kind = MPM_COUNTER, .name = "c", .labels = {"l"}};
    NEED(text != NULL);
    memset(text, 'x', LONG - 1);
    int fd = new_store();
    join(&s, fd);
    family f = declare(&s, &m);
    mpm_id wanted = series_named(&s, f, "wanted"), id;
    uint64_t hash = mpm_load_acquire(&mpm_series_at(&s, wanted.index)->hash);
    uint64_t block = mpm_load_acquire(
        &mpm_series_at(&s, series_named(&s, f, text).index)->text);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%u", i);
        mpm_series *series = mpm_series_at(&s, series_named(&s, f, name).index);
        mpm_store_release(&series->text, block);
        mpm_store_release(&series->hash, hash);
    }
    mpm_store_release(&s.root->untidy, 1); /* the chains are made anew */
    lock(&s);
    const mpm_string value = {"wanted", 6};
    mpm_status status = mpm_series_find(&s, f.id, f.shape, &value, &id);
    mpm_lock_release(&s.heap);
    free(text);
    free(f.shape);
    mpm_store_close(&s);
    close(fd);
    return status == MPM_OK && id.birth == wanted.birth;
}

/* labels() holds the lock while it looks, and so gives up some time. */
static void
test_long_chain(void)
{
    CHECK(is_found_behind(10), "a chain is walked to its end");
    CHECK(!is_found_behind(MPM_SCRAPE_FREE / LONG + 3 * MPM_SCRAPE_TIMES),
          "but no more is read than any whole store could make it");
}

int
main(int argc, char **argv)
{
    uint64_t seed = seed_of(argc, argv);
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : ROUNDS;
    bounded(280);
    hostile_begin();
    test_corpus();
    test_random(&seed, rounds);
    test_scribbled(&seed, 2 + rounds / 100);
    test_amplified();
    test_long_chain();
    return verdict();
}
