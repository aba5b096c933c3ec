/* module_family.c: Family, a metric as declared: what all its series share. */
#include <stdlib.h>

#include "module.h"

/* ---- building the blocks ------------------------------------------------- */

/* Strings whose UTF-8 is kept until strings_free. */
typedef struct {
    mpm_string *at;
    PyObject **keep;
    uint32_t count;
} strings;

static void
strings_free(strings *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        Py_XDECREF(s->keep[i]);
    free(s->keep);
    free(s->at);
}

/* registry, name, label names, states, in this order. */
static bool
strings_fill(strings *s, PyObject *const *singles, uint32_t count,
             PyObject *const *tuples, uint32_t tuple_count)
{
    for (uint32_t i = 0; i < count; i++, s->count++)
        if (!utf8_of(singles[i], &s->keep[s->count], &s->at[s->count]))
            return false;
    for (uint32_t t = 0; t < tuple_count; t++)
        for (Py_ssize_t i = 0; i < PyTuple_Size(tuples[t]); i++, s->count++)
            if (!utf8_of(PyTuple_GetItem(tuples[t], i), &s->keep[s->count],
                         &s->at[s->count]))
                return false;
    return true;
}

/* False: an exception, and nothing to free. */
static bool
strings_get(strings *s, PyObject *const *singles, uint32_t count,
            PyObject *const *tuples, uint32_t tuple_count)
{
    uint32_t all = count;
    for (uint32_t i = 0; i < tuple_count; i++)
        all += (uint32_t)PyTuple_Size(tuples[i]);
    s->count = 0;
    s->at = calloc(all, sizeof *s->at);
    s->keep = calloc(all, sizeof *s->keep);
    if (s->at == NULL || s->keep == NULL)
        PyErr_NoMemory();
    else if (strings_fill(s, singles, count, tuples, tuple_count))
        return true;
    strings_free(s);
    return false;
}

static void
add_strings(mpm_buffer *b, const strings *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        mpm_buffer_add(b, (const char *)&s->at[i].length, 4);
    for (uint32_t i = 0; i < s->count; i++)
        mpm_buffer_add(b, s->at[i].bytes, s->at[i].length);
}

/* The finished block, or NULL with an exception. */
static void *
finish(mpm_buffer *b, uint32_t limit)
{
    uint32_t bytes = (uint32_t)b->length;
    if (b->failed || b->length > limit) {
        if (b->failed)
            PyErr_NoMemory();
        else
            PyErr_SetString(PyExc_ValueError, "the declaration is too long");
        mpm_buffer_free(b);
        return NULL;
    }
    memcpy(b->bytes, &bytes, sizeof bytes);
    return b->bytes;
}

static mpm_shape *
build_shape(family_object *self, unsigned kind, unsigned mode, unsigned flags)
{
    mpm_buffer b = {0};
    strings s;
    mpm_shape *shape = NULL;
    mpm_shape head = {.kind = kind, .mode = mode, .flags = flags};
    head.labels = (uint32_t)PyTuple_Size(self->labelnames);
    head.states = (uint32_t)PyTuple_Size(self->states);
    head.bounds = (uint32_t)PyTuple_Size(self->bounds);
    mpm_buffer_add(&b, (const char *)&head, sizeof head);
    for (uint32_t i = 0; i < head.bounds; i++) {
        double x = PyFloat_AsDouble(PyTuple_GetItem(self->bounds, i));
        mpm_buffer_add(&b, (const char *)&x, sizeof x);
    }
    PyObject *singles[] = {self->registry, self->name};
    PyObject *tuples[] = {self->labelnames, self->states};
    if (!PyErr_Occurred() && strings_get(&s, singles, 2, tuples, 2)) {
        add_strings(&b, &s);
        shape = finish(&b, MPM_SHAPE_LIMIT);
        strings_free(&s);
    } else {
        mpm_buffer_free(&b);
    }
    if (shape != NULL && !mpm_shape_is_valid(shape, shape->bytes)) {
        PyErr_SetString(PyExc_ValueError, "not a declaration of that kind");
        free(shape);
        shape = NULL;
    }
    return shape;
}

static mpm_help *
build_help(family_object *self)
{
    mpm_buffer b = {0};
    strings s;
    mpm_help *help = NULL, head = {0};
    PyObject *singles[] = {self->documentation, self->unit};
    if (!strings_get(&s, singles, 2, NULL, 0))
        return NULL;
    head.help = s.at[0].length;
    head.unit = s.at[1].length;
    mpm_buffer_add(&b, (const char *)&head, sizeof head);
    mpm_buffer_add(&b, s.at[0].bytes, s.at[0].length);
    mpm_buffer_add(&b, s.at[1].bytes, s.at[1].length);
    help = finish(&b, MPM_SHAPE_LIMIT);
    strings_free(&s);
    return help;
}

/* ---- declaring ----------------------------------------------------------- */

