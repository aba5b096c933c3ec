/* sys.h: everything that is Linux, as the rest of the core sees it.  Only
 * core.h includes this. */
#ifndef MPM_SYS_H
#define MPM_SYS_H

/* [any process] */
uint64_t mpm_sys_monotonic_ns(void);
uint64_t mpm_sys_realtime_ns(void);
void mpm_sys_sleep(uint64_t nanoseconds);
mpm_status mpm_sys_random(void *bytes, size_t count);
/* [any process] Maps a file shared, aligned to 1 MiB; may reach beyond its
 * end.  -1: pages that only this process and its forks have. */
mpm_status mpm_sys_map(int fd, uint64_t bytes, bool read_only, void **address);
void mpm_sys_unmap(void *address, uint64_t bytes);
/* [any process] Gives the file these bytes for good, or says why not. */
mpm_status mpm_sys_grow(int fd, uint64_t from, uint64_t to);
mpm_status mpm_sys_size(int fd, uint64_t *bytes);
/* [any process] The largest reserve that makes sense for this file here. */
uint64_t mpm_sys_reserve(int fd);
/* [any process] Is `fd` still that file?  */
bool mpm_sys_is(int fd, uint64_t device, uint64_t inode);
/* [any process] Another description of the same file.  MPM_EGONE: it isn't
 * there, or this process may not open it; MPM_ESYSTEM: not now. */
mpm_status mpm_sys_reopen(int fd, const char *path, uint64_t device,
                          uint64_t inode, bool read_only, int *again);
/* [any process] Another descriptor of the same description. */
mpm_status mpm_sys_duplicate(int fd, int *again);
void mpm_sys_close(int fd);
/* [any process] Has the file lost its last name? */
bool mpm_sys_is_unlinked(int fd);
/* Where a file is.  Shared mappings are sure on those with a name; a disk may
 * let a plain store wait for it. */
typedef enum { MPM_FS_UNKNOWN, MPM_FS_MEMORY, MPM_FS_DISK } mpm_filesystem;
/* [any process] */
mpm_filesystem mpm_sys_filesystem(int fd);
/* [any process] */
mpm_status mpm_sys_identify(int fd, uint64_t *device, uint64_t *inode);
/* [any process] Locks one byte through a page that keeps it: *pin. */
mpm_status mpm_sys_pin(int fd, uint64_t byte, bool shared, bool children,
                       void **pin);
void mpm_sys_unpin(void *pin);
/* [any process] Does somebody else hold a lock on that byte? */
mpm_status mpm_sys_is_locked(int fd, uint64_t byte, bool *locked);
mpm_status mpm_sys_try_lock(int fd, uint64_t byte, bool posix, bool *locked);
/* [any process, once] A word that is zeroed in a child, before it can look. */
mpm_status mpm_sys_fork_word(uint64_t **word);
uint64_t mpm_sys_pid(void);

#endif
