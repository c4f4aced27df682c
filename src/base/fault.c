#include "base/fault.h"

#ifdef PGTIDE_FAULTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { RULES_MAX = 32, NAME_LENGTH_MAX = 63, RULE_LENGTH_MAX = 127 };

enum action {
    ACTION_CRASH,
    ACTION_ERROR,
    ACTION_FAIL,
    ACTION_WAIT,
    ACTION_COUNT,
};

static const char *const action_names[ACTION_COUNT] = {"crash", "error", "fail", "wait"};

struct rule {
    char name[NAME_LENGTH_MAX + 1];
    enum action action;
    unsigned long at; /* the nth arrival; 0 is every one */
    unsigned long wait_ms;
    unsigned long arrivals;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct rule rules[RULES_MAX];
static unsigned n_rules;

/* A test whose fault is not understood must not pass. */
NORETURN static void refuse(const char *text)
{
    fprintf(stderr, "cannot read PGTIDE_FAULT at \"%s\"\n", text);
    abort();
}

/* Cuts the text at `separator`; returns what follows, NULL when there is none. */
static char *split(char *text, char separator)
{
    char *found = strchr(text, separator);

    if (found == NULL)
        return NULL;
    *found = '\0';
    return found + 1;
}

/* 0 for NULL. */
static unsigned long number_of(const char *digits)
{
    char *end = NULL;

    if (digits == NULL)
        return 0;
    unsigned long n = strtoul(digits, &end, 10);
    if (end == digits || *end != '\0')
        refuse(digits);
    return n;
}

static enum action action_of(const char *name)
{
    for (unsigned i = 0; i < ACTION_COUNT; i++) {
        if (strcmp(action_names[i], name) == 0)
            return (enum action)i;
    }
    refuse(name);
}

/* name=action[@nth][:ms] */
static void parse_rule(const char *text, size_t length)
{
    char copy[RULE_LENGTH_MAX + 1];
    struct rule *r = &rules[n_rules];

    if (n_rules == RULES_MAX || length > RULE_LENGTH_MAX)
        refuse(text);
    memcpy(copy, text, length);
    copy[length] = '\0';

    char *action = split(copy, '=');
    if (action == NULL || strlen(copy) > NAME_LENGTH_MAX)
        refuse(text);
    r->wait_ms = number_of(split(action, ':'));
    r->at = number_of(split(action, '@'));
    r->action = action_of(action);
    memcpy(r->name, copy, strlen(copy) + 1);
    n_rules++;
}

static void parse_rules(void)
{
    const char *text = getenv("PGTIDE_FAULT"); /* NOLINT(concurrency-mt-unsafe): nothing changes the environment */

    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");

        parse_rule(text, length);
        text += length + (text[length] == ',');
    }
}

static void wait_ms(unsigned long ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static struct rule *rule_that_strikes(const char *name)
{
    struct rule *found = NULL;

    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < n_rules; i++) {
        struct rule *r = &rules[i];

        if (strcmp(r->name, name) != 0)
            continue;
        r->arrivals++;
        if (r->at == 0 || r->at == r->arrivals)
            found = r;
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

struct error *fault_reached(const char *name)
{
    pthread_once(&once, parse_rules);

    const struct rule *r = rule_that_strikes(name);
    if (r == NULL)
        return NULL;
    switch (r->action) {
    case ACTION_CRASH:
        kill(getpid(), SIGKILL);
        break; /* never */
    case ACTION_WAIT:
        log_info("waiting at fault point \"%s\"", name); /* tests strike now */
        wait_ms(r->wait_ms);
        return NULL;
    case ACTION_ERROR:
        return error_new(ERROR_TRANSIENT, "injected fault at \"%s\"", name);
    case ACTION_FAIL:
        return error_new(ERROR_DATA, "injected fault at \"%s\"", name);
    case ACTION_COUNT:
        break;
    }
    refuse(name); /* never: action_of gives the actions above */
}

#else
typedef int fault_is_compiled_out; /* an empty translation unit is not C */
#endif
