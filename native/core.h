/* core.h: the map of the core.  Every struct in shared memory with its
 * invariants, every function that crosses a file with who may call it.
 *
 * Layers, each using only those above it:
 *   sys      files, mappings, locks on bytes, clocks: all that is Linux (sys.h)
 *   lease    who is alive, the epoch, the store's lock
 *   heap     blocks in one growing file; their journal and its repair
 *   table    arrays that grow and never move
 *   shard    one word space per living process
 *   catalog  families and series; their rebuilding; their index (index.h)
 *   cell     the commit protocols: counter, flip cell, histogram, shared
 *   ref      a series as one process updates it: the hot path and its misses
 *   scrape.h, what only looks:
 *   read     one series over all shards
 *   text     rendering a scrape;  float: shortest digits of a double
 * Beside them, over lease and heap: what users put into heaps (users.h)
 *
 * Who may call, in a tag on each prototype:
 *   [any process]    at any time; nothing is held or changed but what is said
 *   [lock held]      between mpm_lock_acquire and mpm_lock_release
 *   [owner]          the process whose lease owns the shard
 *   [creator, once]  while nobody else can know the memory
 *   [pure]           touches no shared memory at all
 * Within one process calls are serialised by the caller (CPython's GIL);
 * scraping functions alone may run beside everything else. */
#ifndef MPM_CORE_H
#define MPM_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "atomic.h"
#include "faults.h"

/* ---- status ------------------------------------------------------------ */

typedef enum {
    MPM_OK = 0,
    MPM_DIED,     /* lock held, and its last owner died in it: repair */
    MPM_BUSY,     /* a living process holds the lock */
    MPM_EMEMORY,  /* the reserve, the file system or a limit is exhausted */
    MPM_ELAYOUT,  /* not a store, or of another layout or byte order */
    MPM_EDAMAGED, /* an offset or a length that can't be true */
    MPM_EGONE,    /* the file can't be opened again, or was born anew */
    MPM_EFULL,    /* the family has as many series as it may have */
    MPM_ESYSTEM,  /* a system call failed; errno says why */
    MPM_EPRIVATE, /* the process's own memory is exhausted */
    MPM_STATUSES
} mpm_status;

/* [pure] In words, for people. */
const char *mpm_status_text(mpm_status status);

#include "sys.h" /* needs the status */

/* ---- sizes --------------------------------------------------------------- */

#define MPM_MAGIC 0x315352545345504dULL /* "MPESTRS1" in the file */
#define MPM_LAYOUT 1u
#define MPM_BYTE_ORDER 0x01020304u

#define MPM_LINE 64u         /* unit of blocks, and their alignment */
#define MPM_STEP 65536u      /* the file grows by multiples of this */
#define MPM_SPARE 16384u     /* kept back for a new process's first chunk */
#define MPM_CLASSES 136u     /* 64 bytes to 2^41, four to a doubling */
#define MPM_TAKES 4u         /* blocks that one operation may take */
#define MPM_TABLE_CHUNKS 24u /* doublings of a table */
#define MPM_FIRST_CHUNK 512u /* words: 4 KiB */
#define MPM_CHUNK 8192u      /* words: 64 KiB */
#define MPM_SERIES_HEADS 65u /* free series by words; the last: any more */
#define MPM_TEXT_LIMIT (1u << 24) /* bytes of one series' label text */
#define MPM_SHAPE_LIMIT (1u << 24)
#define MPM_EXEMPLAR_SIZES 2u   /* of slots: for most texts, for all */
#define MPM_EXEMPLAR_TEXT 1024u /* bytes: 128 code points and lengths */
#define MPM_RETRY 1000000000ULL /* ns between tries to share something */
#define MPM_PASSES 4096         /* of a reader over one moving cell */

/* Bytes of the file that are only ever locked, never written. */
#define MPM_BYTE_ATTACHED ((uint64_t)1 << 61)
#define MPM_BYTE_LEASES ((uint64_t)1 << 62) /* + the lease's number */

/* Offset from the start of the mapping, 0 is none.  Each process maps the
 * store at its own address, so a pointer stored here is a bug. */
typedef struct {
    uint64_t raw;
} mpm_off;

/* ---- the heap ------------------------------------------------------------ */

/* One line of the journal: a block that is in neither list while it is taken
 * or given back.  `block` is stored last and cleared first, so that it names a
 * whole line.  The two others are only read when it isn't 0. */
typedef struct {
    mpm_word block;
    mpm_word where; /* offset of the word that links the block; 0: a user's */
    mpm_word cls;   /* of the block, see mpm_class_of */
} mpm_journal;

