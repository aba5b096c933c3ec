/* module_metric.c: from a metric object to its series: declared, found, made,
 * opened, removed. */
#include <stdlib.h>

#include "module.h"

/* ---- label values -------------------------------------------------------- */

void
texts_free(texts *t)
{
    for (Py_ssize_t i = 0; t->keep != NULL && i < t->count; i++)
        Py_XDECREF(t->keep[i]);
    free(t->keep);
    free(t->at);
}

/* The UTF-8 of a tuple of str; NULL: of none. */
bool
texts_get(texts *t, PyObject *tuple)
{
    memset(t, 0, sizeof *t);
    Py_ssize_t count = tuple == NULL ? 0 : PyTuple_Size(tuple);
    t->at = calloc((size_t)count + 1, sizeof *t->at);
    t->keep = calloc((size_t)count + 1, sizeof *t->keep);
    if (t->at == NULL || t->keep == NULL) {
        texts_free(t);
        PyErr_NoMemory();
        return false;
    }
    for (; t->count < count; t->count++) {
        if (!utf8_of(PyTuple_GetItem(tuple, t->count), &t->keep[t->count],
                     &t->at[t->count])) {
            texts_free(t);
            return false;
        }
    }
    return true;
}

/* ---- from a metric to its series ----------------------------------------- */

/* Finds or makes the series of the metric, declaring the family if it isn't.
 * No exception but for memory: MPM_EPRIVATE. */
mpm_status
metric_bind_series(metric_object *m)
{
    family_object *family = m->family;
    mpm_store *s = &family->store->store;
    mpm_id id;
    texts values;
    if (!texts_get(&values, m->labelvalues)) {
        PyErr_Clear();
        return MPM_EPRIVATE;
    }
    mpm_family *f = mpm_family_at(s, family->id.index);
    mpm_status status = MPM_OK;
    if (f == NULL || family->id.birth == 0 ||
        mpm_load_acquire(&f->birth) != family->id.birth)
        status = family_declare(family, false);
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status = mpm_series_get(s, family->id, family->shape, values.at, &id);
        mpm_lock_release(&s->heap);
    }
    texts_free(&values);
    if (status == MPM_OK)
        status = mpm_ref_bind(s, &m->ref, id);
    look_for_name(family->store);
    return status;
}

/* Tells the Python half of the first write of this process, or of a child. */
static void
note_shard(store_object *store)
{
    const mpm_store *s = &store->store;
    if (s->shard == NULL || store->shard_epoch == s->epoch)
        return;
    store->shard_epoch = s->epoch;
    store->has_told[ON_SHARD] = false;
    tell(store, ON_SHARD, "");
}

/* Keeps the set of what is private.  Its members live until they are shared. */
void
metric_note(metric_object *m, mpm_status status)
{
    store_object *store = m->family->store;
    if (status != MPM_OK) {
        tell(store, ON_PRIVATE, mpm_status_text(status));
        if (PySet_Add(store->pending, (PyObject *)m) != 0)
            PyErr_Clear();
    } else if (PySet_Size(store->pending) > 0 &&
               PySet_Discard(store->pending, (PyObject *)m) < 0) {
        PyErr_Clear();
    }
}

bool
metric_open(metric_object *m, bool force)
{
    if (m->family == NULL) {
        PyErr_SetString(PyExc_ValueError, "the metric was never initialised");
        return false;
    }
    if (is_parent(m)) {
        PyObject *type = PyObject_GetAttrString((PyObject *)m, "_type");
        if (type != NULL)
            PyErr_Format(PyExc_ValueError, "%U metric is missing label values",
                         type);
        Py_XDECREF(type);
        return false;
    }
    if (m->followed) {
        m->ref.cell = NULL; /* prometheus_client: other updates do nothing */
        return true;
    }
    mpm_store *s = &m->family->store->store;
    mpm_store_enter(s);
    if (is_open(m))
        return true;
    mpm_status status = MPM_OK;
    bool due = force || m->ref.private_cell == NULL ||
               mpm_sys_monotonic_ns() >= s->retry_ns;
    /* A child whose series was removed counts for nobody from then on; a
     * metric without labels always has a series. */
    bool lost = m->ref.record == NULL ||
                (m->labelvalues == NULL && mpm_ref_is_stale(&m->ref));
    if (lost && due)
        status = metric_bind_series(m);
    if (m->ref.count == 0) { /* Info has no cell: it is all text */
        metric_note(m, status);
        return true;
    }
    mpm_status opened = mpm_ref_open(s, &m->ref, m->family->id, force);
    metric_note(m, opened == MPM_OK ? status : opened);
    note_shard(m->family->store);
    return true;
}

