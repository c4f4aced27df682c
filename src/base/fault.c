#include "base/fault.h"

#ifdef PGTIDE_FAULTS

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 32, NAME_MAX_LENGTH = 64 };

struct rule {
    char name[NAME_MAX_LENGTH];
    char action[8];
    unsigned long at; /* the nth arrival; 0 is every one */
    unsigned long wait_ms;
    unsigned long arrivals;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct rule rules[RULES_MAX];
static unsigned n_rules;

static void parse_rule(const char *text, size_t length)
{
    char copy[128] = {0};
    struct rule *r = &rules[n_rules];

    if (n_rules == RULES_MAX || length >= sizeof copy)
        abort();
    memcpy(copy, text, length);
    char *action = strchr(copy, '=');
    if (action == NULL)
        abort();
    *action++ = '\0';
    char *wait = strchr(action, ':');
    if (wait != NULL) {
        *wait++ = '\0';
        r->wait_ms = strtoul(wait, NULL, 10);
    }
    char *at = strchr(action, '@');
    if (at != NULL) {
        *at++ = '\0';
        r->at = strtoul(at, NULL, 10);
    }
    snprintf(r->name, sizeof r->name, "%.63s", copy);
    snprintf(r->action, sizeof r->action, "%.7s", action);
    n_rules++;
}

static void parse_rules(void)
{
    const char *text = getenv("PGTIDE_FAULT");

    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");

        parse_rule(text, length);
        text += length + (text[length] == ',');
    }
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
    if (strcmp(r->action, "crash") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(r->action, "wait") == 0) {
        const struct timespec pause = {(time_t)(r->wait_ms / 1000), (long)(r->wait_ms % 1000) * 1000000L};

        nanosleep(&pause, NULL);
        return NULL;
    }
    return error_new(strcmp(r->action, "fail") == 0 ? ERROR_DATA : ERROR_TRANSIENT, "injected fault at \"%s\"", name);
}

#else
typedef int fault_is_compiled_out; /* an empty translation unit is not C */
#endif