/* The first bytes of the file.
 *   header <= top.lines * MPM_LINE <= size <= reserve
 *   every block below top is in exactly one place: linked from a live
 *   structure, in a user's hands, or in the free list of its class
 *   used_bytes == top - header - sum of the free blocks' sizes (derived)
 *   used_blocks == top.blocks - number of free blocks (derived) */
typedef struct {
    uint64_t magic; /* MPM_MAGIC; a path names the file once it is whole */
    uint32_t layout;
    uint32_t byte_order;
    uint64_t reserve;     /* bytes that every process maps */
    uint64_t identity[2]; /* random: tells two files of one path apart */
    uint64_t key[2];      /* of the hash index */
    uint64_t born_ns;     /* CLOCK_REALTIME; like pid: for people only */
    uint64_t pid;
    mpm_word size;   /* bytes that the file system has given */
    mpm_word top;    /* blocks cut << 32 | lines given out: one store */
    mpm_word leases; /* the last number given */
    mpm_word lock;   /* lease of the owner; 0: free */
    mpm_word root;   /* block of the store's header, 0: a bare heap */
    mpm_word used_bytes;
    mpm_word used_blocks;
    mpm_word wants; /* 1 while growth is refused: for statistics */
    mpm_journal take[MPM_TAKES];
    mpm_journal give;
    mpm_word free[MPM_CLASSES];
} mpm_header;

_Static_assert(offsetof(mpm_header, size) == 72,
               "layout changed: bump MPM_LAYOUT");
_Static_assert(sizeof(mpm_header) == 1344, "layout changed: bump MPM_LAYOUT");

/* What a process knows of a heap.  Process-local, never shared. */
typedef struct mpm_heap {
    mpm_header *header; /* the mapping; reads beyond `known` would be SIGBUS */
    uint64_t reserve;   /* bytes mapped; the header's word isn't asked again */
    mpm_word known;     /* bytes of the file seen to be there; scrapes read it
                           beside updates, a stale value costs one look */
    mpm_int fd; /* -1: lost.  Compared with device and inode before use; scrapes
                   read it beside an update that opens the file again */
    uint64_t device, inode; /* 0: there is no file, and so nobody's death is
                               seen */
    char *path;             /* NULL: a memfd */
    bool read_only;

    mpm_word epoch;   /* for which the rest of this struct holds */
    mpm_word lease;   /* 0: none yet */
    void *pin;        /* the page that keeps the lease's lock */
    bool inside;      /* this process holds the lock right now */
    uint64_t gave_up; /* the lock word that was waited for in vain */
    unsigned takes;   /* lines of the take journal in use */

    void *attached; /* the page that keeps the attached lock; also a child's */

    /* Called while waiting for the lock, with nothing held: sleeps that long.
     * The extension lets other threads run meanwhile. */
    void (*wait)(uint64_t nanoseconds);
    /* Called by mpm_lock_acquire, of the last owner's death after the journal
     * is repaired. */
    mpm_status (*rebuild)(struct mpm_heap *h, bool died);
    struct mpm_store *store; /* NULL: a bare heap */
} mpm_heap;

/* [any process] The descriptor, if it is still that file's; else -1. */
int mpm_heap_fd(const mpm_heap *h);
/* [any process] Is this range inside what the file is known to have? */
bool mpm_heap_has(mpm_heap *h, uint64_t offset, uint64_t bytes);
/* [any process] So many things of that size, but no more than the file has
 * room for: what counts them may be damaged. */
uint64_t mpm_heap_most(mpm_heap *h, uint64_t count, uint64_t bytes);
/* [any process] Address of a range, NULL if it isn't all there, isn't aligned
 * to words, or lies in the header.  The only way from offset to pointer. */
void *mpm_at(mpm_heap *h, mpm_off offset, uint64_t bytes);
/* [pure] The offset of an address inside the mapping. */
mpm_off mpm_offset(const mpm_heap *h, const void *address);

/* [creator, once] Lays out an empty heap in a file of this process's own. */
mpm_status mpm_heap_format(int fd, uint64_t reserve);
/* [any process] Maps a heap; keeps a descriptor of its own, duplicates `path`. */
mpm_status mpm_heap_open(mpm_heap *h, int fd, const char *path, bool read_only);
/* [creator, once] An empty heap without a file, where none may have a byte
 * (RLIMIT_FSIZE): pages that this process shares with its forks.  `fd`, an empty
 * file of their own, is for the locks alone; -1: there is none to be had, so
 * that nobody is known to be dead. */
mpm_status mpm_heap_open_fileless(mpm_heap *h, int fd, uint64_t reserve);
/* [any process] Had it a name, and has its file none any more? */
bool mpm_heap_is_nameless(const mpm_heap *h);
/* [any process] Unmaps; leases and pins of this process go with it. */
void mpm_heap_close(mpm_heap *h);

