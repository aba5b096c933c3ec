/* faults.h: what only the builds for tests have: checks, places to die at, and
 * deliberate mistakes.  In the build that we ship all of it is nothing. */
#ifndef MPM_FAULTS_H
#define MPM_FAULTS_H

#include <stdbool.h>

/* ---- levels of checking (style C11) ------------------------------------- */

#ifndef MPM_CHECK
#define MPM_CHECK 0
#endif
#if MPM_CHECK >= 1
#include <stdlib.h>
#define mpm_check(condition)                                                   \
    do {                                                                       \
        if (!(condition))                                                      \
            abort();                                                           \
    } while (0)
#else
#define mpm_check(condition) ((void)0)
#endif

/* ---- crash points --------------------------------------------------------- */

/* A named place between two stores, or two loads, that matter.  MPM_CRASH_AT
 * names the one to die at; with MPM_CRASH_PAUSE=N a process sleeps at about
 * every N-th that it passes, so that what comes at random finds it there. */
#ifdef MPM_CRASH_POINTS
/* [any process] */
void mpm_crash_point(const char *name);
#define MPM_CRASH_POINT(name) mpm_crash_point(name)
#else
#define MPM_CRASH_POINT(name) ((void)0)
#endif

/* ---- mutants -------------------------------------------------------------- */

/* A deliberate mistake: true in a process whose MPM_MUTANT has that name.  The
 * storm must see each of them, which shows that it can see. */
#ifdef MPM_MUTANTS
/* [any process] */
bool mpm_mutant(const char *name);
#define MPM_MUTANT(name) mpm_mutant(name)
#else
#define MPM_MUTANT(name) false
#endif

/* A store in a place where it mustn't be; others may see that it comes first,
 * and a kill may come after it. */
#define MPM_MISPLACED(name, store)                                             \
    do {                                                                       \
        if (MPM_MUTANT(name)) {                                                \
            store;                                                             \
            MPM_CRASH_POINT(name);                                             \
        }                                                                      \
    } while (0)

/* What the tests ask a build for. */
#if defined(MPM_MUTANTS)
#define MPM_BUILT_FOR "crash points, mutants"
#elif defined(MPM_CRASH_POINTS)
#define MPM_BUILT_FOR "crash points"
#else
#define MPM_BUILT_FOR ""
#endif

#endif
