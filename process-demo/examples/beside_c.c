/* Starts and waits so many times, by fork or by a thread, and prints the nanoseconds of one start. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 42 };

static int by_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(VALUE);
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == VALUE;
}

static void *give_back(void *value)
{
    return value;
}

static int by_pthread(void)
{
    pthread_t worker;
    void *returned;
    return pthread_create(&worker, NULL, give_back, (void *)VALUE) == 0 && pthread_join(worker, &returned) == 0
        && returned == (void *)VALUE;
}

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int (*start)(void) = strcmp(argv[1], "fork") == 0 ? by_fork : by_pthread;
    long count = atol(argv[2]), right = 0;
    long long from_ns = now_ns();
    for (long i = 0; i < count; i++)
        right += start();
    double each_ns = (double)(now_ns() - from_ns) / (double)count;
    printf("%.1f\n", each_ns);
    return right == count ? 0 : 1;
}