/* [pure] The class of a size, and the size of its blocks. */
unsigned mpm_class_of(uint64_t bytes);
uint64_t mpm_class_size(unsigned cls);
/* [lock held] Takes a block of at least `bytes`, named in the journal until
 * mpm_heap_settle; the caller links it by storing its offset in *where (an
 * address in the mapping, NULL: a user's).  `spare` may use the bytes kept
 * back.  *fresh: never used, so all zeros. */
mpm_status mpm_heap_take(mpm_heap *h, uint64_t bytes, const mpm_word *where,
                         bool spare, mpm_off *block, bool *fresh);
/* [lock held] Ends an operation that took blocks, well or badly: those that
 * are linked stay, those that are not go back. */
void mpm_heap_settle(mpm_heap *h);
/* [lock held] Unlinks the block that *where names and gives it back. */
mpm_status mpm_heap_give(mpm_heap *h, mpm_word *where, uint64_t bytes);
/* [lock held] Gives a user's block back. */
mpm_status mpm_heap_give_user(mpm_heap *h, mpm_off block, uint64_t bytes);
/* [lock held] Finishes or undoes what a dead owner of the lock had begun. */
mpm_status mpm_heap_repair(mpm_heap *h);
/* [lock held] Every invariant above, walking the lists. */
bool mpm_heap_is_valid(mpm_heap *h);

/* ---- leases, epoch, lock ------------------------------------------------- */

/* The epoch's word: 0 in a child that has not noticed yet that it is one.
 * Read on every update; written only by mpm_epoch. */
extern const uint64_t *mpm_epoch_word;

/* [any process, once] Makes the epoch's word; before anything else here. */
mpm_status mpm_epoch_start(void);
/* [any process] The number of this process's epoch, after a fork a new one. */
uint64_t mpm_epoch(void);
/* [any process] Forgets what a fork made untrue. */
void mpm_heap_enter(mpm_heap *h);
/* [any process] Takes this process's lease, once; h->lease is it. */
mpm_status mpm_lease_take(mpm_heap *h);
/* [any process] Gives the lease back, as the end of the process would. */
void mpm_lease_drop(mpm_heap *h);
/* [any process] Is the process with this lease alive?  If it can't be told,
 * yes: the dead may wait, the living must not be robbed. */
bool mpm_lease_is_alive(mpm_heap *h, uint64_t lease);

/* [any process] MPM_OK: held, and everything behind it is whole: what a dead
 * owner left is repaired first.  MPM_BUSY after 50 ms at the most, and at once
 * while the owner is the one that was waited for in vain. */
mpm_status mpm_lock_acquire(mpm_heap *h);
/* [lock held] */
void mpm_lock_release(mpm_heap *h);

/* [any process] Marks the heap as used by this process and its children. */
mpm_status mpm_attach(mpm_heap *h);
/* [any process] Takes this process's mark back. */
void mpm_detach(mpm_heap *h);
/* [any process] Refuses new marks through this description until it is closed;
 * false: somebody has one.  Only then may a path be unlinked or replaced. */
mpm_status mpm_claim(int fd, bool *claimed);
/* [any process] Does anybody have the mark of the heap in this file, this
 * process included?  Any description of it will do.  If it can't be told, yes. */
bool mpm_is_attached(int fd);

/* ---- tables -------------------------------------------------------------- */

/* An array that grows by chunks of doubling size and never moves: chunk k
 * holds first << k entries.  A chunk is zeros before it is linked. */
typedef struct {
    mpm_word chunk[MPM_TABLE_CHUNKS];
} mpm_table;

/* Size of an entry in bytes, and how many the first chunk has. */
typedef struct {
    uint32_t entry, first;
} mpm_table_kind;

/* [any process] Address of an entry; NULL if there is none or it can't be. */
void *mpm_table_at(mpm_heap *h, mpm_table *t, mpm_table_kind kind,
                   uint64_t index);
/* [lock held] The same, making the chunks that are missing. */
mpm_status mpm_table_reach(mpm_heap *h, mpm_table *t, mpm_table_kind kind,
                           uint64_t index, bool spare, void *entry);
uint64_t mpm_table_bytes(mpm_table_kind kind, unsigned chunk); /* [pure] */
/* [lock held] Gives every chunk back. */
void mpm_table_clear(mpm_heap *h, mpm_table *t, mpm_table_kind kind);

/* ---- shards -------------------------------------------------------------- */

#define MPM_SHARED UINT64_MAX /* owner of shard 0: everyone */

/* One copy of the word space.  Only the owner writes in its chunks, and in
 * everything here but `owner`, which the next owner takes by compare and swap
 * once the lease is dead. */
