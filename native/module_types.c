/* module_types.c: the classes Counter to Enum: their methods, life and tables.
 * What isn't hot stands in the Python classes that they derive from
 * (metrics.py). */
#include "module.h"

metric_object *
metric_alloc(PyTypeObject *type)
{
    metric_object *m = (metric_object *)PyType_GenericAlloc(type, 0);
    if (m != NULL)
        m->ref.epoch = MPM_NEVER;
    return m;
}

/* By object's own, which refuses an abstract class; __init__ takes the
 * arguments. */
static PyObject *
metric_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    newfunc plain = (newfunc)PyType_GetSlot(&PyBaseObject_Type, Py_tp_new);
    PyObject *none = PyTuple_New(0);
    metric_object *m =
        none == NULL ? NULL : (metric_object *)plain(type, none, NULL);
    Py_XDECREF(none);
    if (m != NULL)
        m->ref.epoch = MPM_NEVER;
    return (PyObject *)m;
}

static int
metric_traverse(PyObject *op, visitproc visit, void *arg)
{
    metric_object *m = (metric_object *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(m->family);
    Py_VISIT(m->children);
    Py_VISIT(m->parent);
    return 0;
}

static int
metric_clear(PyObject *op)
{
    metric_object *m = (metric_object *)op;
    Py_CLEAR(m->children);
    Py_CLEAR(m->parent);
    return 0;
}

static void
metric_dealloc(PyObject *op)
{
    metric_object *m = (metric_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (m->weak != NULL)
        PyObject_ClearWeakRefs(op);
    if (m->family != NULL)
        mpm_ref_close(&m->family->store->store, &m->ref);
    Py_CLEAR(m->children);
    Py_CLEAR(m->parent);
    Py_CLEAR(m->labelvalues);
    Py_CLEAR(m->pairs);
    Py_CLEAR(m->family);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"_family", T_OBJECT, offsetof(metric_object, family), READONLY, NULL},
    {"_labelvalues_or_none", T_OBJECT, offsetof(metric_object, labelvalues),
     READONLY, NULL},
    {"_children", T_OBJECT, offsetof(metric_object, children), READONLY, NULL},
    {"_parent", T_OBJECT, offsetof(metric_object, parent), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(metric_object, weak), READONLY,
     NULL},
    {NULL},
};

#define CALL(name) ((PyCFunction)(void (*)(void))(name))
#define FAST (METH_FASTCALL | METH_KEYWORDS)
#define COMMON                                                                 \
    {"labels", CALL(metric_labels), FAST, metric_labels_doc},                  \
        {"_bind", metric_bind, METH_O, metric_bind_doc},                       \
        {"_start", metric_start, METH_VARARGS, metric_start_doc},              \
        {"_remove", metric_remove, METH_O, metric_remove_doc},                 \
    {                                                                          \
        NULL                                                                   \
    }

static PyMethodDef counter_methods[] = {
    {"inc", CALL(counter_inc), FAST, counter_inc_doc},
    {"reset", counter_reset, METH_NOARGS, counter_reset_doc},
    COMMON,
};

static PyMethodDef gauge_methods[] = {
    {"inc", CALL(gauge_inc), FAST, gauge_inc_doc},
    {"dec", CALL(gauge_dec), FAST, gauge_dec_doc},
    {"set", CALL(gauge_set), FAST, gauge_set_doc},
    {"set_to_current_time", gauge_now, METH_NOARGS, gauge_now_doc},
    {"_follow", gauge_follow, METH_NOARGS, gauge_follow_doc},
    {"_write_followed", gauge_write_followed, METH_O, gauge_write_followed_doc},
    {"time", timer_of, METH_NOARGS, timer_of_doc},
    COMMON,
};

static PyMethodDef summary_methods[] = {
    {"observe", CALL(summary_observe), FAST, summary_observe_doc},
    {"time", timer_of, METH_NOARGS, timer_of_doc},
    COMMON,
};

static PyMethodDef histogram_methods[] = {
    {"observe", CALL(histogram_observe), FAST, histogram_observe_doc},
    {"time", timer_of, METH_NOARGS, timer_of_doc},
    COMMON,
};

static PyMethodDef info_methods[] = {
    {"_set_info", info_set, METH_O, info_set_doc},
    COMMON,
};

static PyMethodDef enum_methods[] = {
    {"state", CALL(enum_state), FAST, enum_state_doc},
    COMMON,
};

static const struct {
    mpm_kind kind;
    const char *name, *base;
    PyMethodDef *methods;
} types[] = {
    {MPM_COUNTER, "mpmetrics.Counter", "CounterBase", counter_methods},
    {MPM_GAUGE, "mpmetrics.Gauge", "GaugeBase", gauge_methods},
    {MPM_SUMMARY, "mpmetrics.Summary", "SummaryBase", summary_methods},
    {MPM_HISTOGRAM, "mpmetrics.Histogram", "HistogramBase", histogram_methods},
    {MPM_INFO, "mpmetrics.Info", "InfoBase", info_methods},
    {MPM_ENUM, "mpmetrics.Enum", "EnumBase", enum_methods},
};

/* Makes the class an instance of the metaclass, which decides what becomes of
 * classes derived from it (deriving.py).  The limited API of 3.11 can't make
 * it one from the start; a class of a Python metaclass has the same layout. */
static void
set_metaclass(PyTypeObject *type, PyObject *metaclass)
{
    Py_INCREF(metaclass); /* type, which isn't counted, held none */
    Py_SET_TYPE((PyObject *)type, (PyTypeObject *)metaclass);
}

bool
make_metric_types(PyObject *module, PyObject *bases)
{
    module_state *state = PyModule_GetState(module);
    PyObject *metaclass = PyObject_GetAttrString(bases, "MetricType");
    if (metaclass == NULL)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        PyType_Slot slots[] = {
            {Py_tp_new, metric_new},
            {Py_tp_dealloc, metric_dealloc},
            {Py_tp_traverse, metric_traverse},
            {Py_tp_clear, metric_clear},
            {Py_tp_methods, types[i].methods},
            {Py_tp_members, members},
            {0, NULL},
        };
        PyType_Spec spec = {
            .name = types[i].name,
            .basicsize = sizeof(metric_object),
            .flags =
                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
            .slots = slots,
        };
        PyTypeObject *type = add_type(module, &spec, bases, types[i].base);
        if (type == NULL)
            break;
        set_metaclass(type, metaclass);
        state->metric_types[types[i].kind] = type;
    }
    Py_DECREF(metaclass);
    return !PyErr_Occurred();
}
