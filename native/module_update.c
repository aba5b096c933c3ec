/* module_update.c: the updates, as users call them.
 *
 * The way of a value: the method converts its argument (which may run any
 * code), compares the epoch, and writes the cell (cell.c).  Nothing else may
 * creep in: no Python frame, no lock, no system call, no allocation. */
#include "module.h"

/* ---- updates ------------------------------------------------------------- */

/* The amount of a call f(amount=default, ...): positional or by that name. */
static bool
parse_amount(PyObject *const *args, Py_ssize_t n, PyObject *names,
             const char *name, const char *call, bool optional, double *amount,
             PyObject **exemplar)
{
    PyObject *value = n > 0 ? args[0] : NULL;
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    Py_ssize_t most = exemplar == NULL ? 1 : 2;
    if (n > 1 && exemplar != NULL)
        *exemplar = args[1];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *key = PyTuple_GetItem(names, i), *given = args[n + i];
        if (PyUnicode_CompareWithASCIIString(key, name) == 0 && value == NULL) {
            value = given;
        } else if (exemplar != NULL && n < 2 &&
                   PyUnicode_CompareWithASCIIString(key, "exemplar") == 0) {
            *exemplar = given;
        } else {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected or repeated argument '%U'",
                         call, key);
            return false;
        }
    }
    if (n > most || (value == NULL && !optional)) {
        PyErr_Format(PyExc_TypeError, "%s() takes %s%zd argument%s, got %zd",
                     call, optional ? "up to " : "", most, most == 1 ? "" : "s",
                     n + named);
        return false;
    }
    if (value == NULL)
        return true;
    *amount = PyFloat_AsDouble(value);
    return *amount != -1.0 || !PyErr_Occurred();
}

/* The one argument of a call f(x), positional or by that name. */
static bool
parse_one(PyObject *const *args, Py_ssize_t n, PyObject *names,
          const char *name, const char *call, PyObject **value)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (named == 0 && n == 1) { /* the common case */
        *value = args[0];
        return true;
    }
    bool good = n + named == 1 && PyUnicode_CompareWithASCIIString(
                                      PyTuple_GetItem(names, 0), name) == 0;
    if (good)
        *value = args[0];
    else
        PyErr_Format(PyExc_TypeError, "%s() takes exactly one argument, '%s'",
                     call, name);
    return good;
}

/* The common case without any parsing; else parse_amount. */
#define AMOUNT(args, n, names, name, call, optional, amount, exemplar)         \
    ((names) == NULL && (n) == 1 ? ((amount) = PyFloat_AsDouble((args)[0]),    \
                                    (amount) != -1.0 || !PyErr_Occurred())     \
     : ((names) == NULL && (n) == 0 && (optional))                             \
         ? true                                                                \
         : parse_amount(args, n, names, name, call, optional, &(amount),       \
                        exemplar))

/* ---- exemplars: the slower way ------------------------------------------- */

/* The labels as the core keeps them: bytes, or NULL for none.  False with an
 * exception, before anything is counted.  It runs any code, also a fork: so it
 * comes before the epoch is compared. */
static bool
encode(metric_object *m, PyObject *exemplar, PyObject **labels)
{
    *labels = NULL;
    if (m->family == NULL) /* that is told later */
        return true;
    int given = PyObject_IsTrue(exemplar);
    if (given == 1)
        *labels = PyObject_CallFunctionObjArgs(
            m->family->state->encode_exemplar, exemplar, NULL);
    return given == 0 || *labels != NULL;
}

/* Not noted is not an error: an exemplar is an example. */
static void
note(metric_object *m, PyObject *labels, double value, uint32_t part)
{
    mpm_exemplar e;
    char *bytes;
    Py_ssize_t length;
    e.value = value;
    e.time = (double)mpm_sys_realtime_ns() / 1e9;
    if (PyBytes_AsStringAndSize(labels, &bytes, &length) != 0)
        PyErr_Clear();
    else if (length <= (Py_ssize_t)sizeof e.text) {
        memcpy(e.text, bytes, (size_t)length);
        e.bytes = (uint32_t)length;
        mpm_exemplar_note(&m->family->store->store, &m->ref, part, &e);
    }
}

const char counter_inc_doc[] =
    "inc($self, /, amount=1, exemplar=None)\n--\n\n"
    "Add to the counter: one store to memory of this process alone.\n\n"
    "Raises ValueError if the amount is negative.";