typedef struct {
    mpm_word owner;  /* lease; MPM_SHARED for shard 0 */
    mpm_word hazard; /* birth that the owner is writing in the shared shard, or
                        removing without the lock */
    mpm_word pid;    /* of the owner, and its start: for people */
    mpm_word since_ns;
    mpm_table chunks;   /* offset of each chunk of words; 0: never touched */
    mpm_table declared; /* by family index: birth of the family it declared */
} mpm_shard;

/* ---- the catalog --------------------------------------------------------- */

typedef enum {
    MPM_COUNTER = 1,
    MPM_GAUGE, /* without a mode: in the shared shard, the last writer wins */
    MPM_SUMMARY,
    MPM_HISTOGRAM,
    MPM_INFO,
    MPM_ENUM,
    MPM_GAUGE_MODE, /* a flip cell per process, folded by mpm_mode */
    MPM_KINDS
} mpm_kind;

/* prometheus_client's multiprocess modes; with MPM_MODE_LIVE only the living
 * count. */
typedef enum {
    MPM_MODE_NONE = 0,
    MPM_MODE_ALL,
    MPM_MODE_MIN,
    MPM_MODE_MAX,
    MPM_MODE_SUM,
    MPM_MODE_MOSTRECENT,
    MPM_MODE_LIVE = 16
} mpm_mode;

/* One family.  Birth is its commit: every other word is stored before it.
 *   0 <= series <= slots; series and free_slot are derived */
typedef struct {
    mpm_word birth;    /* 0: none.  Never used twice, and never a series' */
    mpm_word name;     /* hash of registry and name */
    mpm_word declared; /* a number that grows with each declaration */
    mpm_word shape;    /* block: mpm_shape, never changed */
    mpm_word help;     /* block: mpm_help, replaced by the newest declaration */
    mpm_word version;  /* grows before a replaced help is given back */
    mpm_word slots;    /* entries of `slot` ever used */
    mpm_word series;   /* live ones (derived) */
    mpm_word free_slot; /* first free entry + 1, chained (derived) */
    mpm_word dropped;   /* label sets that found no room */
    mpm_word was;       /* block: the help that is being replaced */
    mpm_word flags;     /* of its shape: MPM_SHAPE_* */
    mpm_table slot;     /* series index + 1, or MPM_SLOT_FREE | next + 1 */
} mpm_family;

#define MPM_SLOT_FREE ((uint64_t)1 << 63)

/* One series.
 *   live  <=>  birth != 0 and the entry `slot` of the family with birth
 *   `family` names this record.  Everything else about who is live is derived
 *   A record owns its words for ever, live or not. */
typedef struct {
    mpm_word birth;   /* 0: none; else never used twice */
    mpm_word family;  /* birth of its family */
    mpm_word owner;   /* index of its family */
    mpm_word first;   /* birth of the first of those that stood in this slot
                        under these label values (Info replaces its series) */
    mpm_word words;   /* chunk << 32 | first word */
    mpm_word place;   /* number of words << 32 | slot */
    mpm_word created; /* seconds since 1970, a double's bits */
    mpm_word text;    /* block: mpm_label_text */
    mpm_word hash;    /* of family and label values */
    mpm_word next;    /* series index + 1 in the chain of its hash, or of the
                         free ones (derived) */
    mpm_word exemplars[MPM_EXEMPLAR_SIZES]; /* words + 1 of its exemplars, its
                         own for ever, too; 0: it was never given any */
} mpm_series;

/* What a series' text block holds, before the bytes themselves: the values one
 * after the other, then the pairs as a scrape shows them, without braces. */
typedef struct {
    uint32_t bytes;  /* of the whole block's content */
    uint32_t values; /* number of label values */
    uint32_t split;  /* where `le` goes in the pairs: bytes before it */
    uint32_t pairs;  /* bytes of the pairs */
    uint32_t info;   /* Info: number of its own pairs, names and values
                         alternating after the label values */
    uint32_t unused;
    /* uint32_t length[values + 2 * info]; then the bytes */
} mpm_label_text;

/* What a family's shape block holds, before the strings: registry, name, then
 * the label names or, for Enum, label names and states; and the bounds. */
typedef struct {
    uint32_t bytes; /* of the whole block's content */
    uint32_t kind;
    uint32_t mode;
    uint32_t labels; /* number of label names */
    uint32_t states; /* number of states (Enum) */
    uint32_t bounds; /* number of upper bounds, +Inf included (Histogram) */
    uint32_t unused;
    uint32_t flags; /* MPM_SHAPE_* */
    /* double bound[bounds]; uint32_t length[2 + labels + states]; bytes */
} mpm_shape;

#define MPM_SHAPE_PRIVATE 1u /* of a registry without a name */
#define MPM_SHAPE_PLAIN 2u   /* names are of the legacy character set */

