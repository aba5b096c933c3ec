/* module_info.c: Info, which has no cell: it is all text.  What can't be shown
 * yet is kept, as others keep a private cell. */
#include "module.h"

/* [lock held] Was the label set of a kept child removed?  Another process may
 * have replaced its series: then it is still the same by its first birth. */
static bool
is_removed(metric_object *m, const mpm_string *values)
{
    mpm_store *s = &m->family->store->store;
    mpm_id id;
    if (m->labelvalues == NULL || m->ref.record == NULL)
        return false;
    if (mpm_series_find(s, m->family->id, m->family->shape, values, &id) !=
            MPM_OK ||
        id.birth == 0)
        return true;
    mpm_series *series = mpm_series_at(s, id.index);
    return series == NULL || mpm_load_acquire(&series->first) != m->ref.first;
}

/* MPM_EGONE: the label set is, or the family is full; nobody would see it. */
static mpm_status
show(metric_object *m, const texts *values, const texts *info)
{
    mpm_store *s = &m->family->store->store;
    mpm_id id;
    mpm_status status = mpm_shard_own(s);
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status != MPM_OK)
        return status;
    status =
        is_removed(m, values->at)
            ? MPM_EGONE
            : mpm_series_replace(s, m->family->id, m->family->shape, values->at,
                                 info->at, (uint32_t)(info->count / 2), &id);
    mpm_lock_release(&s->heap);
    if (status == MPM_OK)
        status = mpm_ref_bind(s, &m->ref, id);
    return status == MPM_EFULL ? MPM_EGONE : status;
}

mpm_status
info_share(metric_object *m)
{
    texts values = {0}, info = {0};
    PyObject *pairs = Py_NewRef(m->pairs);
    mpm_status status = MPM_EPRIVATE;
    if (texts_get(&info, pairs) && texts_get(&values, m->labelvalues))
        status = show(m, &values, &info);
    else
        PyErr_Clear();
    texts_free(&info);
    texts_free(&values);
    /* Another thread may have said something else meanwhile. */
    if ((status == MPM_OK || status == MPM_EGONE) && m->pairs == pairs)
        Py_CLEAR(m->pairs);
    Py_DECREF(pairs);
    return status == MPM_EGONE ? MPM_OK : status;
}

const char info_set_doc[] =
    "_set_info($self, pairs, /)\n--\n\n"
    "Show these names and values, a flat tuple of str, in one commit; as\n"
    "soon as there is room, if there is none now.";

PyObject *
info_set(PyObject *op, PyObject *pairs)
{
    metric_object *m = (metric_object *)op;
    Py_ssize_t count = PyTuple_Check(pairs) ? PyTuple_Size(pairs) : -1;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyUnicode_Check(PyTuple_GetItem(pairs, i)))
            count = -1;
    if (count < 0 || count % 2 != 0) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple of pairs of str");
        return NULL;
    }
    SET_REF(m->pairs, Py_NewRef(pairs));
    if (!metric_open(m, true)) {
        Py_CLEAR(m->pairs);
        return NULL;
    }
    Py_RETURN_NONE;
}
