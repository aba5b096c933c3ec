/* module.h: the extension mpmetrics._native, what its files share.
 *
 *   module.c         the module, its state, its functions, status to exception
 *   module_store.c   Store: a store that this process has joined
 *   module_family.c  Family: a metric as declared
 *   module_metric.c  from a metric object to its series
 *   module_update.c  inc, set, observe, state: the hot path
 *   module_labels.c  labels()
 *   module_types.c   Counter ... Enum: their tables
 *   module_timer.c   Timer
 *   module_heap.c    Heap, and the buffers over its blocks
 *   module_atomic.c  AtomicInt64, AtomicUInt64, AtomicDouble, over any memory
 *   module_lock.c    Lock, over any memory
 *
 * No Python object is made, and none is freed, while the store's lock is held:
 * either could run the garbage collector, and with it any code at all. */
#ifndef MPM_MODULE_H
#define MPM_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "core.h"
#include "users.h"

/* As Py_SETREF, which the limited API doesn't have. */
#define SET_REF(variable, value)                                               \
    do {                                                                       \
        PyObject *old_ = (variable);                                           \
        (variable) = (value);                                                  \
        Py_XDECREF(old_);                                                      \
    } while (0)

/* What the Python half is told of a store, each by a function of its own. */
typedef enum {
    ON_PRIVATE,  /* it has to count something in the process's own memory */
    ON_NAMELESS, /* its file has lost its name */
    ON_SHARD,    /* this process has begun to write in it */
    EVENTS
} event;

/* The toolkit's types and exceptions, by their places in the state. */
enum { TOOL_GONE, TOOL_HEAP, TOOL_VIEW, TOOLS };

typedef struct {
    PyObject *error;        /* StoreError */
    PyObject *layout_error; /* StoreLayoutError, a StoreError */
    PyObject *told[EVENTS]; /* functions, or NULL */
    PyObject *encode_exemplar;
    PyTypeObject *store_type, *family_type, *timer_type;
    PyTypeObject *metric_types[MPM_KINDS];
    PyObject *tools[TOOLS];
    struct heap_object *heaps; /* those mapped; none is kept by this */
} module_state;

typedef struct {
    PyObject_HEAD
    module_state *state;
    mpm_store store;
    PyObject *path;    /* str or None */
    PyObject *pending; /* set of the metrics that count privately */
    bool has_told[EVENTS];
    uint64_t shard_epoch; /* for which ON_SHARD was told */
    PyObject *weak;
} store_object;

typedef struct {
    PyObject_HEAD
    module_state *state;
    store_object *store;
    mpm_shape *shape;
    mpm_help *help;
    mpm_id id; /* birth 0: not declared (yet) */
    PyObject *name, *documentation, *unit, *labelnames, *registry;
    PyObject *bounds, *states;
    PyObject *overflow; /* the metric that counts what found no room */
} family_object;

typedef struct {
    PyObject_HEAD
    mpm_ref ref;
    uint64_t family_birth; /* of the family when the ref was bound */
    family_object *family; /* NULL before __init__ has come that far */
    PyObject *labelvalues; /* tuple of str; NULL: none given */
    PyObject *children;    /* dict by labelvalues; NULL: no parent */
    PyObject *parent; /* of an unpickled child, which keeps it; else NULL */
    PyObject *pairs;  /* Info: what is to be shown, not shared yet; or NULL */
    bool followed;    /* a gauge whose function alone changes it */
    bool removed;     /* a kept child, which counts for nobody */
    bool pending;     /* in its store's set of what is private */
    bool dropped;     /* there was no room for it, and it was counted */
    PyObject *weak;
} metric_object;

typedef struct heap_object {
    PyObject_HEAD
    module_state *state;
    mpm_heap heap;
    PyObject *path; /* str or None */
    struct heap_object *next;
    PyObject *weak;
} heap_object;

/* What every type over a user's memory begins with. */
typedef struct {
    PyObject_HEAD
    Py_buffer memory;  /* obj is NULL: over nothing yet */
    mpm_word *word;    /* its first bytes */
    heap_object *heap; /* a Lock's */
} memory_object;

/* The state, from a type that this module made. */
module_state *state_of(PyTypeObject *type);
/* The same from a subclass, made in Python, of such a type. */
module_state *state_of_base(PyTypeObject *type);

/* Always returns NULL, so callers write: return raise(state, status, "join"); */
PyObject *raise_status(const module_state *state, mpm_status status,
                       const char *what);

/* What tells two files apart, as a str. */
PyObject *identity_text(const mpm_header *header);