/* The help block: the documentation's bytes, then the unit's. */
typedef struct {
    uint32_t bytes;
    uint32_t help;
    uint32_t unit;
    uint32_t unused;
} mpm_help;

/* The block that header.root names. */
typedef struct {
    mpm_word births;   /* the last given to family, series, declaration */
    mpm_word families; /* records ever used */
    mpm_word records;  /* series records ever used */
    mpm_word shard_count;
    mpm_word word_chunks;  /* chunks of the word space */
    mpm_word word_chunk;   /* the chunk that is being filled (derived) */
    mpm_word word_next;    /* its first free word (derived) */
    mpm_word live;         /* series (derived) */
    mpm_word buckets;      /* of the hash index (derived) */
    mpm_word declarations; /* changes whenever a family is declared or goes */
    mpm_word max_series;   /* a family may have; 0: any number */
    mpm_word unsettled;    /* reads that gave up on settling */
    mpm_word dropped;      /* label sets that found no room, all told */
    mpm_word lost;         /* refs closed while they counted privately */
    mpm_word repairs;      /* how often a dead owner's work was mended */
    mpm_word untidy;       /* 1: series were removed without the lock, so that
                              what is derived isn't true */
    mpm_word free_series[MPM_SERIES_HEADS]; /* by words (derived) */
    mpm_table family;                       /* mpm_family */
    mpm_table record;                       /* mpm_series */
    mpm_table shard;                        /* offset of an mpm_shard */
    mpm_table word_size; /* words of each chunk of the word space */
    mpm_table bucket;    /* hash index: series index + 1 (derived) */
} mpm_root;

_Static_assert(sizeof(mpm_shard) == 416 && sizeof(mpm_family) == 288 &&
                   sizeof(mpm_series) == 96 && sizeof(mpm_root) == 1608,
               "layout changed: bump MPM_LAYOUT");

extern const mpm_table_kind MPM_FAMILIES, MPM_RECORDS, MPM_OFFSETS,
    MPM_DECLARED, MPM_BUCKETS;

/* A family or a series as one process holds it: index and birth. */
typedef struct {
    uint64_t index, birth; /* birth 0: none */
} mpm_id;

/* What a process knows of a store.  Process-local. */
typedef struct mpm_store {
    mpm_heap heap;
    mpm_root *root;
    mpm_shard *shard;      /* this process's own; NULL: none yet */
    uint64_t epoch;        /* for which `shard` and `refs` hold */
    struct mpm_ref **refs; /* by series index: who writes its words here */
    uint64_t refs_size;
    mpm_id *held; /* families that this process, or the one that it was forked
                     from, has declared and not let go; also dead ones */
    uint64_t held_count, held_size;
    bool undeclared;   /* `shard` doesn't note all of them yet */
    bool unswept;      /* some that only the dead had declared may be left */
    uint64_t retry_ns; /* no private cell is tried again before that */
    uint64_t retry_exemplar_ns; /* the same of words for exemplars */
} mpm_store;

/* [creator, once] Lays out an empty store in a file of one's own. */
mpm_status mpm_store_format(int fd, uint64_t reserve, uint64_t max_series);
/* [creator, once] An empty store without a file, as mpm_heap_open_fileless. */
mpm_status mpm_store_open_fileless(mpm_store *s, int fd, uint64_t reserve,
                                   uint64_t max_series);
/* [any process] Maps the heap, finds its root and checks it. */
mpm_status mpm_store_open(mpm_store *s, int fd, const char *path,
                          bool read_only);
/* [any process] Forgets what a fork made untrue, heap included. */
void mpm_store_enter(mpm_store *s);
/* [any process] Frees what the process knows; the heap is closed too. */
void mpm_store_close(mpm_store *s);

/* [lock held] NULL, or the first invariant stated here that is broken.
 * *unreached: blocks that nothing links: users', or lost. */
const char *mpm_store_check(mpm_store *s, uint64_t *unreached);

/* [any process] Makes sure of a lease and a shard. */
mpm_status mpm_shard_own(mpm_store *s);
/* [any process] How many shards there are, the shared one included. */
uint64_t mpm_shard_count(mpm_store *s);
/* [any process] The shard of that index, NULL if there is none. */
mpm_shard *mpm_shard_at(mpm_store *s, uint64_t index);
/* [any process] Words of a chunk of the word space; 0: there is none. */
uint64_t mpm_shard_chunk_words(mpm_store *s, uint64_t chunk);
/* [any process] So many words of a chunk, and a cell's words, in a shard; NULL
 * if never touched there. */
mpm_word *mpm_shard_chunk(mpm_store *s, mpm_shard *shard, uint64_t chunk,
                          uint64_t count);
mpm_word *mpm_shard_cell(mpm_store *s, mpm_shard *shard, uint64_t words,
                         uint64_t count);
