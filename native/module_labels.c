/* module_labels.c: labels(), from label values to the child of this process.
 *
 * A hit is one lookup in the parent's dictionary and one load: has the series
 * still its birth? */
#include "module.h"

/* The label value as prometheus_client makes it: str(value). */
static PyObject *
value_of(PyObject *object)
{
    return PyUnicode_CheckExact(object) ? Py_NewRef(object)
                                        : PyObject_Str(object);
}

/* The argument of that name among the keywords; borrowed, NULL: none. */
static PyObject *
argument_of(PyObject *name, PyObject *const *args, PyObject *names)
{
    Py_ssize_t count = PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < count;
         i++) /* interned: mostly the same object */
        if (PyTuple_GetItem(names, i) == name)
            return args[i];
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyUnicode_Compare(PyTuple_GetItem(names, i), name) == 0)
            return args[i];
    return NULL;
}

static PyObject *
key_of(metric_object *m, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *labelnames = m->family->labelnames;
    Py_ssize_t count = PyTuple_Size(labelnames);
    if (n != 0 && names != NULL) {
        PyErr_SetString(PyExc_ValueError, "Can't pass both *args and **kwargs");
        return NULL;
    }
    if (names != NULL ? PyTuple_Size(names) != count : n != count) {
        PyErr_SetString(PyExc_ValueError, names != NULL
                                              ? "Incorrect label names"
                                              : "Incorrect label count");
        return NULL;
    }
    PyObject *key = PyTuple_New(count);
    for (Py_ssize_t i = 0; key != NULL && i < count; i++) {
        PyObject *given =
            names == NULL
                ? args[i]
                : argument_of(PyTuple_GetItem(labelnames, i), args, names);
        if (given == NULL)
            PyErr_SetString(PyExc_ValueError, "Incorrect label names");
        PyObject *value = given == NULL ? NULL : value_of(given);
        if (value == NULL)
            Py_CLEAR(key);
        else
            PyTuple_SetItem(key, i, value);
    }
    return key;
}

/* What the __init__ of a user's own class has set, for a child too.  It isn't
 * called again: its arguments are known to nobody. */
static bool
copy_attributes(metric_object *from, metric_object *to)
{
    PyTypeObject *type = Py_TYPE((PyObject *)from);
    for (int i = 0; i < MPM_KINDS; i++)
        if (from->family->state->metric_types[i] == type)
            return true; /* without a dictionary */
    PyObject *own = PyObject_GetAttrString((PyObject *)from, "__dict__");
    if (own == NULL) { /* a class with __slots__ */
        PyErr_Clear();
        return true;
    }
    PyObject *copy = PyObject_GetAttrString((PyObject *)to, "__dict__");
    bool copied = copy != NULL && PyDict_Update(copy, own) == 0;
    Py_XDECREF(copy);
    Py_DECREF(own);
    return copied;
}

/* A metric of the same class and family with these label values. */
static metric_object *
make_child(metric_object *parent, PyObject *key)
{
    metric_object *child = metric_alloc(Py_TYPE((PyObject *)parent));
    if (child == NULL)
        return NULL;
    if (!copy_attributes(parent, child)) {
        Py_DECREF((PyObject *)child);
        return NULL;
    }
    child->family = (family_object *)Py_NewRef((PyObject *)parent->family);
    child->labelvalues = Py_NewRef(key);
    child->ref.kind = (mpm_kind)child->family->shape->kind;
    child->ref.count = mpm_shape_words(child->family->shape);
    return child;
}

static bool
is_gone(const metric_object *child)
{
    return mpm_ref_is_stale(&child->ref);
}

/* The one metric that counts what a full family has no room for. */
static PyObject *
overflow_of(metric_object *parent)
{
    family_object *family = parent->family;
    if (family->overflow == NULL ||
        is_gone((metric_object *)family->overflow)) {
        Py_ssize_t count = PyTuple_Size(family->labelnames);
        PyObject *key = PyTuple_New(count);
        for (Py_ssize_t i = 0; key != NULL && i < count; i++)
            PyTuple_SetItem(key, i, PyUnicode_FromString(MPM_OVERFLOW));
        if (key == NULL)
            return NULL;
        SET_REF(family->overflow, (PyObject *)make_child(parent, key));
        Py_DECREF(key);
    }
    return Py_XNewRef(family->overflow);
}

