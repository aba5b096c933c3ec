/* module_timer.c: Timer, what `with metric.time():` enters and leaves.  How it
 * decorates functions is in metrics.py. */
#include "module.h"

typedef struct {
    PyObject_HEAD
    PyObject *metric;
    uint64_t start;     /* ns on the monotonic clock */
    PyObject *duration; /* seconds as a float; None before the first exit */
} timer_object;

static PyObject *
make_timer(PyTypeObject *type, PyObject *metric)
{
    timer_object *self = (timer_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->metric = Py_NewRef(metric);
    self->duration = Py_NewRef(Py_None);
    return (PyObject *)self;
}

const char timer_of_doc[] =
    "time($self, /)\n--\n\n"
    "Time a block or a function, in seconds: a context manager and a "
    "decorator.";

PyObject *
timer_of(PyObject *metric, PyObject *unused)
{
    family_object *family = ((metric_object *)metric)->family;
    if (family == NULL) {
        PyErr_SetString(PyExc_ValueError, "the metric was never initialised");
        return NULL;
    }
    return make_timer(family->state->timer_type, metric);
}

PyDoc_STRVAR(fresh_doc, "fresh($self, /)\n--\n\n"
                        "Another timer of the same metric.");

static PyObject *
fresh(PyObject *op, PyObject *unused)
{
    return make_timer(Py_TYPE(op), ((timer_object *)op)->metric);
}

static PyObject *
enter(PyObject *op, PyObject *unused)
{
    ((timer_object *)op)->start = mpm_sys_monotonic_ns();
    return Py_NewRef(op);
}

/* Observes also when the block ends in an error, which passes. */
static PyObject *
leave(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    timer_object *self = (timer_object *)op;
    if (self->start == 0) {
        PyErr_SetString(PyExc_RuntimeError, "the timer was never entered");
        return NULL;
    }
    double seconds = (double)(mpm_sys_monotonic_ns() - self->start) / 1e9;
    PyObject *duration = PyFloat_FromDouble(seconds);
    if (duration == NULL)
        return NULL;
    SET_REF(self->duration, duration);
    /* The first update may wait, and let another thread choose the labels. */
    PyObject *metric = Py_NewRef(self->metric);
    bool observed = metric_observe(metric, seconds);
    Py_DECREF(metric);
    return observed ? Py_NewRef(Py_None) : NULL;
}

PyDoc_STRVAR(timer_labels_doc,
             "labels($self, /, *labelvalues, **labelkwargs)\n--\n\n"
             "Choose the label values late, inside the timed block.");

/* Is this a metric that metric_observe takes?  A subclass's labels() may give
 * anything. */
static bool
is_timed(PyObject *metric, PyObject *child)
{
    const mpm_kind kinds[] = {MPM_SUMMARY, MPM_HISTOGRAM, MPM_GAUGE};
    module_state *state = ((metric_object *)metric)->family->state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (PyType_IsSubtype(Py_TYPE(child), state->metric_types[kinds[i]]))
            return ((metric_object *)child)->family != NULL;
    return false;
}

static PyObject *
timer_labels(PyObject *op, PyObject *args, PyObject *kwargs)
{
    timer_object *self = (timer_object *)op;
    PyObject *metric = Py_NewRef(self->metric); /* as above */
    PyObject *labels = PyObject_GetAttrString(metric, "labels");
    PyObject *child =
        labels == NULL ? NULL : PyObject_Call(labels, args, kwargs);
    Py_XDECREF(labels);
    if (child != NULL && !is_timed(metric, child)) {
        PyErr_SetString(PyExc_TypeError, "labels() gave no metric to time");
        Py_CLEAR(child);
    }
    Py_DECREF(metric);
    if (child == NULL)
        return NULL;
    SET_REF(self->metric, child);
    Py_RETURN_NONE;
}

static void
timer_dealloc(PyObject *op)
{
    timer_object *self = (timer_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_CLEAR(self->metric);
    Py_CLEAR(self->duration);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

#define CALL(name) ((PyCFunction)(void (*)(void))(name))

static PyMethodDef methods[] = {
    {"__enter__", enter, METH_NOARGS, "__enter__($self, /)\n--\n\n"},
    {"__exit__", CALL(leave), METH_FASTCALL,
     "__exit__($self, typ, value, traceback, /)\n--\n\n"},
    {"fresh", fresh, METH_NOARGS, fresh_doc},
    {"labels", CALL(timer_labels), METH_VARARGS | METH_KEYWORDS,
     timer_labels_doc},
    {NULL},
};

static PyMemberDef members[] = {
    {"duration", T_OBJECT, offsetof(timer_object, duration), READONLY,
     "Seconds of the last block; None before the first ends."},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, timer_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

/* No garbage collection: nothing that a timer holds can hold the timer. */
static PyType_Spec spec = {
    .name = "mpmetrics.Timer",
    .basicsize = sizeof(timer_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

PyTypeObject *
make_timer_type(PyObject *module, PyObject *bases)
{
    return add_type(module, &spec, bases, "TimerBase");
}