static inline bool
counter_add(metric_object *m, double amount)
{
    if (!is_open(m) && !metric_open(m, false))
        return false;
    if (amount < 0) {
        PyErr_SetString(
            PyExc_ValueError,
            "Counters can only be incremented by non-negative amounts.");
        return false;
    }
    if (m->ref.cell != NULL)
        mpm_counter_add(m->ref.cell, amount);
    return true;
}

PyObject *
counter_inc(PyObject *op, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    metric_object *m = (metric_object *)op;
    double amount = 1;
    PyObject *exemplar = NULL, *labels;
    if (!AMOUNT(args, n, names, "amount", "inc", true, amount, &exemplar))
        return NULL;
    if (exemplar == NULL) {
        if (!counter_add(m, amount))
            return NULL;
        Py_RETURN_NONE;
    }
    if (!encode(m, exemplar, &labels))
        return NULL;
    bool added = counter_add(m, amount);
    if (added && labels != NULL)
        note(m, labels, amount, 0);
    Py_XDECREF(labels);
    if (!added)
        return NULL;
    Py_RETURN_NONE;
}

const char counter_reset_doc[] =
    "reset($self, /)\n--\n\n"
    "Let the counter show zero again, and as created now, for all processes.\n\n"
    "The price is the store's lock. What others count meanwhile is kept.";

PyObject *
counter_reset(PyObject *op, PyObject *unused)
{
    metric_object *m = (metric_object *)op;
    if (!is_open(m) && !metric_open(m, false))
        return NULL;
    mpm_store *s = &m->family->store->store;
    mpm_status status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status = mpm_series_reset(s, m->family->shape, m->ref.series);
        mpm_lock_release(&s->heap);
    }
    if (status != MPM_OK)
        tell(m->family->store, ON_PRIVATE, mpm_status_text(status));
    Py_RETURN_NONE;
}

/* Gauges: with a mode in a cell of this process, without one in the shared
 * shard. */
static bool
gauge_write(metric_object *m, mpm_write how, double x)
{
    if (!is_open(m) && !metric_open(m, false))
        return false;
    if (m->ref.cell == NULL)
        return true;
    mpm_store *s = &m->family->store->store;
    if (m->ref.kind == MPM_GAUGE)
        mpm_ref_write_shared(s, &m->ref, how, mpm_bits(x));
    else
        mpm_ref_write_mode(s, &m->ref, (mpm_mode)m->family->shape->mode, how,
                           x);
    return true;
}

const char gauge_follow_doc[] =
    "_follow($self, /)\n--\n\n"
    "From now on only _write_followed changes the gauge here.";

PyObject *
gauge_follow(PyObject *op, PyObject *unused)
{
    metric_object *m = (metric_object *)op;
    if (!metric_open(m, false))
        return NULL;
    m->followed = true;
    m->ref.epoch = MPM_NEVER; /* off the hot path: updates have to ask */
    Py_RETURN_NONE;
}

const char gauge_write_followed_doc[] =
    "_write_followed($self, value, /)\n--\n\n"
    "Set a gauge that follows a function to what the function said.";

PyObject *
gauge_write_followed(PyObject *op, PyObject *arg)
{
    metric_object *m = (metric_object *)op;
    double value = PyFloat_AsDouble(arg);
    if (value == -1.0 && PyErr_Occurred())
        return NULL;
    m->followed = false;
    bool written = gauge_write(m, MPM_SET, value);
    m->followed = true;
    m->ref.epoch = MPM_NEVER;
    if (!written)
        return NULL;
    Py_RETURN_NONE;
}

/* prometheus_client refuses relative changes where only the newest counts. */
static bool
may_add(const metric_object *m, const char *call)
{
    if (m->family == NULL || (m->family->shape->mode &
                              ~(unsigned)MPM_MODE_LIVE) != MPM_MODE_MOSTRECENT)
        return true;
    PyErr_Format(PyExc_RuntimeError,
                 "%s must not be used with the mostrecent mode", call);
    return false;
}

const char gauge_inc_doc[] = "inc($self, /, amount=1)\n--\n\n"
                             "Add to the gauge, in one atomic operation.";

PyObject *
gauge_inc(PyObject *op, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    metric_object *m = (metric_object *)op;
    double amount = 1;
    if (!AMOUNT(args, n, names, "amount", "inc", true, amount, NULL) ||
        !may_add(m, "inc") || !gauge_write(m, MPM_ADD, amount))
        return NULL;
    Py_RETURN_NONE;
}

const char gauge_dec_doc[] = "dec($self, /, amount=1)\n--\n\n"
                             "Subtract from the gauge, in one atomic "
                             "operation.";

