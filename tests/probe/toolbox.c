/* Toolbox: does what its words say, each in the plainest C, for the tests of preload.c. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int folder = AT_FDCWD;
static const char *place;
static volatile int handled;

static void need(int good, const char *what) {
    if (good) return;
    perror(what);
    _exit(99);
}
static void use(int descriptor) {
    char text[16];
    need(descriptor >= 0, "open");
    if (read(descriptor, text, sizeof text) < 0 && write(descriptor, "new\n", 4) < 0) _exit(98);
    close(descriptor);
}
static void use_file(FILE *file) {
    need(file != NULL, "fopen");
    fclose(file);
}
static void name_of(char *name, const char *kind, int number) {
    snprintf(name, 200, "%s/%s%d", place, kind, number);
}
static void make(const char *kind, int number) {
    char name[200];
    name_of(name, kind, number);
    int descriptor = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    need(descriptor >= 0, name);
    close(descriptor);
}
static void on_timer(int signal) {
    (void)signal;
    int error = errno, descriptor = open("/etc/passwd", O_RDONLY);
    if (descriptor >= 0) close(descriptor);
    if (handled < 100) make("signal", handled++);
    errno = error;
}
static void timed(int count) {
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < count || handled < 3; i++) make("main", i);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("handled %d\n", handled);
}
static void *open_much(void *stop) {
    while (!*(volatile int *)stop) {
        int descriptor = open("/etc/passwd", O_RDONLY);
        if (descriptor >= 0) close(descriptor);
        opendir("/nonexistent");
    }
    return NULL;
}
static void forks_among_threads(int count) {
    volatile int stop = 0;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, open_much, (void *)&stop);
    for (int i = 0; i < count; i++) {
        int status;
        pid_t child = fork();
        if (!child) {
            char name[200];
            make("child", i);
            name_of(name, "child", i);
            use_file(fopen(name, "r"));
            rename(name, name);
            _exit(0);
        }
        need(waitpid(child, &status, 0) == child && !status, "child");
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}
static void wait_for(pid_t child) {
    int status = 0;
    need(waitpid(child, &status, 0) == child && !status, "child");
}
static void say_errno(void) {
    struct stat found;
    (void)found;
#define SAY(call) errno = 77, (void)!(call), printf("%s %d\n", #call, errno);
    SAY(open("/etc/passwd", O_RDONLY))
    SAY(open("/nonexistent/x", O_RDONLY))
    SAY(open("/nonexistent/x", O_RDWR | O_CREAT, 0600))
    SAY(open("errno.new", O_WRONLY | O_CREAT, 0600))
    SAY(open("errno.new", O_WRONLY | O_CREAT | O_EXCL, 0600))
    SAY(open("errno.new", O_RDWR))
    SAY(open(NULL, O_RDONLY))
    SAY(open((char *)8, O_WRONLY))
    SAY(openat(12345, "x", O_RDONLY))
    SAY(fopen("/etc/passwd", "r"))
    SAY(fopen("/nonexistent/x", "w"))
    SAY(rename("/nonexistent/x", "y"))
    SAY(rename("errno.new", "errno.newer"))
    SAY(unlink("/nonexistent/x"))
    SAY(unlink("errno.newer"))
    SAY(truncate("/nonexistent/x", 0))
    SAY(opendir("/nonexistent"))
    SAY(readdir(opendir("/etc")))
    SAY(chdir("/nonexistent"))
    SAY(chdir("."))
    SAY(execl("/nonexistent", "x", NULL))
    SAY(connect(1234, NULL, 0))
    SAY(getenv("MLREPRO_TEST"))
}
static void list(const char *path) {
    struct dirent *entry;
    DIR *open_folder = opendir(path);
    need(open_folder != NULL, path);
    while ((entry = readdir(open_folder)))
        if (entry->d_name[0] != '.') printf("%s ", entry->d_name);
    printf("\n");
    closedir(open_folder);
}
static void look(const char *path) { /* and not to the end */
    DIR *open_folder = opendir(path);
    need(open_folder != NULL, path);
    readdir(open_folder);
    closedir(open_folder);
}
static void call(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int one = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    (void)!connect(one, (struct sockaddr *)&address, sizeof address);
    close(one);
}

#define IS(name) (!strcmp(word, name))
#define NEXT (arguments[++i])