/* [lock held] The same, making the chunk if it is missing. */
mpm_status mpm_shard_reach(mpm_store *s, mpm_shard *shard, uint64_t words,
                           uint64_t count, mpm_word **cell);
/* [lock held] Adds a shard with that owner. */
mpm_status mpm_shard_append(mpm_store *s, uint64_t owner);
/* [lock held] Notes that this process declares the family; it owns a shard. */
mpm_status mpm_shard_declare(mpm_store *s, mpm_id family);
/* [pure] Has this process, or one that it was forked from, declared the family
 * and not let it go?  It may be dead. */
bool mpm_family_is_held(const mpm_store *s, mpm_id family);
/* [any process] Does a living process write under that birth right now? */
bool mpm_shard_is_hazardous(mpm_store *s, uint64_t birth);
/* [any process] Has a living process declared this family? */
bool mpm_shard_is_declared(mpm_store *s, uint64_t family, uint64_t birth);
/* [any process] The shard of a living process, other than this one, that has
 * declared it; NULL: there is none. */
mpm_shard *mpm_shard_declarer(mpm_store *s, mpm_id family);

/* [any process] How many family records there are, dead ones included. */
uint64_t mpm_family_count(mpm_store *s);
/* [any process] Is it still that family? */
bool mpm_family_is_alive(mpm_store *s, mpm_id id);
/* [any process] The record, NULL if it isn't there (not: if it is dead). */
mpm_family *mpm_family_at(mpm_store *s, uint64_t index);
mpm_series *mpm_series_at(mpm_store *s, uint64_t index);
/* [any process] No chain of records is longer; a longer one is a ring. */
uint64_t mpm_series_bound(mpm_store *s);

/* [lock held] Finds or makes the family of this shape, notes the declaration
 * and replaces the help.  `again`: this process had declared it and let it go,
 * so that it starts anew if no other living process has declared it. */
mpm_status mpm_family_declare(mpm_store *s, const mpm_shape *shape,
                              const mpm_help *help, bool again, mpm_id *id);
/* [lock held] Removes a family and all its series; nothing if it is dead. */
void mpm_family_remove(mpm_store *s, mpm_id id);
/* [lock held] Removes a family unless a living process has declared it. */
void mpm_family_forget(mpm_store *s, mpm_id id);
/* [any process] This process has let the family go. */
void mpm_family_release(mpm_store *s, mpm_id id);
/* [lock held] Forgets the private families that only the dead had declared. */
void mpm_family_sweep(mpm_store *s);
/* [lock held] What a kill left of a family that is dead, or half replaced. */
void mpm_family_mend(mpm_store *s, mpm_family *f);
/* [any process] A number that was never given before: to a family, a series,
 * a declaration. */
uint64_t mpm_birth_next(mpm_store *s);
/* [lock held] Takes a block for these bytes and links it; the caller settles. */
mpm_status mpm_block_make(mpm_store *s, mpm_word *link, const void *content,
                          uint32_t bytes);
/* [lock held] Gives such a block back; nothing if there is none. */
void mpm_block_drop(mpm_store *s, mpm_word *link);
/* [any process] Copies shape and help into memory of the caller's own, to be
 * freed by it.  MPM_EGONE if the family is dead. */
mpm_status mpm_family_copy(mpm_store *s, mpm_id id, mpm_shape **shape,
                           mpm_help **help);

/* [pure] Are all lengths of a copied block inside it? */
bool mpm_shape_is_valid(const mpm_shape *shape, uint64_t bytes);
bool mpm_help_is_valid(const mpm_help *help, uint64_t bytes);
/* A string with its length; not terminated. */
typedef struct {
    const char *bytes;
    uint32_t length;
} mpm_string;

/* The strings of a block one after the other. */
typedef struct {
    const uint32_t *length;
    const char *bytes;
} mpm_strings;
/* [pure] The next one; there must be one. */
mpm_string mpm_strings_next(mpm_strings *at);

/* [pure] The parts of a valid shape; its strings: registry, name, labels,
 * states. */
const double *mpm_shape_bounds(const mpm_shape *shape);
mpm_strings mpm_shape_strings(const mpm_shape *shape);
mpm_string mpm_shape_name(const mpm_shape *shape);
/* [pure] Words of one cell of this shape. */
uint32_t mpm_shape_words(const mpm_shape *shape);

/* Every label value of the series that takes what a full family can't. */
#define MPM_OVERFLOW "__overflow__"

/* [pure] The text block of a series, to be freed; NULL: no memory. */
mpm_label_text *mpm_text_make(const mpm_shape *shape, const mpm_string *values,
                              const mpm_string *info, uint32_t pairs);
