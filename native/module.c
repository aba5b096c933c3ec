/* module.c: the extension mpmetrics._native: its state, its functions, and the
 * one place where a status becomes an exception. */
#include "module.h"

module_state *
state_of(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

module_state *
state_of_base(PyTypeObject *type)
{
    for (; type != NULL; type = PyType_GetSlot(type, Py_tp_base)) {
        void *state = PyType_GetModuleState(type);
        if (state != NULL)
            return state;
        PyErr_Clear(); /* made by somebody else: its base, then */
    }
    return NULL;
}

PyObject *
raise_status(const module_state *state, mpm_status status, const char *what)
{
    if (status == MPM_EPRIVATE)
        return PyErr_NoMemory();
    if (status == MPM_ESYSTEM)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyErr_Format(status == MPM_ELAYOUT ? state->layout_error : state->error,
                 "%s: %s", what, mpm_status_text(status));
    return NULL;
}

PyObject *
identity_text(const mpm_header *header)
{
    char text[2 * 16 + 2]; /* PyUnicode_FromFormat has no %llx before 3.12 */
    PyOS_snprintf(text, sizeof text, "%llx-%llx",
                  (unsigned long long)header->identity[0],
                  (unsigned long long)header->identity[1]);
    return PyUnicode_FromString(text);
}

bool
utf8_of(PyObject *text, PyObject **keep, mpm_string *utf8)
{
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    Py_INCREF(text);
    *keep = text;
    if (bytes == NULL) {
        PyErr_Clear();
        Py_DECREF(text);
        *keep = PyUnicode_AsEncodedString(text, "utf-8", "replace");
        char *encoded;
        if (*keep == NULL ||
            PyBytes_AsStringAndSize(*keep, &encoded, &length) != 0)
            return false;
        bytes = encoded;
    }
    if (length > UINT32_MAX / 2) {
        PyErr_SetString(PyExc_ValueError, "text of more than 2 GiB");
        Py_CLEAR(*keep);
        return false;
    }
    utf8->bytes = bytes;
    utf8->length = (uint32_t)length;
    return true;
}

void
tell(store_object *store, event what, const char *why)
{
    PyObject *function = store->state->told[what];
    if (store->has_told[what] || function == NULL)
        return;
    store->has_told[what] = true; /* first: the function may count something */
    PyObject *done =
        PyObject_CallFunction(function, "Os", (PyObject *)store, why);
    if (done == NULL)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(done);
}

void
look_for_name(store_object *store)
{
    if (!store->has_told[ON_NAMELESS] &&
        mpm_heap_is_nameless(&store->store.heap))
        tell(store, ON_NAMELESS, "its file was deleted or replaced");
}

PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec, PyObject *bases, const char *base)
{
    PyObject *over = NULL;
    if (base != NULL && (over = PyObject_GetAttrString(bases, base)) == NULL)
        return NULL;
    PyObject *type = PyType_FromModuleAndSpec(module, spec, over);
    Py_XDECREF(over);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) != 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

/* ---- functions ----------------------------------------------------------- */

PyDoc_STRVAR(format_store_doc,
             "format_store($module, fd, max_series, reserve=0, /)\n--\n\n"
             "Lay out an empty store in an empty file of one's own.\n\n"
             "`reserve` is the most bytes it may ever have; 0: what suits the\n"
             "file system and the limits of this process, at most 64 GiB.\n"
             "Raises StoreError or OSError.");

static PyObject *
format_store(PyObject *module, PyObject *args)
{
    int fd;
    unsigned long long max_series, reserve = 0;
    if (!PyArg_ParseTuple(args, "iK|K", &fd, &max_series, &reserve))
        return NULL;
    if (reserve == 0)
        reserve = mpm_sys_reserve(fd);
    mpm_status status = mpm_store_format(fd, reserve, max_series);
    if (status != MPM_OK)
        return raise_status(PyModule_GetState(module), status,
                            "making a store");
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    claim_doc,
    "claim($module, fd, /)\n--\n\n"
    "Refuse newcomers to the store in this file until `fd` is closed.\n\n"
    "False if a process has the store; only after True may its path be\n"
    "unlinked or replaced. `fd` must be a description of one's own.");

