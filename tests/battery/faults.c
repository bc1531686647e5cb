/* Makes one system call of a running process fail, the Nth of its kind from now on.
 *
 * libfiu can fail a call always, once or by chance; the battery wants each of them in turn. So this, loaded beside
 * fiu-run's own libraries, decides by counting: a file that the test maps as well says which kind, how many more
 * succeed first, and with which errno; the process says there when it has failed one. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From fiu.h and fiu-control.h, which fiu-utils does not bring. */
typedef int external_cb_t(const char *name, int *failnum, void **failinfo, unsigned int *flags);
int fiu_init(unsigned int flags);
int fiu_enable_external(const char *name, int failnum, void *failinfo, unsigned int flags, external_cb_t *callback);

/* Kept alike in faults.py. */
struct control {
    int64_t kind;      /* an index of KINDS, or -1 */
    int64_t countdown; /* 1 fails the next one */
    int64_t error;     /* an errno; -1 kills the process instead */
    int64_t failed;
};

static const char *const KINDS[] = {
    "posix/io/rw/pwrite", "posix/io/sync/fsync", "posix/io/sync/fdatasync", "posix/io/oc/open", "posix/io/rw/ftruncate",
};
enum { KINDS_COUNT = sizeof(KINDS) / sizeof(KINDS[0]) };

static struct control *control;

static int decide(const char *name, int *failnum, void **failinfo, unsigned int *flags) {
    (void)failnum;
    (void)flags;
    int64_t kind = __atomic_load_n(&control->kind, __ATOMIC_SEQ_CST);
    if (kind < 0 || kind >= KINDS_COUNT || strcmp(name, KINDS[kind]) != 0)
        return 0;
    if (__atomic_sub_fetch(&control->countdown, 1, __ATOMIC_SEQ_CST) != 0)
        return 0;
    __atomic_store_n(&control->failed, 1, __ATOMIC_SEQ_CST);
    if (control->error < 0)
        kill(getpid(), SIGKILL);
    *failinfo = (void *)(intptr_t)control->error;
    return 1;
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTS");
    if (path == NULL)
        return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED)
        _exit(99);
    close(file);
    control = mapped;
    fiu_init(0);
    for (int kind = 0; kind < KINDS_COUNT; kind++)
        if (fiu_enable_external(KINDS[kind], 1, NULL, 0, decide) != 0)
            _exit(99);
}