PyObject *
gauge_dec(PyObject *op, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    metric_object *m = (metric_object *)op;
    double amount = 1;
    if (!AMOUNT(args, n, names, "amount", "dec", true, amount, NULL) ||
        !may_add(m, "dec") || !gauge_write(m, MPM_ADD, -amount))
        return NULL;
    Py_RETURN_NONE;
}

const char gauge_set_doc[] =
    "set($self, /, value)\n--\n\n"
    "Set the gauge; without a mode the last writer of all wins.";

PyObject *
gauge_set(PyObject *op, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *given;
    if (!parse_one(args, n, names, "value", "set", &given))
        return NULL;
    double value = PyFloat_AsDouble(given);
    if (value == -1.0 && PyErr_Occurred()) {
        /* prometheus_client: float(value), which reads text, too. */
        if (!PyErr_ExceptionMatches(PyExc_TypeError))
            return NULL;
        PyErr_Clear();
        PyObject *number = PyNumber_Float(given);
        if (number == NULL)
            return NULL;
        value = PyFloat_AsDouble(number);
        Py_DECREF(number);
    }
    if (!gauge_write((metric_object *)op, MPM_SET, value))
        return NULL;
    Py_RETURN_NONE;
}

static bool
is_gauge(const metric_object *m)
{
    return m->family != NULL && (m->family->shape->kind == MPM_GAUGE ||
                                 m->family->shape->kind == MPM_GAUGE_MODE);
}

/* Not of a user's subclass, whose methods may do something else? */
static bool
is_exact(metric_object *m)
{
    if (m->family == NULL)
        return true; /* never initialised: the update says so */
    unsigned kind = is_gauge(m) ? MPM_GAUGE : m->family->shape->kind;
    return Py_TYPE((PyObject *)m) == m->family->state->metric_types[kind];
}

/* As prometheus_client, whose timers and clocks call the method. */
static bool
tell_subclass(metric_object *m, const char *method, double x)
{
    PyObject *done = PyObject_CallMethod((PyObject *)m, method, "d", x);
    Py_XDECREF(done);
    return done != NULL;
}

static bool
gauge_tell(metric_object *m, double x)
{
    return is_exact(m) ? gauge_write(m, MPM_SET, x)
                       : tell_subclass(m, "set", x);
}

const char gauge_now_doc[] = "set_to_current_time($self, /)\n--\n\n"
                             "Set the gauge to the seconds since 1970.";

PyObject *
gauge_now(PyObject *op, PyObject *unused)
{
    double now = (double)mpm_sys_realtime_ns() / 1e9;
    return gauge_tell((metric_object *)op, now) ? Py_NewRef(Py_None) : NULL;
}

static void
summary_write(metric_object *m, double x)
{
    mpm_summary_add(m->ref.cell, 1, x);
}

static void
histogram_write(metric_object *m, double x)
{
    const mpm_shape *shape = m->family->shape;
    mpm_histogram_observe(m->ref.cell, mpm_shape_bounds(shape), shape->bounds,
                          x);
}

const char summary_observe_doc[] =
    "observe($self, /, amount)\n--\n\n"
    "Count one observation; count and sum change in one commit.";

PyObject *
summary_observe(PyObject *op, PyObject *const *args, Py_ssize_t n,
                PyObject *names)
{
    metric_object *m = (metric_object *)op;
    double amount = 0;
    if (!AMOUNT(args, n, names, "amount", "observe", false, amount, NULL) ||
        (!is_open(m) && !metric_open(m, false)))
        return NULL;
    if (m->ref.cell != NULL)
        summary_write(m, amount);
    Py_RETURN_NONE;
}

static inline bool
histogram_add(metric_object *m, double amount)
{
    if (!is_open(m) && !metric_open(m, false))
        return false;
    if (m->ref.cell != NULL)
        histogram_write(m, amount);
    return true;
}

const char histogram_observe_doc[] =
    "observe($self, /, amount, exemplar=None)\n--\n\n"
    "Count one observation; bucket, count and sum change in one "
    "commit.\n\nNaN counts in the bucket +Inf.";

PyObject *
histogram_observe(PyObject *op, PyObject *const *args, Py_ssize_t n,
                  PyObject *names)
{
    metric_object *m = (metric_object *)op;
    double amount = 0;
    PyObject *exemplar = NULL, *labels;
    if (!AMOUNT(args, n, names, "amount", "observe", false, amount, &exemplar))
        return NULL;
    if (exemplar == NULL) {
        if (!histogram_add(m, amount))
            return NULL;
        Py_RETURN_NONE;
    }
    if (!encode(m, exemplar, &labels))
        return NULL;
    bool added = histogram_add(m, amount);
    if (added && labels != NULL) {
        const mpm_shape *shape = m->family->shape;
        note(m, labels, amount,
             mpm_bucket_of(mpm_shape_bounds(shape), shape->bounds, amount));
    }
    Py_XDECREF(labels);
    if (!added)
        return NULL;
    Py_RETURN_NONE;
}