static PyObject *
claim(PyObject *module, PyObject *arg)
{
    bool claimed;
    int fd = PyObject_AsFileDescriptor(arg);
    if (fd < 0)
        return NULL;
    mpm_status status = mpm_claim(fd, &claimed);
    if (status != MPM_OK)
        return raise_status(PyModule_GetState(module), status, "claiming");
    return PyBool_FromLong(claimed);
}

PyDoc_STRVAR(filesystem_doc,
             "filesystem($module, fd, /)\n--\n\n"
             "\"memory\" (tmpfs, ramfs), \"disk\" (ext4, xfs) or \"unknown\".");

static PyObject *
filesystem(PyObject *module, PyObject *arg)
{
    static const char *const names[] = {
        [MPM_FS_UNKNOWN] = "unknown",
        [MPM_FS_MEMORY] = "memory",
        [MPM_FS_DISK] = "disk",
    };
    int fd = PyObject_AsFileDescriptor(arg);
    if (fd < 0)
        return NULL;
    return PyUnicode_FromString(names[mpm_sys_filesystem(fd)]);
}

PyDoc_STRVAR(float_text_doc, "float_text($module, value, /)\n--\n\n"
                             "A number as a scrape shows it: 0.1, 1.0, +Inf, "
                             "1e+06.");

static PyObject *
float_text(PyObject *module, PyObject *arg)
{
    char text[MPM_FLOAT_MAX];
    double x = PyFloat_AsDouble(arg);
    if (x == -1.0 && PyErr_Occurred())
        return NULL;
    size_t length = mpm_float_write(text, x);
    return PyUnicode_FromStringAndSize(text, (Py_ssize_t)length);
}

PyDoc_STRVAR(epoch_doc, "epoch($module, /)\n--\n\n"
                        "A number of this process that changes at every fork.");

static PyObject *
epoch(PyObject *module, PyObject *unused)
{
    return PyLong_FromUnsignedLongLong(mpm_epoch());
}

PyDoc_STRVAR(
    on_doc,
    "on($module, event, callback, /)\n--\n\n"
    "Call `callback(store, why)` when that happens to a store, once:\n\n"
    "\"private\": something counts in this process's own memory;\n"
    "\"nameless\": its file has no name any more; \"shard\": this process\n"
    "has begun to write in it, and again in each forked child.");

static PyObject *
on(PyObject *module, PyObject *args)
{
    static const char *const names[EVENTS] = {
        [ON_PRIVATE] = "private",
        [ON_NAMELESS] = "nameless",
        [ON_SHARD] = "shard",
    };
    const char *name;
    PyObject *callback;
    module_state *state = PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "sO", &name, &callback))
        return NULL;
    for (size_t i = 0; i < EVENTS; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        SET_REF(state->told[i], Py_NewRef(callback));
        Py_RETURN_NONE;
    }
    PyErr_Format(PyExc_ValueError, "there is no event %s", name);
    return NULL;
}

PyDoc_STRVAR(is_attached_doc,
             "is_attached($module, fd, /)\n--\n\n"
             "Has any process the store in this file? Any descriptor will do.");

static PyObject *
is_attached(PyObject *module, PyObject *arg)
{
    int fd = PyObject_AsFileDescriptor(arg);
    return fd < 0 ? NULL : PyBool_FromLong(mpm_is_attached(fd));
}

PyDoc_STRVAR(
    survive_truncation_doc,
    "survive_truncation($module, /)\n--\n\n"
    "From now on a store that is truncated while it is mapped is no SIGBUS.\n\n"
    "What is read of it is zeros; `truncated_pages()` tells. Takes SIGBUS for\n"
    "the whole process: for programs that only look.");

static PyObject *
survive_truncation(PyObject *module, PyObject *unused)
{
    mpm_status status = mpm_truncated_survive();
    if (status != MPM_OK)
        return raise_status(PyModule_GetState(module), status,
                            "surviving truncation");
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    truncated_pages_doc,
    "truncated_pages($module, /)\n--\n\n"
    "How many pages of mapped stores were truncated away and touched.");

static PyObject *
truncated_pages(PyObject *module, PyObject *unused)
{
    return PyLong_FromUnsignedLongLong(mpm_truncated_pages());
}

PyDoc_STRVAR(
    derive_doc,
    "derive($module, bases, /)\n--\n\n"
    "Make Counter to Enum and Timer, over the classes CounterBase to\n"
    "TimerBase that `bases` has; metrics.py calls it once. Its MetricType\n"
    "becomes the metaclass of the metrics' classes; exemplars go through\n"
    "its encode_exemplar.");