/* [lock held] Cuts a range off the word space; who records it owns it. */
mpm_status mpm_words_cut(mpm_store *s, uint32_t count, uint64_t *words);
/* [lock held] Finds the series with these label values; birth 0: none. */
mpm_status mpm_series_find(mpm_store *s, mpm_id family, const mpm_shape *shape,
                           const mpm_string *values, mpm_id *id);
/* [lock held] Finds the series with these label values, or makes it. */
mpm_status mpm_series_get(mpm_store *s, mpm_id family, const mpm_shape *shape,
                          const mpm_string *values, mpm_id *id);
/* [lock held] Puts a series with these pairs in the place of the old one. */
mpm_status mpm_series_replace(mpm_store *s, mpm_id family,
                              const mpm_shape *shape, const mpm_string *values,
                              const mpm_string *info, uint32_t pairs,
                              mpm_id *id);
/* [lock held] Removes a series; nothing if it is already gone. */
mpm_status mpm_series_remove(mpm_store *s, mpm_id id);
/* [any process] Removes every series of a family with these label values, NULL
 * bytes: any value.  It waits for nobody: what the lock can't be had for is
 * tidied up by the next who has it. */
void mpm_series_remove_like(mpm_store *s, mpm_id family,
                            const mpm_string *values, uint32_t count);
/* [lock held] Lets a counter show zero from now on: its base, in the shared
 * shard, is what readers subtract, and only moves up. */
mpm_status mpm_series_reset(mpm_store *s, const mpm_shape *shape, mpm_id id);
/* [lock held] Frees what a record that isn't live still has, and chains it. */
void mpm_series_mend(mpm_store *s, mpm_series *series, uint64_t index);
/* [lock held] Makes every derived word anew from the records: after a death
 * inside the lock, or if they are untidy. */
mpm_status mpm_catalog_rebuild(mpm_heap *h, bool died);

/* ---- cells --------------------------------------------------------------- */

/* Words of a cell, by kind.  The first is the birth of the series that it
 * counts for; a cell with another birth counts nothing.
 *
 *   counter    [birth][value]
 *   flip cell  [birth][n][slot 0][slot 1]     slot n & 1 is the truth, the
 *              other scratch; the store of n + 1 is the commit.  A summary's
 *              slot is (count, sum), a gauge mode's (lease, value, time, left)
 *   histogram  [birth][hint][sum 0][sum 1][bucket 0 .. k]
 *              n == sum of the buckets, never stored; sum n & 1 is of those n
 *              observations, the other is scratch; hint == n, or n - 1 if the
 *              writer was killed between its last two stores
 *   gauge      [birth][value]   shared shard, atomic
 *   enum       [birth][state]   shared shard, atomic
 *
 * All of it is stored release and loaded acquire, scratch included. */
#define MPM_COUNTER_WORDS 2u
#define MPM_SUMMARY_WORDS 6u
#define MPM_MODE_WORDS 10u
#define MPM_HISTOGRAM_WORDS(bounds) (4u + (bounds))

/* What one series shows, added up over the shards. */
typedef struct {
    double value;   /* counter, gauge; sum of summary and histogram */
    uint64_t count; /* summary */
    uint64_t state; /* enum */
    bool written;   /* gauge modes: somebody has written */
    double time;    /* mode mostrecent: when the value was set */
    /* Histogram: added up, not cumulative, and one shard's; of the reader's. */
    uint64_t *buckets, *scratch;
    struct mpm_columns *columns; /* of a scrape; NULL: each cell looked up */
    struct mpm_budget *budget;   /* likewise; NULL: none */
} mpm_reading;

/* One process's part of a gauge with mode all or liveall. */
typedef struct {
    uint64_t lease, pid;
    double value, time;
    double left; /* by dead owners; NaN: nothing */
    bool written;
} mpm_part;

/* [owner] */
void mpm_counter_add(mpm_word *cell, double x);
void mpm_summary_add(mpm_word *cell, double count, double sum);
void mpm_histogram_observe(mpm_word *cell, const double *bounds, uint32_t count,
                           double x);
void mpm_mode_write(mpm_word *cell, uint64_t lease, mpm_mode mode, double x,
                    bool add, double time);
/* [any process] With the hazard protocol: see mpm_ref. */
void mpm_gauge_set(mpm_word *cell, double x);
void mpm_gauge_add(mpm_word *cell, double x);
/* [owner] Makes the cell count for this birth, from zero or from `from` (a
 * private cell); leaves it if it does already. */
void mpm_cell_take_up(mpm_word *cell, mpm_kind kind, uint32_t words,
                      uint64_t birth, const mpm_word *from);
/* [owner] Adds a private cell to one that counts already. */
void mpm_cell_pour(mpm_word *cell, const mpm_word *from, mpm_kind kind,
                   uint32_t words);
