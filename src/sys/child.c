#include "sys/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "sys/deadline.h"
#include "sys/file.h"

enum {
    KILL_AFTER_MS = 5000,
    ERRORS_KEPT = 64 * 1024,
    READ_STEP = 64 * 1024, /* as much as a pipe holds (pipe(7)): one read takes all that is there */
    OUTPUT_MAX = 256 * 1024 * 1024,
    FOLDER_LENGTH_MAX = 4096,
};

/* A child from its start until it was waited for. */
struct child {
    const char *program;
    size_t output_max;
    pid_t pid; /* 0: not started, or waited for */
    int pidfd;
    int output_fd; /* our end; -1 when it goes to a file or has ended */
    int errors_fd;
    struct buffer output;
    struct buffer errors;
    bool was_stopped;
    int64_t kill_at_us; /* DEADLINE_NEVER until it was asked to end */
};

/* As it leads a session, its process group is what it started, unless that made itself another. */
static void kill_group(const struct child *c, int number)
{
    kill(-c->pid, number);
}

/* Also on every early return: nothing is left running, nothing is left unwaited for. */
static void child_drop(struct child *c)
{
    if (c->pid > 0) {
        kill_group(c, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    fd_close(&c->pidfd);
    fd_close(&c->output_fd);
    fd_close(&c->errors_fd);
    buffer_drop(&c->output);
    buffer_drop(&c->errors);
    free(c);
}
DEFINE_CLEANUP(struct child, child_drop);

static bool names_same_variable(const char *a, const char *b)
{
    size_t length = strcspn(a, "=");

    return strncmp(a, b, length) == 0 && (b[length] == '=' || b[length] == '\0');
}

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list[n] != NULL)
        n++;
    return n;
}

/* Ours, but where a variable is given anew. */
static char **environment_with(struct arena *a, const char *const *added)
{
    size_t n_added = added == NULL ? 0 : count(added);
    size_t n_ours = count((const char *const *)environ);
    char **joined = arena_alloc(a, (n_added + n_ours + 1) * sizeof *joined);
    size_t n = 0;

    for (size_t i = 0; i < n_added; i++)
        joined[n++] = arena_strdup(a, added[i]);
    for (size_t i = 0; i < n_ours; i++) {
        bool is_replaced = false;

        for (size_t j = 0; j < n_added; j++)
            is_replaced = is_replaced || names_same_variable(added[j], environ[i]);
        if (!is_replaced)
            joined[n++] = environ[i];
    }
    return joined;
}

static char **argv_of(struct arena *a, const char *const *argv)
{
    size_t n = count(argv);
    char **copy = arena_alloc(a, (n + 1) * sizeof *copy);

    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(a, argv[i]);
    return copy;
}

/* Our end of a pipe does not block; the child's does, as programs expect. */
static struct error *make_pipe(const char *program, int *out_read, int *out_write)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return file_error(errno, "could not make a pipe to program \"%s\"", program);
    *out_read = ends[0];
    *out_write = ends[1];
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
        return file_error(errno, "could not set up a pipe to program \"%s\"", program);
    return NULL;
}

static struct error *open_output(const char *program, const char *path, int *out_read, int *out_write)
{
    if (path == NULL)
        return make_pipe(program, out_read, out_write);

    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error(errno, "could not make file \"%s\" for the output of program \"%s\"", path, program);
    *out_write = fd;
    return NULL;
}

/*
 * What the child would inherit from us otherwise: sys/thread blocks every signal in its threads, and we may ignore some,
 * both of which outlive exec and would make it deaf to SIGTERM.
 */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, by_default;

    sigemptyset(&none);
    sigemptyset(&by_default);
    sigaddset(&by_default, SIGTERM);
    sigaddset(&by_default, SIGINT);
    sigaddset(&by_default, SIGPIPE);
    sigaddset(&by_default, SIGCHLD);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &by_default);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
}