/* The UTF-8 of a str, as long as *keep is held; lone surrogates become "?". */
bool utf8_of(PyObject *text, PyObject **keep, mpm_string *utf8);

/* Tells the Python half of the event, once for each store. */
void tell(store_object *store, event what, const char *why);
/* What only a miss or a scrape may cost: has the store lost its name? */
void look_for_name(store_object *store);

/* Declares the family in its store; no exception, but a status. */
mpm_status family_declare(family_object *family, bool again);
/* The object as a Store, or NULL with a TypeError. */
store_object *as_store(module_state *state, PyObject *object);
bool is_family(PyObject *object);

/* The UTF-8 of some str, as long as they are kept. */
typedef struct {
    mpm_string *at;
    PyObject **keep;
    Py_ssize_t count;
} texts;
/* Of a tuple of str; NULL: of none.  None has no bytes. */
bool texts_get(texts *t, PyObject *tuple);
void texts_free(texts *t);

/* May ref.cell be written as it stands?  The one test on the way of an
 * update. */
static inline bool
is_open(const metric_object *m)
{
    return m->ref.epoch == *mpm_epoch_word;
}

static inline bool
is_parent(const metric_object *m)
{
    return m->children != NULL;
}

/* A metric that isn't open: not by zeros, since a child's epoch is 0 until it
 * notices that it is one. */
metric_object *metric_alloc(PyTypeObject *type);
/* Makes the metric's ref writable.  False with an exception: it is a parent.
 * After true, ref.cell may still be NULL: no memory, the update is lost. */
bool metric_open(metric_object *metric, bool force);
/* Has it no series, though nobody removed it? */
bool metric_is_lost(metric_object *metric);
/* Finds or makes the metric's series, declaring the family if need be. */
mpm_status metric_bind_series(metric_object *metric);
/* Tries to show what an Info was told; MPM_OK also if nobody would see it. */
mpm_status info_share(metric_object *metric);
/* Keeps the set of what is private; MPM_OK: no longer. */
void metric_note(metric_object *metric, mpm_status status);
void metric_forget(metric_object *metric);
/* The update of a Timer. */
bool metric_observe(PyObject *metric, double x);

/* The methods, each with its doc. */
#define FAST_METHOD(name)                                                      \
    PyObject *name(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);     \
    extern const char name##_doc[]
#define METHOD(name)                                                           \
    PyObject *name(PyObject *, PyObject *);                                    \
    extern const char name##_doc[]
FAST_METHOD(counter_inc);
FAST_METHOD(gauge_inc);
FAST_METHOD(gauge_dec);
FAST_METHOD(gauge_set);
METHOD(gauge_now);
METHOD(gauge_follow);
METHOD(gauge_write_followed);
METHOD(counter_reset);
FAST_METHOD(summary_observe);
FAST_METHOD(histogram_observe);
FAST_METHOD(enum_state);
METHOD(info_set);
FAST_METHOD(metric_labels);
METHOD(metric_bind);
METHOD(metric_start);
METHOD(metric_remove);
METHOD(timer_of);

/* The heap of this process that an address lies in, or NULL. */
heap_object *heap_around(const module_state *state, const void *address);
/* Waits for another process with nothing held: other threads may run. */
void wait_without_gil(uint64_t nanoseconds);

/* Puts an object over writable memory of at least that size; false with a
 * TypeError or ValueError, and nothing changed. */
bool memory_attach(PyObject *op, PyObject *memory, Py_ssize_t size);
extern const char memory_over_doc[];
/* Its word; NULL with a ValueError: it is over nothing. */
mpm_word *memory_word(PyObject *op);
/* A type over memory; a new reference beside the module's. */
PyObject *make_memory_type(PyObject *module, const char *name,
                           PyMethodDef *methods, PyGetSetDef *getters);

PyObject *format_heap(PyObject *module, PyObject *args);
extern const char format_heap_doc[];
bool make_heap_types(PyObject *module);
bool make_atomic_types(PyObject *module);
bool make_lock_type(PyObject *module);

PyTypeObject *make_store_type(PyObject *module);
PyTypeObject *make_family_type(PyObject *module);
PyTypeObject *make_timer_type(PyObject *module, PyObject *bases);
bool make_metric_types(PyObject *module, PyObject *bases);

/* Adds a type made from this spec over the class `base` of `bases`. */
PyTypeObject *add_type(PyObject *module, PyType_Spec *spec, PyObject *bases,
                       const char *base);

#endif