static PyObject *
derive(PyObject *module, PyObject *bases)
{
    module_state *state = PyModule_GetState(module);
    if (state->timer_type != NULL) {
        PyErr_SetString(PyExc_ValueError, "the classes are made already");
        return NULL;
    }
    state->encode_exemplar = PyObject_GetAttrString(bases, "encode_exemplar");
    if (state->encode_exemplar == NULL)
        return NULL;
    state->timer_type = make_timer_type(module, bases);
    if (state->timer_type == NULL || !make_metric_types(module, bases))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"derive", derive, METH_O, derive_doc},
    {"format_store", format_store, METH_VARARGS, format_store_doc},
    {"format_heap", format_heap, METH_VARARGS, format_heap_doc},
    {"claim", claim, METH_O, claim_doc},
    {"filesystem", filesystem, METH_O, filesystem_doc},
    {"float_text", float_text, METH_O, float_text_doc},
    {"epoch", epoch, METH_NOARGS, epoch_doc},
    {"is_attached", is_attached, METH_O, is_attached_doc},
    {"survive_truncation", survive_truncation, METH_NOARGS,
     survive_truncation_doc},
    {"truncated_pages", truncated_pages, METH_NOARGS, truncated_pages_doc},
    {"on", on, METH_VARARGS, on_doc},
    {NULL},
};

/* ---- the module ---------------------------------------------------------- */

PyDoc_STRVAR(error_doc,
             "A store can't be made, joined or read; the message says why.");
PyDoc_STRVAR(layout_error_doc,
             "The file is no store, or one of another layout or byte order.");

static int
execute(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (mpm_epoch_start() != MPM_OK) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    state->error = PyErr_NewExceptionWithDoc("mpmetrics.StoreError", error_doc,
                                             PyExc_OSError, NULL);
    state->layout_error =
        state->error == NULL
            ? NULL
            : PyErr_NewExceptionWithDoc("mpmetrics.StoreLayoutError",
                                        layout_error_doc, state->error, NULL);
    if (state->layout_error == NULL ||
        PyModule_AddObjectRef(module, "StoreError", state->error) != 0 ||
        PyModule_AddObjectRef(module, "StoreLayoutError",
                              state->layout_error) != 0 ||
        PyModule_AddIntConstant(module, "LAYOUT", MPM_LAYOUT) != 0 ||
        PyModule_AddStringConstant(module, "BUILT_FOR", MPM_BUILT_FOR) != 0)
        return -1;
    state->store_type = make_store_type(module);
    state->family_type = make_family_type(module);
    if (state->store_type == NULL || state->family_type == NULL)
        return -1;
    if (!make_heap_types(module) || !make_atomic_types(module) ||
        !make_lock_type(module))
        return -1;
    return 0;
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->error);
    Py_VISIT(state->layout_error);
    for (size_t i = 0; i < EVENTS; i++)
        Py_VISIT(state->told[i]);
    Py_VISIT(state->encode_exemplar);
    Py_VISIT(state->store_type);
    Py_VISIT(state->family_type);
    Py_VISIT(state->timer_type);
    for (int i = 0; i < MPM_KINDS; i++)
        Py_VISIT(state->metric_types[i]);
    for (int i = 0; i < TOOLS; i++)
        Py_VISIT(state->tools[i]);
    return 0;
}

static int
clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->error);
    Py_CLEAR(state->layout_error);
    for (size_t i = 0; i < EVENTS; i++)
        Py_CLEAR(state->told[i]);
    Py_CLEAR(state->encode_exemplar);
    Py_CLEAR(state->store_type);
    Py_CLEAR(state->family_type);
    Py_CLEAR(state->timer_type);
    for (int i = 0; i < MPM_KINDS; i++)
        Py_CLEAR(state->metric_types[i]);
    for (int i = 0; i < TOOLS; i++)
        Py_CLEAR(state->tools[i]);
    return 0;
}

static void
free_module(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

PyDoc_STRVAR(doc, "The C core of mpmetrics: native/core.h is its map.");

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,  .m_name = "mpmetrics._native",
    .m_doc = doc,           .m_size = sizeof(module_state),
    .m_methods = functions, .m_slots = slots,
    .m_traverse = traverse, .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
