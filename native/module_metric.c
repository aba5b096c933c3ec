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
    memset(t, 0, sizeof *t);
}

/* The UTF-8 of a tuple of str; NULL: of none.  None's has no bytes. */
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
        PyObject *text = PyTuple_GetItem(tuple, t->count);
        if (text != Py_None &&
            !utf8_of(text, &t->keep[t->count], &t->at[t->count])) {
            texts_free(t);
            return false;
        }
    }
    return true;
}

/* ---- from a metric to its series ----------------------------------------- */

/* Finds or makes the series with these label values, declaring the family if it
 * isn't, and lets the metric count in it. */
static mpm_status
bind_values(metric_object *m, const mpm_string *values)
{
    family_object *family = m->family;
    mpm_store *s = &family->store->store;
    mpm_id id;
    mpm_status status = MPM_OK;
    if (!mpm_family_is_alive(s, family->id))
        status = family_declare(family, false);
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status = mpm_series_get(s, family->id, family->shape, values, &id);
        mpm_lock_release(&s->heap);
    }
    if (status == MPM_OK)
        status = mpm_ref_bind(s, &m->ref, id);
    if (status == MPM_OK)
        m->family_birth = family->id.birth;
    look_for_name(family->store);
    return status;
}

/* Its family may have died while this process, forked from one that had declared
 * it, had not written yet.  A child whose series was removed counts for nobody
 * from then on. */
