/* module_heap.c: Heap, shared memory for the toolkit's users, and the buffers
 * over its blocks.  How its file is made, found and removed is in heap.py. */
#include "module.h"

#define PATIENCE 60000000000ULL /* ns: a lock holder may be stopped that long */
#define PAUSE 1000000ULL        /* ns */
#define MANY (1u << 20)         /* bytes that are zeroed without the GIL */

void
wait_without_gil(uint64_t nanoseconds)
{
    Py_BEGIN_ALLOW_THREADS
    mpm_sys_sleep(nanoseconds);
    Py_END_ALLOW_THREADS
}

static PyObject *
raise_memory(const module_state *state, mpm_status status, const char *what)
{
    if (status == MPM_EMEMORY)
        return PyErr_Format(PyExc_MemoryError,
                            "%s: no room is left in the heap"
                            " or on its file system",
                            what);
    return raise_status(state, status, what);
}

static PyObject *
raise_gone(const module_state *state, unsigned long long start)
{
    return PyErr_Format(state->tools[TOOL_GONE],
                        "the block at %llu was freed; nothing is there, or "
                        "another block",
                        start);
}

/* ---- the heaps of this process ------------------------------------------- */

/* A list through the objects themselves: it keeps none of them alive. */
static void
join_list(heap_object *self)
{
    self->next = self->state->heaps;
    self->state->heaps = self;
}

static void
leave_list(heap_object *self)
{
    heap_object **at = &self->state->heaps;
    while (*at != NULL && *at != self)
        at = &(*at)->next;
    if (*at != NULL)
        *at = self->next;
}

heap_object *
heap_around(const module_state *state, const void *address)
{
    for (heap_object *each = state->heaps; each != NULL; each = each->next) {
        uintptr_t begin = (uintptr_t)each->heap.header;
        if ((uintptr_t)address - begin < each->heap.reserve)
            return each;
    }
    return NULL;
}

/* ---- life ---------------------------------------------------------------- */

const char format_heap_doc[] =
    "format_heap($module, fd, size=0, /)\n--\n\n"
    "Lay out an empty heap in an empty file of one's own.\n\n"
    "`size` is the most bytes it may ever have; 0: what suits the file\n"
    "system and the limits of this process, at most 64 GiB.";

PyObject *
format_heap(PyObject *module, PyObject *args)
{
    int fd;
    unsigned long long size = 0;
    if (!PyArg_ParseTuple(args, "i|K", &fd, &size))
        return NULL;
    uint64_t reserve = size == 0 ? mpm_sys_reserve(fd)
                                 : (size + MPM_STEP - 1) / MPM_STEP * MPM_STEP;
    mpm_status status = mpm_heap_format(fd, reserve);
    if (status != MPM_OK)
        return raise_memory(PyModule_GetState(module), status, "making a heap");
    Py_RETURN_NONE;
}

PyDoc_STRVAR(heap_doc, "Heap(fd, path=None)\n--\n\n"
                       "A heap that this process has mapped. `fd` may be "
                       "closed after.");

static PyObject *
heap_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "path", NULL};
    int fd;
    PyObject *path = Py_None, *bytes = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|O", names, &fd, &path))
        return NULL;
    if (path != Py_None && !PyUnicode_FSConverter(path, &bytes))
        return NULL;
    module_state *state = state_of_base(type);
    heap_object *self = (heap_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(bytes);
        return NULL;
    }
    self->state = state;
    const char *name = bytes == NULL ? NULL : PyBytes_AsString(bytes);
    mpm_status status = mpm_heap_open(&self->heap, fd, name, false);
    if (status == MPM_OK && mpm_load_acquire(&self->heap.header->root) != 0)
        status = MPM_ELAYOUT; /* a store */
    Py_XDECREF(bytes);
    self->path = Py_NewRef(path);
    if (status != MPM_OK) {
        Py_DECREF(self);
        return raise_memory(state, status, "mapping a heap");
    }
    self->heap.wait = wait_without_gil;
    join_list(self);
    return (PyObject *)self;
}

