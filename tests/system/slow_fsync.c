/* Preloaded into a server: fsync, fdatasync and sync_file_range sleep first, for as many milliseconds as the file that
   SLOW_FSYNC names says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void wait_first(void) {
    const char *path = getenv("SLOW_FSYNC");
    FILE *file = path ? fopen(path, "r") : NULL;
    int ms = 0;
    if (!file) return;
    if (fscanf(file, "%d", &ms) != 1) ms = 0;
    fclose(file);
    if (ms > 0) {
        struct timespec time = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&time, NULL);
    }
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_first();
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_first();
    return real(fd);
}
