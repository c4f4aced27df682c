#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum log_level lowest_level = LOG_INFO;
static enum log_level lowest_on_stderr = LOG_INFO;
static int file = -1;
static void (*listener)(void *self, enum log_level level, const char *line);
static void *listener_self;

const char *log_level_name(enum log_level level)
{
    static const char *const names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

    return names[level];
}

void log_set_level(enum log_level lowest)
{
    pthread_mutex_lock(&mutex);
    lowest_level = lowest;
    pthread_mutex_unlock(&mutex);
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

static void emit(enum log_level level, const char *message)
{
    char stamp[40];
    struct tm tm;
    int64_t us = clock_wall_us();
    time_t seconds = (time_t)(us / 1000000);
    char *line = NULL;

    gmtime_r(&seconds, &tm);
    size_t used = strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(stamp + used, sizeof stamp - used, ".%03dZ", (int)(us / 1000 % 1000));
    int length = asprintf(&line, "%s %-5s %s\n", stamp, log_level_name(level), message);
    if (length < 0)
        return;

    pthread_mutex_lock(&mutex);
    if (level >= lowest_level) {
        if (file >= 0)
            write_all(file, line, (size_t)length);
        if (level >= lowest_on_stderr) {
            if (listener != NULL)
                listener(listener_self, level, message);
            else
                write_all(STDERR_FILENO, line, (size_t)length);
        }
    }
    pthread_mutex_unlock(&mutex);
    free(line);
}

PRINTF(2, 0)
static void vlog(enum log_level level, const char *fmt, va_list ap)
{
    char *message = NULL;

    if (vasprintf(&message, fmt, ap) >= 0)
        emit(level, message);
    free(message);
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
    va_list ap;
    char *what = NULL, *message = NULL;

    va_start(ap, fmt);
    int length = vasprintf(&what, fmt, ap);
    va_end(ap);
    if (length < 0)
        return;
    if (err == NULL) {
        emit(LOG_ERROR, what);
    } else {
        const char *hint = error_hint_text(err);

        if (asprintf(&message, "%s: %s%s%s", what, error_message(err), hint == NULL ? "" : "\n    hint: ",
                     hint == NULL ? "" : hint) >= 0)
            emit(LOG_ERROR, message);
    }
    free(message);
    free(what);
}
