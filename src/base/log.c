#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic int lowest_level = LOG_INFO; /* enum log_level; asked before a line is composed */
static enum log_level lowest_on_stderr = LOG_INFO;
static int file = -1;
static void (*listener)(void *self, enum log_level level, const char *line);
static void *listener_self;

const char *log_level_name(enum log_level level)
{
    static const char *const names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

    return names[level];
}

static void read_environment(void)
{
    const char *name = getenv("PGTIDE_LOG"); /* NOLINT(concurrency-mt-unsafe): nothing changes the environment */

    for (int level = 0; name != NULL && level < LOG_LEVEL_COUNT; level++) {
        if (strcmp(name, log_level_name((enum log_level)level)) == 0)
            atomic_store(&lowest_level, level);
    }
}

void log_set_level(enum log_level lowest)
{
    pthread_once(&once, read_environment); /* what the program says comes after it and counts */
    atomic_store(&lowest_level, (int)lowest);
}

static bool is_wanted(enum log_level level)
{
    pthread_once(&once, read_environment);
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

void log_set_stderr_level(enum log_level lowest)
{
    pthread_mutex_lock(&mutex);
    lowest_on_stderr = lowest;
    pthread_mutex_unlock(&mutex);
}

struct error *log_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_new(ERROR_CONFIG, "could not open log file \"%s\": %m", path);
    pthread_mutex_lock(&mutex);
    if (file >= 0)
        close(file);
    file = fd;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

void log_set_listener(void (*fn)(void *self, enum log_level level, const char *line), void *self)
{
    pthread_mutex_lock(&mutex);
    listener = fn;
    listener_self = self;
    pthread_mutex_unlock(&mutex);
}

static void write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere left to complain */
        text += n;
        length -= (size_t)n;
    }
}

static void append_stamp(struct buffer *line)
{
    char seconds[32];
    struct tm tm;
    int64_t us = clock_wall_us();
    time_t time = (time_t)(us / 1000000);

    gmtime_r(&time, &tm);
    strftime(seconds, sizeof seconds, "%Y-%m-%d %H:%M:%S", &tm);
    buffer_printf(line, "%s.%03dZ", seconds, (int)(us / 1000 % 1000));
}

static char *indent_further_lines(const char *message)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (const char *c = message; *c != '\0'; c++) {
        buffer_append_char(b, *c);
        if (*c == '\n')
            buffer_append_text(b, "    ");
    }
    buffer_append(b, "", 0); /* also an empty one has bytes to give away */
    return TAKE(b->bytes);
}

static void emit(enum log_level level, const char *raw)
{
    CLEANUP(buffer_free) struct buffer *line = buffer_new();
    char *message = indent_further_lines(raw);

    append_stamp(line);
    buffer_printf(line, " %-5s %s\n", log_level_name(level), message);

    pthread_mutex_lock(&mutex);
    if (file >= 0)
        write_all(file, line->bytes, line->length);
    if (level >= lowest_on_stderr) {
        if (listener != NULL)
            listener(listener_self, level, message);
        else
            write_all(STDERR_FILENO, line->bytes, line->length);
    }
    pthread_mutex_unlock(&mutex);
    free(message);
}

PRINTF(2, 0)
static void vlog(enum log_level level, const char *fmt, va_list ap)
{
    CLEANUP(buffer_free) struct buffer *message = buffer_new();

    if (!is_wanted(level))
        return;
    buffer_vprintf(message, fmt, ap);
    emit(level, buffer_text(message));
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_DEBUG, fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_INFO, fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_WARN, fmt, ap);
    va_end(ap);
}

void log_error(const struct error *err, const char *fmt, ...)
{
    CLEANUP(buffer_free) struct buffer *message = buffer_new();
    const char *hint = err == NULL ? NULL : error_hint_text(err);
    va_list ap;

    if (!is_wanted(LOG_ERROR))
        return;
    va_start(ap, fmt);
    buffer_vprintf(message, fmt, ap);
    va_end(ap);
    if (err != NULL)
        buffer_printf(message, ": %s", error_message(err));
    if (hint != NULL)
        buffer_printf(message, "\nhint: %s", hint);
    emit(LOG_ERROR, buffer_text(message));
}