int main(int count, char **arguments) {
    char made[200];
    for (int i = 1; i < count; i++) {
        const char *word = arguments[i];
        if (IS("r")) use(open(NEXT, O_RDONLY));
        else if (IS("w")) use(open(NEXT, O_WRONLY | O_CREAT | O_TRUNC, 0600));
        else if (IS("a")) use(open(NEXT, O_WRONLY | O_CREAT | O_APPEND, 0600));
        else if (IS("u")) use(open(NEXT, O_RDWR | O_CREAT, 0600));
        else if (IS("x")) use(open(NEXT, O_WRONLY | O_CREAT | O_EXCL, 0600));
        else if (IS("open64")) use(open64(NEXT, O_RDONLY));
        else if (IS("openat")) use(openat(folder, NEXT, O_RDONLY));
        else if (IS("openat-w")) use(openat(folder, NEXT, O_WRONLY | O_CREAT, 0600));
        else if (IS("creat")) use(creat(NEXT, 0600));
        else if (IS("fopen-r")) use_file(fopen(NEXT, "rb"));
        else if (IS("fopen-w")) use_file(fopen(NEXT, "w"));
        else if (IS("fopen-a")) use_file(fopen(NEXT, "a+"));
        else if (IS("fopen-u")) use_file(fopen64(NEXT, "rb+"));
        else if (IS("freopen")) use_file(freopen(NEXT, "r", stdin));
        else if (IS("mkstemp")) { strcpy(made, NEXT); use(mkstemp(made)); }
        else if (IS("mv")) { i += 2; need(!rename(arguments[i - 1], arguments[i]), "rename"); }
        else if (IS("mvat")) { i += 2; need(!renameat(folder, arguments[i - 1], folder, arguments[i]), "rename"); }
        else if (IS("rm")) need(!unlink(NEXT), "unlink");
        else if (IS("remove")) need(!remove(NEXT), "remove");
        else if (IS("truncate")) need(!truncate(NEXT, 0), "truncate");
        else if (IS("link")) { i += 2; need(!link(arguments[i - 1], arguments[i]), "link"); }
        else if (IS("symlink")) { i += 2; need(!symlink(arguments[i - 1], arguments[i]), "symlink"); }
        else if (IS("folder")) folder = open(NEXT, O_RDONLY | O_DIRECTORY);
        else if (IS("cd")) need(!chdir(NEXT), "chdir");
        else if (IS("fcd")) need(!fchdir(folder), "fchdir");
        else if (IS("ls")) list(NEXT);
        else if (IS("look")) look(NEXT);
        else if (IS("getenv")) printf("%s\n", getenv(NEXT) ? getenv(arguments[i]) : "(none)");
        else if (IS("connect")) call(NEXT);
        else if (IS("lookup")) { struct addrinfo *found = NULL; (void)!getaddrinfo(NEXT, NULL, NULL, &found); }
        else if (IS("say")) printf("%s\n", NEXT);
        else if (IS("exit")) exit(atoi(NEXT));
        else if (IS("_exit")) _exit(atoi(NEXT));
        else if (IS("place")) place = NEXT;
        else if (IS("storm")) for (int j = 0;; j++) make("storm", j);
        else if (IS("many")) { int j, end = atoi(NEXT); for (j = 0; j < end; j++) make("many", j); }
        else if (IS("timer")) timed(atoi(NEXT));
        else if (IS("threads")) forks_among_threads(atoi(NEXT));
        else if (IS("errno")) say_errno();
        else if (IS("daemon")) { need(!daemon(1, 1), "daemon"); for (int j = 3; j < 200; j++) close(j); }
        else if (IS("fork")) { pid_t child = fork(); if (child) { wait_for(child); return 0; } }
        else if (IS("abort")) abort();
        else if (IS("system")) need(!system(NEXT), "system");
        else if (IS("execv")) { execv(arguments[i + 1], arguments + i + 1); _exit(97); }
        else if (IS("execvp")) { execvp(arguments[i + 1], arguments + i + 1); _exit(97); }
        else if (IS("execl")) { execl(arguments[i + 1], arguments[i + 1], arguments[i + 2], arguments[i + 3], NULL); _exit(97); }
        else if (IS("vfork")) {
            pid_t child = vfork();
            if (!child) { execv(arguments[i + 1], arguments + i + 1); _exit(97); }
            wait_for(child);
            return 0;
        } else if (IS("spawn")) {
            pid_t child;
            need(!posix_spawn(&child, arguments[i + 1], NULL, NULL, arguments + i + 1, environ), "spawn");
            wait_for(child);
            return 0;
        } else { fprintf(stderr, "no such word: %s\n", word); return 96; }
    }
    fflush(stdout);
    return 0;
}