/* These few calls fail only without memory; spawning reports what they left undone as its own failure. */
static int spawn(char *const *argv, char *const *environment, int output_fd, int errors_fd, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failure = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failure == 0)
        failure = posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    if (failure == 0)
        failure = posix_spawn_file_actions_adddup2(&actions, errors_fd, STDERR_FILENO);
    if (failure == 0)
        failure = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (failure == 0)
        failure = set_signals(&attributes);
    if (failure == 0)
        failure = posix_spawnp(out_pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

static struct error *start(struct arena *a, struct child *c, const struct child_options *options)
{
    CLEANUP(fd_close) int output_write = -1;
    CLEANUP(fd_close) int errors_write = -1;

    TRY(open_output(c->program, options->stdout_path, &c->output_fd, &output_write));
    TRY(make_pipe(c->program, &c->errors_fd, &errors_write));

    int failure = spawn(argv_of(a, options->argv), environment_with(a, options->environment), output_write,
                        errors_write, &c->pid);
    if (failure != 0) {
        c->pid = 0;
        return file_error(failure, "could not run program \"%s\"", c->program);
    }
    c->pidfd = pidfd_open(c->pid, 0);
    if (c->pidfd < 0)
        return file_error(errno, "could not watch program \"%s\" (process %d)", c->program, (int)c->pid);
    return NULL;
}

/* Takes what is there now; closes *fd at its end. */
static struct error *collect(const struct child *c, int *fd, struct buffer *into)
{
    if (*fd < 0)
        return NULL;

    ssize_t n = read(*fd, buffer_reserve(into, READ_STEP), READ_STEP);
    if (n > 0)
        buffer_added(into, (size_t)n);
    if (n == 0)
        fd_close(fd);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return file_error(errno, "could not read from program \"%s\"", c->program);
    return NULL;
}

static struct error *collect_output(struct child *c)
{
    TRY(collect(c, &c->output_fd, &c->output));
    if (c->output.length > c->output_max)
        return error_new(ERROR_CONFIG, "cannot collect the output of program \"%s\": more than %zu bytes", c->program,
                         c->output_max);
    return NULL;
}

static struct error *collect_errors(struct child *c)
{
    struct buffer *errors = &c->errors;

    TRY(collect(c, &c->errors_fd, errors));
    if (errors->length > ERRORS_KEPT) {
        memmove(errors->bytes, errors->bytes + errors->length - ERRORS_KEPT, ERRORS_KEPT);
        errors->length = ERRORS_KEPT;
        errors->bytes[errors->length] = '\0';
    }
    return NULL;
}

static void ask_to_end(struct child *c)
{
    if (c->was_stopped)
        return;
    c->was_stopped = true;
    c->kill_at_us = deadline_after_ms(KILL_AFTER_MS);
    kill_group(c, SIGTERM);
}

/* Until the child itself has ended; what it started may still hold the pipes. */
static struct error *follow(struct child *c, const struct stop *stop)
{
    for (;;) {
        int watched_stop = stop == NULL || c->was_stopped ? -1 : stop_fd(stop); /* it stays readable */
        struct pollfd fds[] = {
            {.fd = c->pidfd, .events = POLLIN},
            {.fd = c->output_fd, .events = POLLIN},
            {.fd = c->errors_fd, .events = POLLIN},
            {.fd = watched_stop, .events = POLLIN},
        };

        if (deadline_poll(fds, COUNT_OF(fds), c->kill_at_us) == 0) {
            c->kill_at_us = DEADLINE_NEVER;
            kill_group(c, SIGKILL);
        }
        TRY(collect_output(c));
        TRY(collect_errors(c));
        if (fds[0].revents != 0) /* it had ended before these reads: they took its last words */
            return NULL;
        if (fds[3].revents != 0)
            ask_to_end(c);
    }
}

static struct error *wait_for(struct child *c, int *out_status)
{
    int status;
    pid_t pid;

    do {
        pid = waitpid(c->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return error_new(ERROR_BUG, "cannot learn how program \"%s\" (process %d) ended: %m", c->program, (int)c->pid);
    c->pid = 0;
    *out_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return NULL;
}

static char *text_of(struct arena *a, const struct buffer *b)
{
    return memcpy(arena_bytes(a, b->length + 1), buffer_text(b), b->length + 1);
}

static struct child *child_new(const struct child_options *options)
{
    struct child *c = MEMORY_NEW(struct child);

    c->program = options->argv[0];
    c->output_max = options->output_max == 0 ? OUTPUT_MAX : options->output_max;
    c->pidfd = c->output_fd = c->errors_fd = -1;
    c->kill_at_us = DEADLINE_NEVER;
    return c;
}

struct error *child_run(struct arena *a, struct child_options options, struct child_result *out_result)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "child");
    CLEANUP(child_drop) struct child *c = child_new(&options);
    int status = 0;

    if (options.stop != NULL)
        TRY(stop_check(options.stop));
    TRY(start(scratch, c, &options));
    TRY(follow(c, options.stop));
    if (c->was_stopped)
        kill_group(c, SIGKILL); /* while its id is still taken by it: what it started and did not listen to SIGTERM */
    TRY(wait_for(c, &status));
    if (c->was_stopped)
        return error_new(ERROR_CANCELLED, "stopped program \"%s\" on request", c->program);

    *out_result = (struct child_result){
        .exit_status = status,
        .output = text_of(a, &c->output),
        .output_length = c->output.length,
        .errors = text_of(a, &c->errors),
    };
    return NULL;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *child_find(struct arena *a, const char *program)
{
    const char *at = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe): nothing here changes the environment */

    if (strchr(program, '/') != NULL)
        return is_program(program) ? arena_strdup(a, program) : NULL;
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ":");

        if (length > 0 && length < FOLDER_LENGTH_MAX) {
            char *path = arena_printf(a, "%.*s/%s", (int)length, at, program);

            if (is_program(path))
                return path;
        }
        at += length + (at[length] == ':');
    }
    return NULL;
}