/* [any process] The sum of a histogram's buckets: its n. */
uint64_t mpm_histogram_count(const mpm_word *cell, uint32_t bounds);

/* [any process] Adds one shard's cell to a reading; nothing if the cell has
 * another birth.  False: it never settled, and the sum may be of a
 * neighbouring instant. */
bool mpm_cell_read(mpm_word *cell, mpm_kind kind, uint32_t words,
                   uint64_t birth, mpm_reading *into);
bool mpm_mode_read(mpm_word *cell, uint64_t birth, mpm_part *part);

/* ---- refs ---------------------------------------------------------------- */

/* A series as this process updates it.  While `epoch` is the process's epoch,
 * `cell` may be written without asking anything: it is the series' cell, or
 * scratch if the series is gone.  Otherwise mpm_ref_open says where to write. */
#define MPM_NEVER UINT64_MAX /* not 0: a child's word is 0 until it notices */
typedef struct mpm_ref {
    uint64_t epoch;
    mpm_word *cell;
    mpm_kind kind;
    uint32_t count;         /* of words */
    mpm_id series;          /* birth 0: not in the store (yet) */
    uint64_t first;         /* of that series, as in mpm_series */
    mpm_series *record;     /* of that index; NULL with birth 0 */
    struct mpm_ref *twin;   /* another of that series in this process */
    mpm_word *private_cell; /* this process's own memory; NULL: none */
    uint64_t private_epoch; /* in which it was made: not a parent's */
    bool scratch;           /* private_cell counts for nobody */
} mpm_ref;

/* [any process] Lets the ref count for this series from now on. */
mpm_status mpm_ref_bind(mpm_store *s, mpm_ref *ref, mpm_id series);
/* [any process] Lets it count for no series (yet): privately, until it is bound
 * again. */
void mpm_ref_unbind(mpm_store *s, mpm_ref *ref);
/* [any process] Makes ref->cell writable: the series' cell if it can be had
 * (then what was counted privately is poured in), else a private one, tried
 * again by updates at most once a second unless `force`d.
 * MPM_OK: shared, or scratch.  Any other status says why it is private;
 * MPM_EPRIVATE alone means that there is no memory, and the update is lost. */
mpm_status mpm_ref_open(mpm_store *s, mpm_ref *ref, mpm_id family, bool force);
/* [any process] Nobody will update through it any more. */
void mpm_ref_close(mpm_store *s, mpm_ref *ref);
/* [any process] Has the series that it counts for been removed? */
bool mpm_ref_is_stale(const mpm_ref *ref);

typedef enum { MPM_SET, MPM_ADD } mpm_write;
/* [any process] Writes through an opened ref of a gauge or an Enum, under the
 * hazard protocol; nothing if the series is gone. */
void mpm_ref_write_shared(mpm_store *s, mpm_ref *ref, mpm_write how,
                          uint64_t bits);
/* [any process] Writes through an opened ref of a gauge with a mode. */
void mpm_ref_write_mode(mpm_store *s, mpm_ref *ref, mpm_mode mode,
                        mpm_write how, double x);

/* ---- exemplars: exemplar.c ------------------------------------------------ */

/* One exemplar; `text` is its labels: for each a 16-bit length of the name and
 * of the value, then both. */
typedef struct {
    double time, value;
    uint32_t bytes; /* of text; 0: none */
    char text[MPM_EXEMPLAR_TEXT];
} mpm_exemplar;

/* [any process] Notes an exemplar of a bucket (a counter: part 0) through an
 * opened ref.  Any status but MPM_OK: it is not noted, which harms nothing. */
mpm_status mpm_exemplar_note(mpm_store *s, mpm_ref *ref, uint32_t part,
                             const mpm_exemplar *exemplar);
/* [pure] Words of the range of such slots, for a series of `count` words. */
uint64_t mpm_exemplar_words(mpm_kind kind, uint32_t count, unsigned size);
/* [pure] Which bucket an observation falls into. */
uint32_t mpm_bucket_of(const double *bounds, uint32_t count, double x);

/* ---- words copied in and out --------------------------------------------- */

/* [any process] Blocks are read while others may give them back and fill them
 * anew, so their bytes go through atomic words.  `bytes` is rounded up to
 * words on the shared side. */
void mpm_copy_out(void *to, const mpm_word *from, uint64_t bytes);
void mpm_copy_in(mpm_word *to, const void *from, uint64_t bytes);
/* [any process] Copies a block whose first 32 bits are its length, once
 * loaded and bounded; NULL if that can't be.  *capacity as for realloc. */
void *mpm_block_copy(mpm_heap *h, mpm_off block, uint64_t limit, void *reuse,
                     uint64_t *capacity);

#include "scrape.h" /* needs all of this */

#endif
