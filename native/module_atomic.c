/* module_atomic.c: AtomicInt64, AtomicUInt64 and AtomicDouble over any
 * writable memory, and what they share with Lock: being over some memory.
 *
 * On overflow the value wraps, as the processor's own addition does (a double
 * becomes infinite), and only then the caller is told: another process may have
 * seen the wrapped value already, so that nothing could be taken back. */
#include <math.h>

#include "module.h"

/* ---- over memory --------------------------------------------------------- */

/* Keeps what a memoryview is over, and not the memoryview: the garbage
 * collector clears one that is in a cycle while somebody has a buffer of it,
 * and crashes when that is released (CPython 3.11, memory_clear). */
static bool
keep_exporter(Py_buffer *buffer)
{
    Py_buffer whole;
    if (!PyMemoryView_Check(buffer->obj))
        return true;
    PyObject *exporter = PyObject_GetAttrString(buffer->obj, "obj");
    if (exporter == NULL)
        return false;
    int got = exporter == Py_None
                  ? -1
                  : PyObject_GetBuffer(exporter, &whole, PyBUF_WRITABLE);
    Py_DECREF(exporter);
    if (got != 0) {
        PyErr_SetString(PyExc_TypeError,
                        "what the memoryview is over can't be kept");
        return false;
    }
    whole.buf = buffer->buf; /* the pointer, for us; releasing needs none */
    whole.len = buffer->len;
    PyBuffer_Release(buffer);
    *buffer = whole;
    return true;
}

bool
memory_attach(PyObject *op, PyObject *memory, Py_ssize_t size)
{
    memory_object *self = (memory_object *)op;
    Py_buffer buffer;
    if (self->word != NULL) {
        PyErr_SetString(PyExc_ValueError, "the object has its memory already");
        return false;
    }
    if (PyObject_GetBuffer(memory, &buffer, PyBUF_WRITABLE) != 0) {
        if (PyErr_ExceptionMatches(PyExc_BufferError))
            PyErr_SetString(PyExc_TypeError,
                            "the memory must be writable and contiguous");
        return false;
    }
    bool fits =
        buffer.len >= size && (uintptr_t)buffer.buf % sizeof(mpm_word) == 0;
    if (!fits)
        PyErr_Format(PyExc_ValueError,
                     "the memory must have %zd bytes, at an address that is a "
                     "multiple of %zu",
                     size, sizeof(mpm_word));
    if (!fits || !keep_exporter(&buffer)) {
        PyBuffer_Release(&buffer);
        return false;
    }
    self->memory = buffer;
    self->word = buffer.buf;
    return true;
}

mpm_word *
memory_word(PyObject *op)
{
    mpm_word *word = ((memory_object *)op)->word;
    if (word == NULL)
        PyErr_SetString(PyExc_ValueError, "the object is over no memory yet");
    return word;
}

/* No tp_clear: as long as there is a pointer to the memory, it stays. */
static int
memory_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((memory_object *)op)->memory.obj);
    Py_VISIT(((memory_object *)op)->heap);
    return 0;
}

static void
memory_dealloc(PyObject *op)
{
    memory_object *self = (memory_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    self->word = NULL;
    if (self->memory.obj != NULL)
        PyBuffer_Release(&self->memory);
    Py_XDECREF((PyObject *)self->heap);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

const char memory_over_doc[] =
    "_over($self, memory, /)\n--\n\n"
    "Be over this memory, which isn't changed.\n\n"
    "Raises TypeError if it isn't writable, ValueError if it is too small\n"
    "or not aligned.";

static PyObject *
over_word(PyObject *op, PyObject *memory)
{
    if (!memory_attach(op, memory, sizeof(mpm_word)))
        return NULL;
    Py_RETURN_NONE;
}

/* ---- integers ------------------------------------------------------------ */

/* What is to be added: `magnitude`, or its negative. */
typedef struct {
    uint64_t magnitude;
    bool negative;
} amount;

/* Of any int of at most 64 bits and a sign; false with an exception. */
static bool
amount_of(PyObject *value, amount *a)
{
    PyObject *zero = PyLong_FromLong(0), *index = PyNumber_Index(value);
    int negative = zero == NULL || index == NULL
                       ? -1
                       : PyObject_RichCompareBool(index, zero, Py_LT);
    if (negative == 1)
        SET_REF(index, PyNumber_Negative(index));
    Py_XDECREF(zero);
    if (negative >= 0 && index != NULL) {
        a->negative = negative == 1;
        a->magnitude = PyLong_AsUnsignedLongLong(index);
    }
    Py_XDECREF(index);
    return !PyErr_Occurred();
}

typedef struct {
    PyObject *value;
    bool raise;
} add_arguments;

static bool
parse_add(PyObject *args, PyObject *kwargs, add_arguments *a)
{
    static char *names[] = {"amount", "raise_on_overflow", NULL};
    int raise = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p", names, &a->value,
                                     &raise))
        return false;
    a->raise = raise != 0;
    return true;
}

