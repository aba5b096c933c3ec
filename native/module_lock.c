/* module_lock.c: Lock over the memory of a heap.  The protocol is in
 * userlock.c; here is the waiting. */
#include <math.h>

#include "module.h"

#define FIRST_PAUSE 10000ULL /* ns */
#define LAST_PAUSE                                                             \
    5000000ULL             /* ns; doubled once: a death is noticed in 10 ms */
#define POLITE 50000000ULL /* ns: how long others go first */
#define LONGEST 1e9        /* seconds; more is for ever */

static mpm_user_lock *
lock_of(PyObject *op)
{
    return (mpm_user_lock *)(void *)memory_word(op);
}

static PyObject *
lock_over(PyObject *op, PyObject *memory)
{
    memory_object *self = (memory_object *)op;
    if (!memory_attach(op, memory, sizeof(mpm_user_lock)))
        return NULL;
    heap_object *heap = heap_around(state_of_base(Py_TYPE(op)), self->word);
    self->heap = (heap_object *)Py_XNewRef((PyObject *)heap);
    if (heap == NULL) {
        self->word = NULL;
        PyBuffer_Release(&self->memory);
        PyErr_SetString(PyExc_TypeError,
                        "a Lock must lie in a Heap, which knows the processes "
                        "that are alive: use Box[Lock](heap)");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The number of this thread as an owner; 0 with an exception. */
static uint64_t
self_of(PyObject *op)
{
    heap_object *heap = ((memory_object *)op)->heap;
    uint64_t self = 0;
    if (memory_word(op) == NULL)
        return 0;
    mpm_status status = mpm_user_lock_self(&heap->heap, &self);
    if (status != MPM_OK)
        raise_status(heap->state, status, "taking a lease for a lock");
    return self;
}

/* ---- acquiring ----------------------------------------------------------- */

/* Nanoseconds to wait; false with an exception. */
static bool
patience_of(PyObject *timeout, bool block, uint64_t *patience)
{
    *patience = block ? UINT64_MAX : 0;
    if (!block || timeout == Py_None)
        return true;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return false;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "the timeout is not a number");
        return false;
    }
    if (seconds < LONGEST)
        *patience = seconds <= 0 ? 0 : (uint64_t)(seconds * 1e9);
    return true;
}

/* Waits a little, the less the sooner it may be this thread's turn; false with
 * an exception: a signal's handler raised it. */
static bool
wait_a_little(PyObject *op, uint64_t *self, uint64_t left, uint64_t *pause,
              bool *next)
{
    heap_object *heap = ((memory_object *)op)->heap;
    bool was = *next;
    *next = mpm_user_lock_queue(&heap->heap, lock_of(op), *self);
    if (*next && !was)
        *pause = FIRST_PAUSE;
    wait_without_gil(*pause < left ? *pause : left);
    if (*pause < LAST_PAUSE)
        *pause *= 2;
    uint64_t epoch = mpm_epoch();
    bool goes_on = PyErr_CheckSignals() == 0;
    if (mpm_epoch() == epoch)
        return goes_on;
    *next = false; /* a handler has forked: the parent is, and waits as well */
    return goes_on && (*self = self_of(op)) != 0;
}

/* True or False, or NULL with an exception. */
static PyObject *
take(PyObject *op, uint64_t patience)
{
    uint64_t self = self_of(op), pause = FIRST_PAUSE;
    uint64_t began = mpm_sys_monotonic_ns(), waited = 0;
    PyObject *answer = self == 0 ? NULL : Py_False;
    bool next = false;
    while (answer == Py_False) {
        heap_object *heap = ((memory_object *)op)->heap;
        bool polite = waited < POLITE && patience != 0;
        mpm_got got = mpm_user_lock_try(&heap->heap, lock_of(op), self, polite);
        if (got == MPM_HELD_BY_ME)
            answer = PyErr_Format(PyExc_RuntimeError,
                                  "this thread holds the lock already");
        else if (got != MPM_HELD)
            answer = Py_True;
        waited = mpm_sys_monotonic_ns() - began;
        if (answer != Py_False || waited >= patience)
            break;
        if (!wait_a_little(op, &self, patience - waited, &pause, &next))
            answer = NULL;
    }
    if (next && answer != Py_True)
        mpm_user_lock_leave(lock_of(op), self);
    return answer == NULL ? NULL : Py_NewRef(answer);
}

PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, block=True, timeout=None)\n--\n\n"
    "Take the lock, waiting for it if another process or thread has "
    "it.\n\n"
    "False if it could not be had at once (without `block`) or within\n"
    "`timeout` seconds. RuntimeError if this thread has it.");

static PyObject *
acquire(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"block", "timeout", NULL};
    int block = 1;
    PyObject *timeout = Py_None;
    uint64_t patience;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|pO", names, &block,
                                     &timeout) ||
        !patience_of(timeout, block != 0, &patience))
        return NULL;
    return take(op, patience);
}

PyDoc_STRVAR(release_doc,
             "release($self, /)\n--\n\n"
             "Let the lock go. RuntimeError if this thread doesn't have it.");

static PyObject *
release(PyObject *op, PyObject *unused)
{
    uint64_t self = self_of(op);
    if (self == 0)
        return NULL;
    if (!mpm_user_lock_release(lock_of(op), self))
        return PyErr_Format(PyExc_RuntimeError,
                            "this thread doesn't hold the lock");
    Py_RETURN_NONE;
}

static PyObject *
enter(PyObject *op, PyObject *unused)
{
    PyObject *taken = take(op, UINT64_MAX);
    if (taken == NULL)
        return NULL;
    Py_DECREF(taken);
    return Py_NewRef(op);
}

static PyObject *
leave(PyObject *op, PyObject *args)
{
    return release(op, NULL);
}

PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\n"
                         "Does a thread of a living process have the lock?");

static PyObject *
locked(PyObject *op, PyObject *unused)
{
    mpm_user_lock *lock = lock_of(op);
    if (lock == NULL)
        return NULL;
    heap_object *heap = ((memory_object *)op)->heap;
    return PyBool_FromLong(mpm_user_lock_is_held(&heap->heap, lock));
}

static PyObject *
get_owner_died(PyObject *op, void *unused)
{
    mpm_user_lock *lock = lock_of(op);
    if (lock == NULL)
        return NULL;
    return PyBool_FromLong(mpm_load_acquire(&lock->died) != 0);
}

/* ---- the type ------------------------------------------------------------ */

#define CALL(name) ((PyCFunction)(void (*)(void))(name))

static PyMethodDef methods[] = {
    {"acquire", CALL(acquire), METH_VARARGS | METH_KEYWORDS, acquire_doc},
    {"release", release, METH_NOARGS, release_doc},
    {"locked", locked, METH_NOARGS, locked_doc},
    {"__enter__", enter, METH_NOARGS, "__enter__($self, /)\n--\n\n"},
    {"__exit__", leave, METH_VARARGS, "__exit__($self, /, *args)\n--\n\n"},
    {"_over", lock_over, METH_O, memory_over_doc},
    {NULL},
};

static PyGetSetDef getters[] = {
    {"owner_died", get_owner_died, NULL,
     "Was the lock taken from an owner whose process had ended? For the one\n"
     "who has it now: what the lock guards may be half done.",
     NULL},
    {NULL},
};

bool
make_lock_type(PyObject *module)
{
    PyObject *type =
        make_memory_type(module, "mpmetrics._native.Lock", methods, getters);
    Py_XDECREF(type); /* the module has it */
    return type != NULL;
}