static int
heap_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
heap_dealloc(PyObject *op)
{
    heap_object *self = (heap_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weak != NULL)
        PyObject_ClearWeakRefs(op);
    leave_list(self);
    Py_CLEAR(self->path);
    mpm_heap_close(&self->heap);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(attach_doc,
             "attach($self, /)\n--\n\n"
             "Let others see that the heap is used, by this process and its\n"
             "children. False: somebody is just removing it.");

static PyObject *
heap_attach(PyObject *op, PyObject *unused)
{
    heap_object *self = (heap_object *)op;
    mpm_status status = mpm_attach(&self->heap);
    if (status != MPM_OK && status != MPM_BUSY)
        return raise_memory(self->state, status, "attaching");
    return PyBool_FromLong(status == MPM_OK);
}

PyDoc_STRVAR(detach_doc, "detach($self, /)\n--\n\n"
                         "Take the mark of `attach` back; the mapping stays.");

static PyObject *
heap_detach(PyObject *op, PyObject *unused)
{
    mpm_detach(&((heap_object *)op)->heap);
    Py_RETURN_NONE;
}

/* ---- blocks -------------------------------------------------------------- */

/* Waits as long as a user does who asked for memory, not as an update does.
 * False with an exception: a stopped process has the lock, or Ctrl-C. */
static bool
lock_heap(heap_object *self)
{
    uint64_t end = mpm_sys_monotonic_ns() + PATIENCE;
    mpm_status status;
    while ((status = mpm_lock_acquire(&self->heap)) == MPM_BUSY &&
           mpm_sys_monotonic_ns() < end) {
        wait_without_gil(PAUSE);
        if (PyErr_CheckSignals() != 0)
            return false;
    }
    if (status != MPM_OK)
        raise_memory(self->state, status, "locking the heap");
    return status == MPM_OK;
}

static void
zero(void *address, uint64_t bytes)
{
    if (bytes < MANY) {
        memset(address, 0, bytes);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memset(address, 0, bytes);
    Py_END_ALLOW_THREADS
}

PyDoc_STRVAR(take_doc,
             "_take($self, size, alignment, /)\n--\n\n"
             "A block of zeros, as (start, birth). Both numbers are valid.");

static PyObject *
heap_take(PyObject *op, PyObject *args)
{
    heap_object *self = (heap_object *)op;
    unsigned long long size, alignment;
    uint64_t birth = 0;
    mpm_off start = {0};
    bool fresh = false;
    if (!PyArg_ParseTuple(args, "KK", &size, &alignment) || !lock_heap(self))
        return NULL;
    mpm_status status =
        mpm_block_take(&self->heap, size, alignment, &start, &birth, &fresh);
    mpm_lock_release(&self->heap);
    if (status != MPM_OK)
        return raise_memory(self->state, status, "malloc");
    if (!fresh)
        zero(mpm_at(&self->heap, start, size), size);
    return Py_BuildValue("(KK)", start.raw, birth);
}

PyDoc_STRVAR(give_doc, "_give($self, start, size, birth, /)\n--\n\n"
                       "Give a block back. Raises GoneError if that is done.");

static PyObject *
heap_give(PyObject *op, PyObject *args)
{
    heap_object *self = (heap_object *)op;
    unsigned long long start, size, birth;
    if (!PyArg_ParseTuple(args, "KKK", &start, &size, &birth) ||
        !lock_heap(self))
        return NULL;
    mpm_status status =
        mpm_block_give(&self->heap, (mpm_off){start}, size, birth);
    mpm_lock_release(&self->heap);
    if (status == MPM_EGONE)
        return raise_gone(self->state, start);
    if (status != MPM_OK)
        return raise_memory(self->state, status, "free");
    Py_RETURN_NONE;
}

PyDoc_STRVAR(birth_doc, "_birth($self, start, size, /)\n--\n\n"
                        "The number of the block that is there now.");

static PyObject *
heap_birth(PyObject *op, PyObject *args)
{
    heap_object *self = (heap_object *)op;
    unsigned long long start, size;
    if (!PyArg_ParseTuple(args, "KK", &start, &size))
        return NULL;
    uint64_t birth = mpm_block_birth(&self->heap, (mpm_off){start}, size);
    if (birth == 0)
        return raise_gone(self->state, start);
    return PyLong_FromUnsignedLongLong(birth);
}

/* ---- buffers over blocks ------------------------------------------------- */

/* What a memoryview keeps, and through it the mapping. */
typedef struct {
    PyObject_HEAD
    heap_object *heap;
    void *address;
    Py_ssize_t size;
} view_object;

PyDoc_STRVAR(deref_doc, "_deref($self, start, size, birth, /)\n--\n\n"
                        "The bytes of a block, as a writable memoryview.");

static PyObject *
memory_at(heap_object *self, mpm_off start, uint64_t size)
{
    PyTypeObject *type = (PyTypeObject *)self->state->tools[TOOL_VIEW];
    view_object *view = (view_object *)PyType_GenericAlloc(type, 0);
    if (view == NULL)
        return NULL;
    view->heap = (heap_object *)Py_NewRef((PyObject *)self);
    view->address = mpm_at(&self->heap, start, size);
    view->size = (Py_ssize_t)size;
    PyObject *memory = PyMemoryView_FromObject((PyObject *)view);
    Py_DECREF(view);
    return memory;
}

static PyObject *
heap_deref(PyObject *op, PyObject *args)
{
    heap_object *self = (heap_object *)op;
    unsigned long long start, size, birth;
    if (!PyArg_ParseTuple(args, "KKK", &start, &size, &birth))
        return NULL;
    mpm_off at = {start};
    if (birth == 0 || mpm_block_birth(&self->heap, at, size) != birth)
        return raise_gone(self->state, start);
    return memory_at(self, at, size);
}

/* ---- blocks that memory of the heap itself names -------------------------- */

/* The link that this buffer is, which keeps it; NULL with an exception. */
static mpm_link *
link_of(heap_object *self, PyObject *memory, Py_buffer *buffer)
{
    if (PyObject_GetBuffer(memory, buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    if (buffer->len >= (Py_ssize_t)sizeof(mpm_link) &&
        (uintptr_t)buffer->buf % sizeof(mpm_word) == 0 &&
        heap_around(self->state, buffer->buf) == self)
        return buffer->buf;
    PyBuffer_Release(buffer);
    PyErr_SetString(PyExc_ValueError, "a link is three words of its heap");
    return NULL;
}

PyDoc_STRVAR(link_doc,
             "_link($self, link, size, /)\n--\n\n"
             "A block that `link`, which names none, names from now on; its\n"
             "bytes, not zeroed. Killed anywhere, it is named there or free.");

static PyObject *
heap_link(PyObject *op, PyObject *args)
{
    heap_object *self = (heap_object *)op;
    PyObject *memory, *bytes = NULL;
    unsigned long long size;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OK", &memory, &size))
        return NULL;
    mpm_link *link = link_of(self, memory, &buffer);
    if (link == NULL)
        return NULL;
    if (lock_heap(self)) {
        mpm_off start = {0};
        uint64_t linked = 0;
        mpm_status status = mpm_block_link(&self->heap, link, size);
        mpm_lock_release(&self->heap);
        if (status == MPM_OK)
            status = mpm_block_linked(&self->heap, link, &start, &linked);
        bytes = status == MPM_OK ? memory_at(self, start, linked)
                                 : raise_memory(self->state, status, "malloc");
    }
    PyBuffer_Release(&buffer);
    return bytes;
}

PyDoc_STRVAR(linked_doc, "_linked($self, link, /)\n--\n\n"
                         "The bytes of the block that it names, or None. "
                         "Raises GoneError if it is no link any more.");

static PyObject *
heap_linked(PyObject *op, PyObject *memory)
{
    heap_object *self = (heap_object *)op;
    Py_buffer buffer;
    mpm_off start;
    uint64_t size;
    mpm_link *link = link_of(self, memory, &buffer);
    if (link == NULL)
        return NULL;
    mpm_status status = mpm_block_linked(&self->heap, link, &start, &size);
    PyBuffer_Release(&buffer);
    if (status != MPM_OK)
        return raise_gone(self->state, start.raw);
    if (start.raw == 0)
        Py_RETURN_NONE;
    return memory_at(self, start, size);
}

PyDoc_STRVAR(unlink_doc, "_unlink($self, link, /)\n--\n\n"
                         "Give the block that it names back, if any. "
                         "Raises GoneError if it is no link any more.");

static PyObject *
heap_unlink(PyObject *op, PyObject *memory)
{
    heap_object *self = (heap_object *)op;
    Py_buffer buffer;
    mpm_link *link = link_of(self, memory, &buffer);
    if (link == NULL)
        return NULL;
    uint64_t block = mpm_load_acquire(&link->block);
    mpm_status status = MPM_OK;
    bool locked = block != 0 && lock_heap(self);
    if (locked) {
        status = mpm_block_unlink(&self->heap, link);
        mpm_lock_release(&self->heap);
    }
    PyBuffer_Release(&buffer);
    if (block != 0 && !locked)
        return NULL;
    if (status == MPM_EGONE)
        return raise_gone(self->state, block);
    if (status != MPM_OK)
        return raise_memory(self->state, status, "free");
    Py_RETURN_NONE;
}

static int
view_get(PyObject *op, Py_buffer *buffer, int flags)
{
    view_object *self = (view_object *)op;
    return PyBuffer_FillInfo(buffer, op, self->address, self->size, 0, flags);
}

/* No tp_clear: as long as a memoryview points there, the heap stays. */
static int
view_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((view_object *)op)->heap);
    return 0;
}

static void
view_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_XDECREF((PyObject *)((view_object *)op)->heap);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

/* ---- numbers ------------------------------------------------------------- */

PyDoc_STRVAR(numbers_doc, "_numbers($self, /)\n--\n\n"
                          "Bytes of the file, bytes in use, blocks in use.");

static PyObject *
heap_numbers(PyObject *op, PyObject *unused)
{
    mpm_header *header = ((heap_object *)op)->heap.header;
    return Py_BuildValue("(KKK)", mpm_load_acquire(&header->size),
                         mpm_load_acquire(&header->used_bytes),
                         mpm_load_acquire(&header->used_blocks));
}

PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\n"
                         "The descriptor that this process has of the file; "
                         "-1: it was closed.");

static PyObject *
heap_fileno(PyObject *op, PyObject *unused)
{
    return PyLong_FromLong(mpm_heap_fd(&((heap_object *)op)->heap));
}

static PyObject *
get_identity(PyObject *op, void *unused)
{
    return identity_text(((heap_object *)op)->heap.header);
}

static PyObject *
get_size(PyObject *op, void *unused)
{
    return PyLong_FromUnsignedLongLong(((heap_object *)op)->heap.reserve);
}

/* ---- the types ----------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"attach", heap_attach, METH_NOARGS, attach_doc},
    {"detach", heap_detach, METH_NOARGS, detach_doc},
    {"fileno", heap_fileno, METH_NOARGS, fileno_doc},
    {"_take", heap_take, METH_VARARGS, take_doc},
    {"_give", heap_give, METH_VARARGS, give_doc},
    {"_birth", heap_birth, METH_VARARGS, birth_doc},
    {"_deref", heap_deref, METH_VARARGS, deref_doc},
    {"_link", heap_link, METH_VARARGS, link_doc},
    {"_linked", heap_linked, METH_O, linked_doc},
    {"_unlink", heap_unlink, METH_O, unlink_doc},
    {"_numbers", heap_numbers, METH_NOARGS, numbers_doc},
    {NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(heap_object, weak), READONLY,
     NULL},
    {"path", T_OBJECT, offsetof(heap_object, path), READONLY,
     "Where the file is; None: it is a memfd."},
    {NULL},
};

static PyGetSetDef getters[] = {
    {"identity", get_identity, NULL, "Tells two heaps apart, for ever.", NULL},
    {"size", get_size, NULL, "The most bytes that the file may have.", NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)heap_doc}, {Py_tp_new, heap_new},
    {Py_tp_dealloc, heap_dealloc}, {Py_tp_traverse, heap_traverse},
    {Py_tp_methods, methods},      {Py_tp_members, members},
    {Py_tp_getset, getters},       {0, NULL},
};

static PyType_Spec spec = {
    .name = "mpmetrics._native.Heap",
    .basicsize = sizeof(heap_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

static PyType_Slot view_slots[] = {
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_traverse, view_traverse},
    {Py_bf_getbuffer, view_get},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "mpmetrics._native.View",
    .basicsize = sizeof(view_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

PyDoc_STRVAR(gone_doc,
             "What was named isn't there any more: a block that was freed, or\n"
             "a heap that its last user has left.");

bool
make_heap_types(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    state->tools[TOOL_GONE] = PyErr_NewExceptionWithDoc(
        "mpmetrics.heap.GoneError", gone_doc, PyExc_LookupError, NULL);
    if (state->tools[TOOL_GONE] == NULL ||
        PyModule_AddObjectRef(module, "GoneError", state->tools[TOOL_GONE]) !=
            0)
        return false;
    state->tools[TOOL_HEAP] = (PyObject *)add_type(module, &spec, NULL, NULL);
    state->tools[TOOL_VIEW] =
        PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return state->tools[TOOL_HEAP] != NULL && state->tools[TOOL_VIEW] != NULL;
}
