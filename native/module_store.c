/* module_store.c: Store, a store that this process has joined: its life, its
 * scrape, its numbers.  How a process finds one is in store.py. */
#include <stdlib.h>

#include "module.h"

store_object *
as_store(module_state *state, PyObject *object)
{
    /* Not isinstance: that believes what an object says of itself. */
    if (PyType_IsSubtype(Py_TYPE(object), state->store_type))
        return (store_object *)object;
    PyErr_SetString(PyExc_TypeError, "expected a mpmetrics._native.Store");
    return NULL;
}

PyDoc_STRVAR(
    store_doc,
    "Store(fd, path=None, read_only=False)\n--\n\n"
    "A store that this process has joined. `fd` may be closed after.\n\n"
    "Raises StoreError if the file is no store of this layout.");

/* One that has joined nothing yet. */
static store_object *
alloc_store(PyTypeObject *type, PyObject *path)
{
    store_object *self = (store_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = state_of_base(type);
    mpm_store_release(&self->store.heap.fd, -1);
    self->path = Py_NewRef(path);
    self->pending = PySet_New(NULL);
    if (self->pending == NULL)
        Py_CLEAR(self);
    return self;
}

static PyObject *
opened(store_object *self, mpm_status status, const char *what)
{
    if (status == MPM_OK) {
        self->store.heap.wait = wait_without_gil;
        return (PyObject *)self;
    }
    raise_status(self->state, status, what); /* before errno changes */
    Py_DECREF(self);
    return NULL;
}

static PyObject *
store_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "path", "read_only", NULL};
    int fd, read_only = 0;
    PyObject *path = Py_None, *bytes = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|Op", names, &fd, &path,
                                     &read_only))
        return NULL;
    if (path != Py_None && !PyUnicode_FSConverter(path, &bytes))
        return NULL;
    store_object *self = alloc_store(type, path);
    if (self == NULL) {
        Py_XDECREF(bytes);
        return NULL;
    }
    const char *name = bytes == NULL ? NULL : PyBytes_AsString(bytes);
    mpm_status status = mpm_store_open(&self->store, fd, name, read_only != 0);
    Py_XDECREF(bytes);
    return opened(self, status, "joining a store");
}

#define FILELESS ((uint64_t)1 << 30) /* bytes of address space, at the most */

PyDoc_STRVAR(
    fileless_doc,
    "fileless($type, fd, max_series, /)\n--\n\n"
    "An empty store for this process and its forks, where no file may\n"
    "have a byte. `fd`, an empty file, may be closed after.");

static PyObject *
store_fileless(PyObject *type, PyObject *args)
{
    int fd;
    unsigned long long max_series;
    if (!PyArg_ParseTuple(args, "iK", &fd, &max_series))
        return NULL;
    store_object *self = alloc_store((PyTypeObject *)type, Py_None);
    if (self == NULL)
        return NULL;
    uint64_t reserve = mpm_sys_reserve(fd);
    mpm_status status = mpm_store_open_fileless(
        &self->store, fd, reserve < FILELESS ? reserve : FILELESS, max_series);
    return opened(self, status, "making a store");
}

static int
store_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((store_object *)op)->pending);
    return 0;
}

static int
store_clear(PyObject *op)
{
    Py_CLEAR(((store_object *)op)->pending);
    return 0;
}

