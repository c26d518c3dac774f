/* Holds a pod's namespaces until it is told to end, and collects the children that others leave behind. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

static void collect(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(void) {
    /* The first process of a namespace gets no signal that it did not ask for. */
    struct sigaction on_end = {.sa_handler = end}, on_child = {.sa_handler = collect, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGINT, &on_end, NULL);
    sigaction(SIGCHLD, &on_child, NULL);
    for (;;) {
        pause();
    }
}