/* ---- what the Python classes build on ------------------------------------ */

const char metric_bind_doc[] =
    "_bind($self, family, /)\n--\n\n"
    "Become the metric of this family, in this process only.";

PyObject *
metric_bind(PyObject *op, PyObject *arg)
{
    metric_object *m = (metric_object *)op;
    if (m->family != NULL) {
        PyErr_SetString(PyExc_ValueError, "the metric is initialised already");
        return NULL;
    }
    if (!is_family(arg)) {
        PyErr_SetString(PyExc_TypeError, "expected a mpmetrics._native.Family");
        return NULL;
    }
    family_object *family = (family_object *)arg;
    if (PyTuple_Size(family->labelnames) > 0 &&
        (m->children = PyDict_New()) == NULL)
        return NULL;
    m->family = (family_object *)Py_NewRef(arg);
    m->ref.kind = (mpm_kind)family->shape->kind;
    m->ref.count = mpm_shape_words(family->shape);
    Py_RETURN_NONE;
}

const char metric_start_doc[] =
    "_start($self, again=False, /)\n--\n\n"
    "Declare the family in its store; without labels, make its "
    "series.\n\n"
    "`again`: this process had the family and let it go; if no other\n"
    "living process has it, it starts anew.";

PyObject *
metric_start(PyObject *op, PyObject *args)
{
    metric_object *m = (metric_object *)op;
    int again = 0;
    if (!PyArg_ParseTuple(args, "|p", &again))
        return NULL;
    if (m->family == NULL) {
        PyErr_SetString(PyExc_ValueError, "the metric was never initialised");
        return NULL;
    }
    mpm_status status = family_declare(m->family, again != 0);
    if (status == MPM_OK && !is_parent(m))
        status = metric_bind_series(m);
    if (status != MPM_OK && !is_parent(m))
        metric_note(m, status);
    else if (status != MPM_OK)
        tell(m->family->store, ON_PRIVATE, mpm_status_text(status));
    note_shard(m->family->store);
    Py_RETURN_NONE;
}

const char metric_remove_doc[] =
    "_remove($self, labelvalues, /)\n--\n\n"
    "Remove the series with these label values from the store, and\n"
    "the child from this process; nothing if there is none.";

PyObject *
metric_remove(PyObject *op, PyObject *key)
{
    metric_object *m = (metric_object *)op;
    mpm_id id;
    if (!is_parent(m)) {
        PyErr_SetString(PyExc_ValueError, "no labels to remove");
        return NULL;
    }
    mpm_store *s = &m->family->store->store;
    texts values;
    if (!texts_get(&values, key))
        return NULL;
    mpm_store_enter(s);
    mpm_status status = mpm_shard_own(s);
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status =
            mpm_series_find(s, m->family->id, m->family->shape, values.at, &id);
        if (status == MPM_OK)
            status = mpm_series_remove(s, id);
        mpm_lock_release(&s->heap);
    }
    texts_free(&values);
    PyObject *child = PyDict_GetItemWithError(m->children, key);
    if (child != NULL) {
        if (PySet_Discard(m->family->store->pending, child) < 0)
            PyErr_Clear();
        PyDict_DelItem(m->children, key);
    }
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(status == MPM_OK);
}