static void
store_dealloc(PyObject *op)
{
    store_object *self = (store_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weak != NULL)
        PyObject_ClearWeakRefs(op);
    Py_CLEAR(self->pending);
    Py_CLEAR(self->path);
    mpm_store_close(&self->store);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(attach_doc,
             "attach($self, /)\n--\n\n"
             "Let others see that the store is used, by this process and its\n"
             "children. False: somebody is just removing or replacing it.");

static PyObject *
store_attach(PyObject *op, PyObject *unused)
{
    store_object *self = (store_object *)op;
    mpm_status status = mpm_attach(&self->store.heap);
    if (status != MPM_OK && status != MPM_BUSY)
        return raise_status(self->state, status, "attaching");
    return PyBool_FromLong(status == MPM_OK);
}

PyDoc_STRVAR(detach_doc, "detach($self, /)\n--\n\n"
                         "Take the mark of `attach` back; the mapping stays.");

static PyObject *
store_detach(PyObject *op, PyObject *unused)
{
    mpm_detach(&((store_object *)op)->store.heap);
    Py_RETURN_NONE;
}

/* ---- the catalog --------------------------------------------------------- */

static PyObject *
next_string(mpm_strings *strings)
{
    mpm_string next = mpm_strings_next(strings);
    return PyUnicode_DecodeUTF8(next.bytes, (Py_ssize_t)next.length, "replace");
}

/* The next so many as a tuple. */
static PyObject *
next_strings(mpm_strings *strings, uint32_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (uint32_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *text = next_string(strings);
        if (text == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SetItem(tuple, (Py_ssize_t)i, text);
    }
    return tuple;
}

static PyObject *
bounds_of(const mpm_shape *shape)
{
    const double *bounds = mpm_shape_bounds(shape);
    PyObject *tuple = PyTuple_New((Py_ssize_t)shape->bounds);
    for (uint32_t i = 0; tuple != NULL && i < shape->bounds; i++) {
        PyObject *bound = PyFloat_FromDouble(bounds[i]);
        if (bound == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SetItem(tuple, (Py_ssize_t)i, bound);
    }
    return tuple;
}

/* The rows, unless only of a damaged store there could be so many. */
static PyObject *
whole_or_error(const store_object *self, PyObject *rows,
               const mpm_budget *budget)
{
    if (rows == NULL || budget->left != 0)
        return rows;
    Py_DECREF(rows);
    return raise_status(self->state, MPM_EDAMAGED, "reading");
}

/* (index, birth, declared, kind, mode, flags, registry, name, documentation,
 * unit, labelnames, bounds, states); the stub's FamilyRow. */
static PyObject *
describe(mpm_store *s, mpm_id id, uint64_t declared, mpm_budget *budget)
{
    mpm_shape *shape;
    mpm_help *help;
    if (mpm_family_copy(s, id, &shape, &help) != MPM_OK)
        return Py_NewRef(Py_None);
    mpm_budget_spend(budget, shape->bytes + help->bytes);
    const char *text = (const char *)(help + 1);
    mpm_strings strings = mpm_shape_strings(shape);
    PyObject *registry = next_string(&strings), *name = next_string(&strings);
    PyObject *labelnames = next_strings(&strings, shape->labels);
    PyObject *states = next_strings(&strings, shape->states);
    PyObject *row = Py_BuildValue(
        "(KKKIIINNNNNNN)", id.index, id.birth, declared, shape->kind,
        shape->mode, shape->flags, registry, name,
        PyUnicode_DecodeUTF8(text, (Py_ssize_t)help->help, "replace"),
        PyUnicode_DecodeUTF8(text + help->help, (Py_ssize_t)help->unit,
                             "replace"),
        labelnames, bounds_of(shape), states);
    free(shape);
    free(help);
    return row;
}

PyDoc_STRVAR(catalog_doc, "catalog($self, /)\n--\n\n"
                          "Every living family, in the order of the catalog.");

static PyObject *
store_catalog(PyObject *op, PyObject *unused)
{
    store_object *self = (store_object *)op;
    mpm_store *s = &self->store;
    mpm_budget budget = mpm_budget_of(&s->heap);
    uint64_t families = mpm_family_count(s);
    PyObject *rows = PyList_New(0);
    for (uint64_t i = 0; rows != NULL && i < families && budget.left != 0;
         i++) {
        mpm_family *f = mpm_family_at(s, i);
        mpm_id id = {i, f == NULL ? 0 : mpm_load_acquire(&f->birth)};
        if (id.birth == 0)
            continue;
        PyObject *row =
            describe(s, id, mpm_load_acquire(&f->declared), &budget);
        if (row == NULL || (row != Py_None && PyList_Append(rows, row) != 0))
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    return whole_or_error(self, rows, &budget);
}

/* Reads pairs (index, birth) into memory of its own; NULL with an exception. */
static mpm_id *
ids_of(PyObject *pairs, Py_ssize_t *count)
{
    PyObject *list = PySequence_List(pairs);
    *count = list == NULL ? 0 : PyList_Size(list);
    mpm_id *ids = list == NULL ? NULL : calloc((size_t)*count + 1, sizeof *ids);
    if (list != NULL && ids == NULL)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; ids != NULL && i < *count; i++) {
        unsigned long long index, birth;
        if (!PyArg_ParseTuple(PyList_GetItem(list, i), "KK", &index, &birth)) {
            free(ids);
            ids = NULL;
            break;
        }
        ids[i] = (mpm_id){index, birth};
    }
    Py_XDECREF(list);
    return ids;
}

PyDoc_STRVAR(forget_doc,
             "forget($self, ids, /)\n--\n\n"
             "Remove those of these families that no living process has "
             "declared.");

static PyObject *
store_forget(PyObject *op, PyObject *arg)
{
    mpm_store *s = &((store_object *)op)->store;
    Py_ssize_t count;
    mpm_id *ids = ids_of(arg, &count);
    if (ids == NULL)
        return NULL;
    mpm_store_enter(s);
    if (!s->heap.read_only && mpm_lock_acquire(&s->heap) == MPM_OK) {
        for (Py_ssize_t i = 0; i < count; i++)
            mpm_family_forget(s, ids[i]);
        mpm_lock_release(&s->heap);
    }
    free(ids);
    Py_RETURN_NONE;
}

/* ---- scraping ------------------------------------------------------------ */

PyDoc_STRVAR(render_doc,
             "render($self, ids, openmetrics, created, shard='', /)\n--\n\n"
             "The text of these families, in this order, as bytes.\n\n"
             "Runs without the GIL. `created`: with the _created series.\n"
             "`shard`: a label's name; then each shard is shown by itself.");

static PyObject *
store_render(PyObject *op, PyObject *args)
{
    store_object *self = (store_object *)op;
    PyObject *pairs;
    int openmetrics, created;
    const char *label = "";
    Py_ssize_t count, length = 0;
    mpm_buffer out = {0};
    mpm_status status;
    if (!PyArg_ParseTuple(args, "Opp|s#", &pairs, &openmetrics, &created,
                          &label, &length))
        return NULL;
    mpm_page page = {.format = openmetrics ? MPM_OPENMETRICS : MPM_TEXT_0_0_4,
                     .created = created != 0,
                     .shard = {label, (uint32_t)length}};
    mpm_id *ids = ids_of(pairs, &count);
    if (ids == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = mpm_render(&self->store, ids, (size_t)count, &page, &out);
    Py_END_ALLOW_THREADS
    free(ids);
    PyObject *bytes =
        status != MPM_OK
            ? raise_status(self->state, status, "rendering")
            : PyBytes_FromStringAndSize(out.bytes, (Py_ssize_t)out.length);
    mpm_buffer_free(&out);
    return bytes;
}

static PyObject *
parts_of(const mpm_shape *shape, const mpm_walk *w)
{
    mpm_part *parts;
    size_t count = mpm_series_parts(w, shape, &parts);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *pair = Py_BuildValue("(Kd)", parts[i].pid, parts[i].value);
        if (pair == NULL || PyList_Append(list, pair) != 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    free(parts);
    return list;
}

static PyObject *
buckets_of(const mpm_shape *shape, const mpm_reading *reading)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < shape->bounds; i++) {
        PyObject *n = PyLong_FromUnsignedLongLong(reading->buckets[i]);
        if (n == NULL || PyList_Append(list, n) != 0)
            Py_CLEAR(list);
        Py_XDECREF(n);
    }
    return list;
}

/* Pairs of a part and its exemplar (text, value, time); None: never any. */
static PyObject *
exemplars_of(const mpm_shape *shape, const mpm_walk *w)
{
    uint32_t parts = shape->kind == MPM_HISTOGRAM ? shape->bounds
                     : shape->kind == MPM_COUNTER ? 1
                                                  : 0;
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < parts; i++) {
        mpm_exemplar e;
        if (!mpm_exemplar_read(w, shape, i, &e))
            continue;
        PyObject *row = Py_BuildValue("(Iy#dd)", i, e.text, (Py_ssize_t)e.bytes,
                                      e.value, e.time);
        if (row == NULL || PyList_Append(list, row) != 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

/* (labelvalues, info, created, value, count, buckets, parts, exemplars); the
 * stub's SeriesRow.  What its kind doesn't have is None; of one shard there are
 * neither parts nor exemplars. */
static PyObject *
series_row(mpm_store *s, const mpm_shape *shape, const mpm_walk *w,
           const mpm_reading *reading, bool whole)
{
    double created = mpm_double(mpm_load_acquire(&w->series->created));
    PyObject *value, *count = Py_NewRef(Py_None);
    PyObject *buckets = Py_NewRef(Py_None), *parts = Py_NewRef(Py_None);
    unsigned mode = shape->mode & ~(unsigned)MPM_MODE_LIVE;
    value = PyFloat_FromDouble(reading->value);
    if (shape->kind == MPM_SUMMARY) {
        SET_REF(count, PyLong_FromUnsignedLongLong(reading->count));
    } else if (shape->kind == MPM_ENUM) {
        SET_REF(count, PyLong_FromUnsignedLongLong(reading->state));
    } else if (shape->kind == MPM_HISTOGRAM) {
        SET_REF(buckets, buckets_of(shape, reading));
    } else if (shape->kind == MPM_GAUGE_MODE && mode == MPM_MODE_ALL && whole) {
        SET_REF(parts, parts_of(shape, w));
    } else if (shape->kind == MPM_GAUGE_MODE && !reading->written) {
        SET_REF(value, Py_NewRef(Py_None));
    } else if (shape->kind == MPM_GAUGE_MODE && mode == MPM_MODE_MOSTRECENT) {
        SET_REF(count, PyFloat_FromDouble(reading->time));
    }
    mpm_strings strings = mpm_text_strings(w->text);
    PyObject *values = next_strings(&strings, w->text->values);
    PyObject *info = next_strings(&strings, 2 * w->text->info);
    return Py_BuildValue("(NNdNNNNN)", values, info, created, value, count,
                         buckets, parts,
                         whole ? exemplars_of(shape, w) : PyList_New(0));
}

PyDoc_STRVAR(read_doc,
             "read($self, index, birth, shard=0, /)\n--\n\n"
             "Every series of a family, read over all shards.\n\n"
             "`shard`: those that this one counted in, read of it alone.");

static PyObject *
store_read(PyObject *op, PyObject *args)
{
    store_object *self = (store_object *)op;
    mpm_store *s = &self->store;
    unsigned long long index, birth, shard = 0;
    mpm_shape *shape;
    mpm_help *help;
    mpm_walk w;
    if (!PyArg_ParseTuple(args, "KK|K", &index, &birth, &shard))
        return NULL;
    mpm_id id = {index, birth};
    PyObject *rows = PyList_New(0);
    if (rows == NULL || mpm_family_copy(s, id, &shape, &help) != MPM_OK)
        return rows;
    mpm_budget budget = mpm_budget_of(&s->heap);
    mpm_reading reading = {.budget = &budget};
    reading.buckets = calloc(2 * (size_t)shape->bounds + 1, 8);
    if (reading.buckets != NULL) {
        reading.scratch = reading.buckets + shape->bounds;
    } else {
        Py_CLEAR(rows);
        PyErr_NoMemory();
    }
    mpm_walk_begin(&w, s, id, &budget);
    while (rows != NULL && mpm_walk_next(&w)) {
        if (w.text->values != shape->labels)
            continue; /* damage */
        if (shard == 0)
            mpm_series_read(s, shape, w.series, w.id.birth, &reading);
        else if (!mpm_series_read_shard(s, shape, w.series, w.id.birth, shard,
                                        &reading))
            continue;
        PyObject *row = series_row(s, shape, &w, &reading, shard == 0);
        if (row == NULL ||
            (mpm_walk_holds(&w) && PyList_Append(rows, row) != 0))
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    mpm_walk_end(&w);
    free(reading.buckets);
    free(shape);
    free(help);
    return whole_or_error(self, rows, &budget);
}

/* ---- what is private ----------------------------------------------------- */

PyDoc_STRVAR(settle_doc,
             "settle($self, /)\n--\n\n"
             "Try now to share what this process counts privately.\n\n"
             "Returns how many metrics still are private.");

static PyObject *
store_settle(PyObject *op, PyObject *unused)
{
    store_object *self = (store_object *)op;
    look_for_name(self);
    if (PySet_Size(self->pending) == 0)
        return PyLong_FromLong(0);
    PyObject *all = PySequence_List(self->pending);
    for (Py_ssize_t i = 0; all != NULL && i < PyList_Size(all); i++)
        if (!metric_open((metric_object *)PyList_GetItem(all, i), true))
            PyErr_Clear();
    if (all == NULL)
        return NULL;
    Py_DECREF(all);
    return PyLong_FromSsize_t(PySet_Size(self->pending));
}

/* ---- numbers ------------------------------------------------------------- */

typedef struct {
    uint64_t processes, free;
} shard_counts;

static shard_counts
count_shards(mpm_store *s)
{
    shard_counts counts = {0, 0};
    mpm_shard *shard;
    for (uint64_t i = 1; (shard = mpm_shard_at(s, i)) != NULL; i++) {
        if (mpm_lease_is_alive(&s->heap, mpm_load_acquire(&shard->owner)))
            counts.processes++;
        else
            counts.free++;
    }
    return counts;
}

PyDoc_STRVAR(shards_doc, "shards($self, /)\n--\n\n"
                         "(index, owner's pid, since, alive) of each shard "
                         "that one process writes.");

static PyObject *
store_shards(PyObject *op, PyObject *unused)
{
    mpm_store *s = &((store_object *)op)->store;
    mpm_shard *shard;
    PyObject *rows = PyList_New(0);
    for (uint64_t i = 1; rows != NULL && (shard = mpm_shard_at(s, i)) != NULL;
         i++) {
        bool alive =
            mpm_lease_is_alive(&s->heap, mpm_load_acquire(&shard->owner));
        PyObject *row =
            Py_BuildValue("KKdO", i, mpm_load_acquire(&shard->pid),
                          (double)mpm_load_acquire(&shard->since_ns) / 1e9,
                          alive ? Py_True : Py_False);
        if (row == NULL || PyList_Append(rows, row) != 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    return rows;
}

PyDoc_STRVAR(declarer_doc,
             "declarer($self, index, birth, /)\n--\n\n"
             "The pid of a living process, other than this one, that has\n"
             "declared the family; None: there is none.");

static PyObject *
store_declarer(PyObject *op, PyObject *args)
{
    mpm_store *s = &((store_object *)op)->store;
    unsigned long long index, birth;
    if (!PyArg_ParseTuple(args, "KK", &index, &birth))
        return NULL;
    mpm_shard *shard = mpm_shard_declarer(s, (mpm_id){index, birth});
    return shard == NULL
               ? Py_NewRef(Py_None)
               : PyLong_FromUnsignedLongLong(mpm_load_acquire(&shard->pid));
}

PyDoc_STRVAR(statistics_doc, "statistics($self, /)\n--\n\n"
                             "Numbers about the store, by name.");

static PyObject *
store_statistics(PyObject *op, PyObject *unused)
{
    store_object *self = (store_object *)op;
    mpm_store *s = &self->store;
    mpm_header *header = s->heap.header;
    mpm_root *root = s->root;
    shard_counts shards = count_shards(s);
    return Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:n,s:d,s:O}",
        "file_bytes", mpm_load_acquire(&header->size), "used_bytes",
        mpm_load_acquire(&header->used_bytes), "blocks",
        mpm_load_acquire(&header->used_blocks), "reserve_bytes",
        s->heap.reserve, "leases", mpm_load_acquire(&header->leases) - 1,
        "processes", shards.processes, "free_shards", shards.free, "series",
        mpm_load_acquire(&root->live), "max_series",
        mpm_load_acquire(&root->max_series), "dropped",
        mpm_load_acquire(&root->dropped), "unsettled",
        mpm_load_acquire(&root->unsettled), "repairs",
        mpm_load_acquire(&root->repairs), "lost", mpm_load_acquire(&root->lost),
        "private", PySet_Size(self->pending), "born",
        (double)header->born_ns / 1e9, "growth_refused",
        mpm_load_acquire(&header->wants) != 0 ? Py_True : Py_False);
}

static PyObject *
get_declarations(PyObject *op, void *unused)
{
    mpm_root *root = ((store_object *)op)->store.root;
    return PyLong_FromUnsignedLongLong(mpm_load_acquire(&root->declarations));
}

static PyObject *
get_leases(PyObject *op, void *unused)
{
    mpm_header *header = ((store_object *)op)->store.heap.header;
    uint64_t leases = mpm_load_acquire(&header->leases);
    return PyLong_FromUnsignedLongLong(leases - 1); /* but for the maker's */
}

static PyObject *
get_identity(PyObject *op, void *unused)
{
    return identity_text(((store_object *)op)->store.heap.header);
}

PyDoc_STRVAR(check_doc,
             "check($self, /)\n--\n\n"
             "None, or the first invariant of core.h that doesn't hold.\n\n"
             "Takes the lock for a walk over all that is in the store.");

static PyObject *
store_check(PyObject *op, PyObject *unused)
{
    store_object *self = (store_object *)op;
    mpm_store *s = &self->store;
    uint64_t unreached;
    mpm_store_enter(s);
    mpm_status status = mpm_lock_acquire(&s->heap);
    if (status != MPM_OK)
        return raise_status(self->state, status, "checking");
    const char *broken = mpm_store_check(s, &unreached);
    mpm_lock_release(&s->heap);
    if (broken == NULL && unreached != 0) /* here no user has blocks */
        broken = "blocks that nothing links";
    return broken == NULL ? Py_NewRef(Py_None) : PyUnicode_FromString(broken);
}

/* ---- the type ------------------------------------------------------------ */

static PyMethodDef methods[] = {
    {"fileless", store_fileless, METH_VARARGS | METH_CLASS, fileless_doc},
    {"attach", store_attach, METH_NOARGS, attach_doc},
    {"detach", store_detach, METH_NOARGS, detach_doc},
    {"catalog", store_catalog, METH_NOARGS, catalog_doc},
    {"forget", store_forget, METH_O, forget_doc},
    {"render", store_render, METH_VARARGS, render_doc},
    {"read", store_read, METH_VARARGS, read_doc},
    {"check", store_check, METH_NOARGS, check_doc},
    {"settle", store_settle, METH_NOARGS, settle_doc},
    {"shards", store_shards, METH_NOARGS, shards_doc},
    {"declarer", store_declarer, METH_VARARGS, declarer_doc},
    {"statistics", store_statistics, METH_NOARGS, statistics_doc},
    {NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(store_object, weak), READONLY,
     NULL},
    {"path", T_OBJECT, offsetof(store_object, path), READONLY,
     "Where the file is; None: nowhere, it is for this process and its forks."},
    {NULL},
};

static PyGetSetDef getters[] = {
    {"declarations", get_declarations, NULL,
     "Changes whenever a family is declared or goes.", NULL},
    {"leases", get_leases, NULL,
     "How many processes have changed the store so far.", NULL},
    {"identity", get_identity, NULL, "Tells two files of one path apart.",
     NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)store_doc},
    {Py_tp_new, store_new},
    {Py_tp_dealloc, store_dealloc},
    {Py_tp_traverse, store_traverse},
    {Py_tp_clear, store_clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, getters},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "mpmetrics._native.Store",
    .basicsize = sizeof(store_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

PyTypeObject *
make_store_type(PyObject *module)
{
    return add_type(module, &spec, NULL, NULL);
}