bool
metric_is_lost(metric_object *m)
{
    mpm_store *s = &m->family->store->store;
    mpm_id family = m->family->id;
    if (m->ref.record == NULL)
        return true;
    if (!mpm_ref_is_stale(&m->ref))
        return false;
    return m->family_birth != family.birth || /* declared anew since */
           (!mpm_family_is_alive(s, family) && mpm_family_is_held(s, family));
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

/* No exception but for memory: MPM_EPRIVATE. */
mpm_status
metric_bind_series(metric_object *m)
{
    texts values;
    if (!texts_get(&values, m->labelvalues)) {
        PyErr_Clear();
        return MPM_EPRIVATE;
    }
    mpm_status status = bind_values(m, values.at);
    texts_free(&values);
    return status;
}

/* Of a child that counted privately until its family was full: what it counted
 * is poured into the overflow series, in which it counts from now on. */
static mpm_status
bind_overflow(metric_object *m)
{
    uint32_t count = m->family->shape->labels;
    mpm_string *values = calloc((size_t)count + 1, sizeof *values);
    if (values == NULL)
        return MPM_EPRIVATE;
    for (uint32_t i = 0; i < count; i++)
        values[i] = (mpm_string){MPM_OVERFLOW, sizeof MPM_OVERFLOW - 1};
    mpm_status status = bind_values(m, values);
    free(values);
    return status;
}

/* Keeps the set of what is private.  Its members live until they are shared. */
void
metric_note(metric_object *m, mpm_status status)
{
    store_object *store = m->family->store;
    if (status == MPM_OK) {
        m->dropped = false;
        metric_forget(m);
        return;
    }
    if (status == MPM_EMEMORY && !m->dropped) {
        m->dropped = true;
        mpm_add_relaxed(&store->store.root->dropped, 1); /* only a count */
    }
    if (!m->pending && PySet_Add(store->pending, (PyObject *)m) != 0)
        PyErr_Clear();
    m->pending = true;
    tell(store, ON_PRIVATE, mpm_status_text(status));
}

void
metric_forget(metric_object *m)
{
    if (m->pending &&
        PySet_Discard(m->family->store->pending, (PyObject *)m) < 0)
        PyErr_Clear();
    m->pending = false;
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
    if (m->followed || m->removed) {
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
    bool lost = metric_is_lost(m);
    if (lost && due)
        status = metric_bind_series(m);
    if (status == MPM_EFULL && m->ref.count != 0)
        status = bind_overflow(m);
    if (lost && metric_is_lost(m))
        mpm_ref_unbind(s, &m->ref); /* not scratch: it may be bound later */

    if (m->ref.count == 0) { /* Info has no cell: it is all text */
        if (m->ref.private_epoch != s->epoch)
            Py_CLEAR(m->pairs); /* a child's copy is the parent's to share */
        if (status == MPM_OK && m->pairs != NULL)
            status = info_share(m);
        if (status == MPM_EFULL) { /* of many, one can't be shown for all */
            Py_CLEAR(m->pairs);
            status = MPM_OK;
        }
        metric_note(m, status);
        return true;
    }
    mpm_status opened = mpm_ref_open(s, &m->ref, m->family->id, force);
    metric_note(m, status == MPM_OK ? opened : status);
    note_shard(m->family->store);
    /* Who was told may have forked: then it is the child's cell that is due. */
    return *mpm_epoch_word == s->epoch || metric_open(m, force);
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

/* ---- removal -------------------------------------------------------------- */

const char metric_remove_doc[] =
    "_remove($self, labelvalues, /)\n--\n\n"
    "Remove the series with these label values from the store, and the\n"
    "children from this process; None: whatever the value.\n\n"
    "One look in the index if all values are given and the store's lock\n"
    "can be had, else a walk over the family. Waits for nobody.";

/* The one series that has exactly these values; false: not by this way. */
static bool
remove_one(metric_object *m, const texts *values)
{
    const family_object *family = m->family;
    mpm_store *s = &family->store->store;
    mpm_id id;
    for (Py_ssize_t i = 0; i < values->count; i++)
        if (values->at[i].bytes == NULL)
            return false;
    if (mpm_lock_acquire(&s->heap) != MPM_OK)
        return false;
    mpm_status status =
        mpm_series_find(s, family->id, family->shape, values->at, &id);
    if (status == MPM_OK)
        status = mpm_series_remove(s, id);
    mpm_lock_release(&s->heap);
    return status == MPM_OK;
}

/* Does the label set have these values?  None: any. */
static bool
is_like(PyObject *labelvalues, PyObject *wanted)
{
    for (Py_ssize_t i = 0; i < PyTuple_Size(wanted); i++) {
        PyObject *value = PyTuple_GetItem(wanted, i);
        if (value != Py_None &&
            PyUnicode_Compare(PyTuple_GetItem(labelvalues, i), value) != 0)
            return false;
    }
    return true;
}

/* The child of this process, also if it was never shared. */
static void
forget_child(metric_object *m, PyObject *key)
{
    metric_object *child =
        (metric_object *)PyDict_GetItemWithError(m->children, key);
    if (child == NULL)
        return;
    Py_INCREF((PyObject *)child); /* comparing keys may run any code */
    child->removed = true;
    child->ref.scratch = child->ref.private_cell != NULL;
    metric_forget(child);
    if (PyDict_DelItem(m->children, key) != 0)
        PyErr_Clear(); /* by now somebody else has done it */
    Py_DECREF((PyObject *)child);
}

static void
forget_children(metric_object *m, PyObject *wanted)
{
    int is_pattern = PySequence_Contains(wanted, Py_None);
    if (is_pattern == 0)
        forget_child(m, wanted);
    if (is_pattern != 1)
        return;
    PyObject *keys = PyDict_Keys(m->children);
    for (Py_ssize_t i = 0; keys != NULL && i < PyList_Size(keys); i++)
        if (is_like(PyList_GetItem(keys, i), wanted))
            forget_child(m, PyList_GetItem(keys, i));
    Py_XDECREF(keys);
}

PyObject *
metric_remove(PyObject *op, PyObject *wanted)
{
    metric_object *m = (metric_object *)op;
    texts values;
    if (!is_parent(m)) {
        PyErr_SetString(PyExc_ValueError, "no labels to remove");
        return NULL;
    }
    if (!texts_get(&values, wanted))
        return NULL;
    mpm_store *s = &m->family->store->store;
    mpm_store_enter(s);
    if (!remove_one(m, &values))
        mpm_series_remove_like(s, m->family->id, values.at,
                               (uint32_t)values.count);
    texts_free(&values);
    forget_children(m, wanted);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