/* Are there as many children as a family may have series?  What can't be shared
 * is in this process's own memory, which must not grow for ever either. */
static bool
is_crowded(const metric_object *parent)
{
    const mpm_root *root = parent->family->store->store.root;
    uint64_t most = mpm_load_acquire(&root->max_series);
    return most != 0 && (uint64_t)PyDict_Size(parent->children) >= most;
}

/* Not in the dictionary, or its series was removed by another process. */
static PyObject *
miss(metric_object *parent, PyObject *key)
{
    metric_object *child = make_child(parent, key);
    if (child == NULL)
        return NULL;
    mpm_store_enter(&parent->family->store->store);
    mpm_status status = metric_bind_series(child);
    if (status == MPM_EFULL || (status != MPM_OK && is_crowded(parent))) {
        Py_DECREF((PyObject *)child);
        return overflow_of(parent);
    }
    if (status != MPM_OK)
        metric_note(child, status);
    /* Waiting for the lock may have let another thread make the same. */
    PyObject *other = PyDict_GetItemWithError(parent->children, key);
    if (other != NULL && !is_gone((metric_object *)other)) {
        Py_INCREF(other);
        metric_forget(child);
        Py_DECREF((PyObject *)child);
        return other;
    }
    if (PyErr_Occurred() ||
        PyDict_SetItem(parent->children, key, (PyObject *)child) != 0) {
        metric_forget(child);
        Py_DECREF((PyObject *)child);
        return NULL;
    }
    return (PyObject *)child;
}

/* labels() of a child. */
static void
refuse_chain(metric_object *m)
{
    PyObject *labels = PyDict_New();
    PyObject *names = m->family->labelnames;
    for (Py_ssize_t i = 0; labels != NULL && i < PyTuple_Size(names); i++)
        if (PyDict_SetItem(labels, PyTuple_GetItem(names, i),
                           PyTuple_GetItem(m->labelvalues, i)) != 0)
            Py_CLEAR(labels);
    if (labels != NULL)
        PyErr_Format(PyExc_ValueError,
                     "%S already has labels set (%R); can not chain calls to "
                     ".labels()",
                     (PyObject *)m, labels);
    Py_XDECREF(labels);
}

/* labels() of a metric that has none, or is a child already. */
static PyObject *
refuse_labels(metric_object *m)
{
    PyObject *op = (PyObject *)m;
    if (m->family == NULL)
        PyErr_SetString(PyExc_ValueError, "the metric was never initialised");
    else if (m->labelvalues == NULL)
        PyErr_Format(PyExc_ValueError,
                     "No label names were set when constructing %S", op);
    else
        refuse_chain(m);
    return NULL;
}

const char metric_labels_doc[] =
    "labels($self, /, *labelvalues, **labelkwargs)\n--\n\n"
    "The metric with these label values, each made a str.\n\n"
    "One lookup in this process's own dictionary; the first time also\n"
    "a look in the store under its lock. If the family is full, the\n"
    "overflow series. Raises ValueError for other names or another\n"
    "number of labels than declared.";

PyObject *
metric_labels(PyObject *op, PyObject *const *args, Py_ssize_t n,
              PyObject *names)
{
    metric_object *m = (metric_object *)op;
    if (!is_parent(m))
        return refuse_labels(m);
    PyObject *key = key_of(m, args, n, names);
    if (key == NULL)
        return NULL;
    PyObject *child = PyDict_GetItemWithError(m->children, key);
    if (child != NULL && !is_gone((metric_object *)child))
        Py_INCREF(child);
    else if (PyErr_Occurred())
        child = NULL;
    else
        child = miss(m, key);
    Py_DECREF(key);
    return child;
}
