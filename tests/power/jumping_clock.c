/* A wall clock that jumps: preloaded into a process, it adds to the time of day the seconds that stand, as
   eight bytes, in the file $CLOCK_JUMP. The monotonic clock goes on as it does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *jump;
static int (*real_gettime)(clockid_t, struct timespec *);

static void __attribute__((constructor)) begin(void) {
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_JUMP");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) jump = mmap(NULL, sizeof *jump, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || jump == MAP_FAILED) abort();
}

int clock_gettime(clockid_t which, struct timespec *now) {
    if (!real_gettime) begin();
    int failed = real_gettime(which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += *jump;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *also) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (also) *also = precise.tv_sec;
    return precise.tv_sec;
}