mpm_status
family_declare(family_object *self, bool again)
{
    mpm_store *s = &self->store->store;
    mpm_status status = mpm_shard_own(s);
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status != MPM_OK)
        return status;
    mpm_id before = self->id;
    status = mpm_family_declare(s, self->shape, self->help, again, &self->id);
    if (status == MPM_OK && self->id.birth != before.birth)
        mpm_family_release(s, before); /* dead, and declared anew */
    mpm_lock_release(&s->heap);
    return status;
}

PyDoc_STRVAR(release_doc,
             "release($self, /)\n--\n\n"
             "This process has let the family go; with its last declarer it "
             "goes itself.");

static PyObject *
release(PyObject *op, PyObject *unused)
{
    family_object *self = (family_object *)op;
    mpm_store *s = &self->store->store;
    if (self->id.birth == 0)
        Py_RETURN_NONE;
    mpm_store_enter(s);
    mpm_family_release(s, self->id);
    if (mpm_lock_acquire(&s->heap) == MPM_OK) {
        mpm_family_forget(s, self->id);
        mpm_lock_release(&s->heap);
    } else {
        s->unswept = true;
    }
    Py_RETURN_NONE;
}

static PyObject *
get_id(PyObject *op, void *unused)
{
    mpm_id id = ((family_object *)op)->id;
    return Py_BuildValue("(KK)", id.index, id.birth);
}

static PyObject *
get_shape(PyObject *op, void *unused)
{
    const mpm_shape *shape = ((family_object *)op)->shape;
    return Py_BuildValue("(III)", shape->kind, shape->mode, shape->flags);
}

/* ---- the type ------------------------------------------------------------ */

PyDoc_STRVAR(family_doc,
             "Family(store, kind, mode, flags, registry, name, documentation, "
             "unit, labelnames, bounds, states)\n--\n\n"
             "A metric as declared. Names are complete and valid already.");

static PyObject *
family_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"store",      "kind",   "mode",          "flags",
                            "registry",   "name",   "documentation", "unit",
                            "labelnames", "bounds", "states",        NULL};
    module_state *state = state_of(type);
    PyObject *store, *registry, *name, *documentation, *unit, *labelnames;
    PyObject *bounds, *states;
    unsigned kind, mode, flags;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OIIIUUUUO!O!O!", names, &store, &kind, &mode, &flags,
            &registry, &name, &documentation, &unit, &PyTuple_Type, &labelnames,
            &PyTuple_Type, &bounds, &PyTuple_Type, &states))
        return NULL;
    if (as_store(state, store) == NULL)
        return NULL;
    family_object *self = (family_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->state = state;
    self->store = (store_object *)Py_NewRef(store);
    self->registry = Py_NewRef(registry);
    self->name = Py_NewRef(name);
    self->documentation = Py_NewRef(documentation);
    self->unit = Py_NewRef(unit);
    self->labelnames = Py_NewRef(labelnames);
    self->bounds = Py_NewRef(bounds);
    self->states = Py_NewRef(states);
    self->shape = build_shape(self, kind, mode, flags);
    self->help = self->shape == NULL ? NULL : build_help(self);
    if (self->help == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
family_traverse(PyObject *op, visitproc visit, void *arg)
{
    family_object *self = (family_object *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->store);
    Py_VISIT(self->overflow);
    return 0;
}

static int
family_clear(PyObject *op)
{
    Py_CLEAR(((family_object *)op)->overflow);
    return 0;
}

static void
family_dealloc(PyObject *op)
{
    family_object *self = (family_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->overflow);
    Py_CLEAR(self->store);
    Py_CLEAR(self->registry);
    Py_CLEAR(self->name);
    Py_CLEAR(self->documentation);
    Py_CLEAR(self->unit);
    Py_CLEAR(self->labelnames);
    Py_CLEAR(self->bounds);
    Py_CLEAR(self->states);
    free(self->shape);
    free(self->help);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"release", release, METH_NOARGS, release_doc},
    {NULL},
};

#define MEMBER(name)                                                           \
    {                                                                          \
#name, T_OBJECT, offsetof(family_object, name), READONLY, NULL         \
    }

static PyMemberDef members[] = {
    MEMBER(store),         MEMBER(registry), MEMBER(name),
    MEMBER(documentation), MEMBER(unit),     MEMBER(labelnames),
    MEMBER(bounds),        MEMBER(states),   {NULL},
};

static PyGetSetDef getters[] = {
    {"shape", get_shape, NULL, "(kind, mode, flags)", NULL},
    {"id", get_id, NULL, "(index, birth); birth 0: not declared yet.", NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)family_doc},
    {Py_tp_new, family_new},
    {Py_tp_dealloc, family_dealloc},
    {Py_tp_traverse, family_traverse},
    {Py_tp_clear, family_clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, getters},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "mpmetrics._native.Family",
    .basicsize = sizeof(family_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

/* By the destructor, which no other type has: needs no module state. */
bool
is_family(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           PyType_GetSlot(type, Py_tp_dealloc) == (void *)family_dealloc;
}

PyTypeObject *
make_family_type(PyObject *module)
{
    return add_type(module, &spec, NULL, NULL);
}
