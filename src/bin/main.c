/* pgtide: signals, limits, arguments; the rest is cli/run.h's. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "cli/exit.h"
#include "cli/hide.h"
#include "cli/parse.h"
#include "cli/run.h"
#include "sys/stop.h"

/* A terminal's Ctrl-C may come twice: from the kernel to the group, and passed on by a parent that got it, too. */
enum { SECOND_REQUEST_AFTER_MS = 500 };

static struct stop *stop;
static volatile sig_atomic_t is_requested;
static struct timespec requested_at;

static int64_t ms_since(const struct timespec *then)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)(now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000;
}

/* The first request ends cleanly. Who asks again does not want to wait: being killed is safe at any moment (P1). */
static void on_signal(int number)
{
    static const char farewell[] = "\npgtide: ended at once; the same command resumes\n";
    int saved_errno = errno;

    (void)number;
    if (is_requested && ms_since(&requested_at) >= SECOND_REQUEST_AFTER_MS) {
        ssize_t ignored = write(STDERR_FILENO, farewell, sizeof farewell - 1);

        (void)ignored;
        _exit(EXIT_INTERRUPTED);
    }
    if (!is_requested) {
        clock_gettime(CLOCK_MONOTONIC, &requested_at);
        is_requested = 1;
        stop_request(stop);
    }
    errno = saved_errno;
}

static struct error *prepare_signals(void)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction end = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    /* One handler at a time: it keeps a moment in a struct. */
    sigfillset(&end.sa_mask);
    for (size_t i = 0; i < COUNT_OF(ending); i++) {
        struct sigaction before;

        /* nohup has made SIGHUP ignored: it stays so. */
        if (ending[i] == SIGHUP && sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
            continue;
        if (sigaction(ending[i], &end, NULL) != 0)
            return error_new(ERROR_BUG, "could not catch signal %d: %m", ending[i]);
    }
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        return error_new(ERROR_BUG, "could not ignore SIGPIPE: %m");
    return NULL;
}

/* Memory holds passwords and rows. */
static struct error *forbid_core_files(void)
{
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){0}) != 0)
        return error_new(ERROR_BUG, "could not forbid core files: %m");
    return NULL;
}

static struct error *prepare(void)
{
    TRY(forbid_core_files());
    TRY(stop_new(&stop));
    return prepare_signals();
}

int main(int argc, char **argv)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(NULL, "command line");
    struct command_line line;
    CLEANUP(error_free) struct error *err = prepare();

    if (err == NULL)
        err = command_line_parse(arena, argc, (const char *const *)argv, &line);
    if (err != NULL) {
        show_error(err);
        return (int)exit_status(err);
    }
    arguments_hide(argc, argv);
    return (int)command_run(&line, stop);
}