bool
metric_observe(PyObject *op, double x)
{
    metric_object *m = (metric_object *)op;
    if (is_gauge(m))
        return gauge_tell(m, x);
    if (!is_exact(m))
        return tell_subclass(m, "observe", x);
    if (!is_open(m) && !metric_open(m, false))
        return false;
    if (m->ref.cell == NULL)
        return true;
    if (m->ref.kind == MPM_SUMMARY)
        summary_write(m, x);
    else
        histogram_write(m, x);
    return true;
}

/* Which of the states it equals, -1: none; false with an exception.  It runs
 * any code, so it comes before the epoch is compared. */
static bool
index_of(PyObject *states, PyObject *state, Py_ssize_t *index)
{
    Py_ssize_t count = PyTuple_Size(states);
    int same = 0;
    for (Py_ssize_t i = 0; i < count && same == 0; i++) {
        same =
            PyObject_RichCompareBool(PyTuple_GetItem(states, i), state, Py_EQ);
        *index = same > 0 ? i : -1;
    }
    return same >= 0;
}

const char enum_state_doc[] =
    "state($self, /, state)\n--\n\n"
    "Say which of the states is true, for all processes.\n\n"
    "Raises ValueError if it is none of them.";

PyObject *
enum_state(PyObject *op, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    metric_object *m = (metric_object *)op;
    PyObject *state;
    Py_ssize_t index = -1;
    if (!parse_one(args, n, names, "state", "state", &state) ||
        (m->family != NULL && !index_of(m->family->states, state, &index)))
        return NULL;
    if (!is_open(m) && !metric_open(m, false))
        return NULL;
    if (index < 0)
        return PyErr_Format(PyExc_ValueError, "%R is none of the states %R",
                            state, m->family->states);
    if (m->ref.cell != NULL)
        mpm_ref_write_shared(&m->family->store->store, &m->ref, MPM_SET,
                             (uint64_t)index);
    Py_RETURN_NONE;
}

/* ---- Info ---------------------------------------------------------------- */

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

/* Takes the pairs from the metric if that is done, or nobody could see it. */
mpm_status
info_share(metric_object *m)
{
    mpm_store *s = &m->family->store->store;
    PyObject *pairs = Py_NewRef(m->pairs);
    texts info = {0}, values = {0};
    mpm_id id;
    mpm_status status = MPM_EPRIVATE;
    if (texts_get(&info, pairs) && texts_get(&values, m->labelvalues))
        status = mpm_shard_own(s);
    PyErr_Clear();
    if (status == MPM_OK)
        status = mpm_lock_acquire(&s->heap);
    if (status == MPM_OK) {
        status = is_removed(m, values.at)
                     ? MPM_EGONE
                     : mpm_series_replace(s, m->family->id, m->family->shape,
                                          values.at, info.at,
                                          (uint32_t)(info.count / 2), &id);
        mpm_lock_release(&s->heap);
    }
    texts_free(&info);
    texts_free(&values);
    if (status == MPM_OK)
        status = mpm_ref_bind(s, &m->ref, id);
    else if ((status == MPM_EGONE && !metric_is_lost(m)) || status == MPM_EFULL)
        status = MPM_OK; /* a kept child counts for nobody; nor one too many */
    /* Waiting for the lock let other threads run: theirs is newer. */
    if (status == MPM_OK && m->pairs == pairs)
        Py_CLEAR(m->pairs);
    Py_DECREF(pairs);
    return status;
}

const char info_set_doc[] =
    "_set_info($self, pairs, /)\n--\n\n"
    "Show these names and values, a flat tuple of str, in one commit.\n\n"
    "If the store's lock can't be had now, it is tried again before this\n"
    "process's next scrape.";

PyObject *
info_set(PyObject *op, PyObject *pairs)
{
    metric_object *m = (metric_object *)op;
    if (m->family != NULL) {
        mpm_store_enter(&m->family->store->store);
        m->ref.private_epoch = m->family->store->store.epoch;
        SET_REF(m->pairs, Py_NewRef(pairs));
    }
    if (!metric_open(m, false))
        return NULL;
    Py_RETURN_NONE;
}