static PyObject *
raise_overflow(const char *kind)
{
    return PyErr_Format(PyExc_OverflowError, "%s overflowed, and has wrapped",
                        kind);
}

#define GET_DOC "get($self, /)\n--\n\nThe value."
#define SET_DOC                                                                \
    "set($self, value, /)\n--\n\n"                                             \
    "Store a value. Raises OverflowError, and changes nothing, if it doesn't " \
    "fit."
#define ADD_DOC                                                                \
    "add($self, amount, raise_on_overflow=True)\n--\n\n"                       \
    "Add, in one step that no other process sees half done; the old value.\n\n"

PyDoc_STRVAR(get_doc, GET_DOC);
PyDoc_STRVAR(set_doc, SET_DOC);
PyDoc_STRVAR(add_integer_doc,
             ADD_DOC "If the sum doesn't fit, the value wraps around, and then "
                     "OverflowError\nis raised. An amount of more than 64 bits "
                     "is refused and changes nothing.");
PyDoc_STRVAR(add_double_doc,
             ADD_DOC "If the sum of finite numbers doesn't fit, the value "
                     "becomes infinite, and\nthen OverflowError is raised.");

static PyObject *
int64_get(PyObject *op, PyObject *unused)
{
    mpm_word *word = memory_word(op);
    if (word == NULL)
        return NULL;
    return PyLong_FromLongLong((int64_t)mpm_load_seq_cst(word));
}

static PyObject *
int64_set(PyObject *op, PyObject *value)
{
    mpm_word *word = memory_word(op);
    int64_t x = word == NULL ? 0 : PyLong_AsLongLong(value);
    if (PyErr_Occurred())
        return NULL;
    mpm_exchange_seq_cst(word, (uint64_t)x);
    Py_RETURN_NONE;
}

static PyObject *
int64_add(PyObject *op, PyObject *args, PyObject *kwargs)
{
    mpm_word *word = memory_word(op);
    add_arguments arguments;
    amount a;
    if (word == NULL || !parse_add(args, kwargs, &arguments) ||
        !amount_of(arguments.value, &a))
        return NULL;
    uint64_t bits = a.negative ? 0 - a.magnitude : a.magnitude;
    int64_t old = (int64_t)mpm_add_seq_cst(word, bits);
    /* Room between the old value and the end that the sum went towards. */
    uint64_t room = a.negative ? (uint64_t)old - (uint64_t)INT64_MIN
                               : (uint64_t)INT64_MAX - (uint64_t)old;
    if (arguments.raise && a.magnitude > room)
        return raise_overflow("AtomicInt64");
    return PyLong_FromLongLong(old);
}

static PyObject *
uint64_get(PyObject *op, PyObject *unused)
{
    mpm_word *word = memory_word(op);
    if (word == NULL)
        return NULL;
    return PyLong_FromUnsignedLongLong(mpm_load_seq_cst(word));
}

static PyObject *
uint64_set(PyObject *op, PyObject *value)
{
    mpm_word *word = memory_word(op);
    amount a = {0, false};
    if (word == NULL || !amount_of(value, &a))
        return NULL;
    if (a.negative)
        return PyErr_Format(PyExc_OverflowError,
                            "AtomicUInt64 can't hold a negative number");
    mpm_exchange_seq_cst(word, a.magnitude);
    Py_RETURN_NONE;
}

