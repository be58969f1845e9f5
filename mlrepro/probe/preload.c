/* Preload: note what every process of a run opens, moves, deletes, lists and starts.
 *
 * Laws of this file. It runs inside programs that know nothing of it, in signal handlers, between
 * vfork and exec, in threads, before main and after exit. So: no lock, no malloc, no descriptor
 * that is kept, small stack frames, errno as the program expects it, and no system call of libc's
 * where a raw one does. What cannot be noted is counted, and the program goes on.
 *
 * The log is one file, made and preallocated by mlrepro (probe/native.py) and mapped by every
 * process: a write to it can neither fail nor be lost by SIGKILL. Its form is told there and in
 * capture/nativelog.py.
 */
#define _GNU_SOURCE
#include <features.h>
#undef __nonnull /* a program may give NULL where libc's headers say never: our tests for it stay */
#define __nonnull(arguments)
#include <alloca.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__GLIBC__) || !(defined(__x86_64__) || defined(__aarch64__))
#error "the native observer is for Linux with glibc on x86-64 and aarch64"
#endif

#define EXPORT __attribute__((visibility("default")))
#define APART __attribute__((noinline)) /* its large buffers are not on other functions' stacks */

/* One unit, so that nothing of it has a name that a program could meet; a part uses those before. */
#include "preload/raw.h"
#include "preload/log.h"
#include "preload/sets.h"
#include "preload/files.h"
#include "preload/next.h"
#include "preload/opens.h"
#include "preload/names.h"
#include "preload/folders.h"
#include "preload/lookups.h"
#include "preload/programs.h"
#include "preload/ends.h"