static PyObject *
uint64_add(PyObject *op, PyObject *args, PyObject *kwargs)
{
    mpm_word *word = memory_word(op);
    add_arguments arguments;
    amount a;
    if (word == NULL || !parse_add(args, kwargs, &arguments) ||
        !amount_of(arguments.value, &a))
        return NULL;
    uint64_t bits = a.negative ? 0 - a.magnitude : a.magnitude;
    uint64_t old = mpm_add_seq_cst(word, bits);
    if (arguments.raise && a.magnitude > (a.negative ? old : UINT64_MAX - old))
        return raise_overflow("AtomicUInt64");
    return PyLong_FromUnsignedLongLong(old);
}

/* ---- doubles ------------------------------------------------------------- */

static PyObject *
double_get(PyObject *op, PyObject *unused)
{
    mpm_word *word = memory_word(op);
    if (word == NULL)
        return NULL;
    return PyFloat_FromDouble(mpm_double(mpm_load_seq_cst(word)));
}

static PyObject *
double_set(PyObject *op, PyObject *value)
{
    mpm_word *word = memory_word(op);
    double x = word == NULL ? 0 : PyFloat_AsDouble(value);
    if (PyErr_Occurred())
        return NULL;
    mpm_exchange_seq_cst(word, mpm_bits(x));
    Py_RETURN_NONE;
}

/* Lock-free: a turn is lost only to another process that made one. */
static PyObject *
double_add(PyObject *op, PyObject *args, PyObject *kwargs)
{
    mpm_word *word = memory_word(op);
    add_arguments arguments;
    if (word == NULL || !parse_add(args, kwargs, &arguments))
        return NULL;
    double x = PyFloat_AsDouble(arguments.value);
    if (x == -1.0 && PyErr_Occurred())
        return NULL;
    uint64_t old = mpm_load_seq_cst(word);
    while (!mpm_cas_seq_cst(word, &old, mpm_bits(mpm_double(old) + x)))
        continue;
    double before = mpm_double(old);
    if (arguments.raise && isfinite(before) && isfinite(x) &&
        !isfinite(before + x))
        return raise_overflow("AtomicDouble");
    return PyFloat_FromDouble(before);
}

/* ---- the types ----------------------------------------------------------- */

#define CALL(name) ((PyCFunction)(void (*)(void))(name))
#define METHODS(kind, add_doc)                                                 \
    {                                                                          \
        {"get", kind##_get, METH_NOARGS, get_doc},                             \
            {"set", kind##_set, METH_O, set_doc},                              \
            {"add", CALL(kind##_add), METH_VARARGS | METH_KEYWORDS, add_doc},  \
            {"_over", over_word, METH_O, memory_over_doc}, {NULL},             \
    }

static PyMethodDef int64_methods[] = METHODS(int64, add_integer_doc);
static PyMethodDef uint64_methods[] = METHODS(uint64, add_integer_doc);
static PyMethodDef double_methods[] = METHODS(double, add_double_doc);

static const struct {
    const char *name;
    PyMethodDef *methods;
} types[] = {
    {"mpmetrics._native.AtomicInt64", int64_methods},
    {"mpmetrics._native.AtomicUInt64", uint64_methods},
    {"mpmetrics._native.AtomicDouble", double_methods},
};

PyObject *
make_memory_type(PyObject *module, const char *name, PyMethodDef *methods,
                 PyGetSetDef *getters)
{
    PyType_Slot slots[] = {
        {Py_tp_dealloc, memory_dealloc},
        {Py_tp_traverse, memory_traverse},
        {Py_tp_methods, methods},
        {Py_tp_getset, getters},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(memory_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return (PyObject *)add_type(module, &spec, NULL, NULL);
}

bool
make_atomic_types(PyObject *module)
{
    static PyGetSetDef none[] = {{NULL}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        PyObject *type =
            make_memory_type(module, types[i].name, types[i].methods, none);
        if (type == NULL)
            return false;
        Py_DECREF(type); /* the module has it */
    }
    return true;
}
