#include "list_loader.h"

#include <cap-ng.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATIENCE_S 2
#define RLIMIT_NICE_USUAL 20 /* the lowest RLIMIT_NICE with which a thread may have niceness 0 */
#define NICE_LOW 10          /* a tenth of what a worker gets, where there is not enough for both */

struct list_loader {
	list_loader_done done;
	void *arg;
	int fd; /* rings when the thread has finished */
	struct event *finished, *hurry;

	bool busy;
	pthread_t thread;
	/* The thread's while it runs. */
	char dir[PATH_MAX], why[LISTS_WHY_MAX];
	struct config *config;
	struct lists *lists;
	int ret;
};

static void thread_class(pthread_t thread, int class)
{
	struct sched_param none = { 0 };

	pthread_setschedparam(thread, class, &none);
}

/* Who has not the right to niceness 0 never comes back from SCHED_IDLE (sched(7)). */
static bool may_come_back(void)
{
	struct rlimit nice;

	if (getrlimit(RLIMIT_NICE, &nice) == 0 && nice.rlim_cur >= RLIMIT_NICE_USUAL)
		return true;
	return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE) == 1;
}

static void thread_give_way(void)
{
	if (may_come_back())
		thread_class(pthread_self(), SCHED_IDLE);
	else
		setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_LOW); /* of this thread alone */
}

static void *loader_run(void *arg)
{
	struct list_loader *loader = arg;
	const char *names[CONFIG_CATEGORIES_MAX];
	uint64_t one = 1;

	pthread_setname_np(pthread_self(), "lists");
	thread_give_way();
	for (size_t i = 0; i < loader->config->category_count; i++)
		names[i] = loader->config->categories[i].name;
	loader->ret = lists_open(
	        &loader->lists, loader->dir, NULL, names, loader->config->category_count, loader->why);
	while (write(loader->fd, &one, sizeof one) < 0 && errno == EINTR)
		;
	return NULL;
}

/* Waits for the thread; the loader is free for another open after it. */
static void loader_join(struct list_loader *loader)
{
	pthread_join(loader->thread, NULL);
	event_del(loader->hurry);
	loader->busy = false;
}

static void loader_finished(evutil_socket_t fd, short what, void *arg)
{
	struct list_loader *loader = arg;
	struct config *config = loader->config;
	uint64_t rings;

	if (read(fd, &rings, sizeof rings) < 0)
		return;
	loader_join(loader);
	loader->done(loader->arg, config, loader->ret, loader->ret == 0 ? loader->lists : NULL, loader->why);
	config_free(config);
}

static void loader_hurry(evutil_socket_t fd, short what, void *arg)
{
	struct list_loader *loader = arg;

	thread_class(loader->thread, SCHED_BATCH);
}

struct list_loader *list_loader_new(struct event_base *base, list_loader_done done, void *arg)
{
	struct list_loader *loader = calloc(1, sizeof *loader);

	if (loader == NULL)
		return NULL;
	loader->done = done;
	loader->arg = arg;
	loader->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loader->finished = event_new(base, loader->fd, EV_READ | EV_PERSIST, loader_finished, loader);
	loader->hurry = event_new(base, -1, 0, loader_hurry, loader);
	if (loader->fd < 0 || loader->finished == NULL || loader->hurry == NULL ||
	        event_add(loader->finished, NULL) < 0) {
		list_loader_free(loader);
		return NULL;
	}
	return loader;
}

void list_loader_free(struct list_loader *loader)
{
	if (loader == NULL)
		return;
	if (loader->busy) {
		loader_hurry(-1, 0, loader);
		loader_join(loader);
		if (loader->ret == 0)
			lists_free(loader->lists);
		config_free(loader->config);
	}
	if (loader->finished != NULL)
		event_free(loader->finished);
	if (loader->hurry != NULL)
		event_free(loader->hurry);
	if (loader->fd >= 0)
		close(loader->fd);
	free(loader);
}

int list_loader_open(struct list_loader *loader, const char *dir, struct config *config)
{
	static const struct timeval patience = { .tv_sec = PATIENCE_S };
	int ret = loader->busy ? -EBUSY : 0;

	if (ret == 0 && snprintf(loader->dir, sizeof loader->dir, "%s", dir) >= (int)sizeof loader->dir)
		ret = -ENAMETOOLONG;
	if (ret == 0) {
		loader->config = config;
		ret = -pthread_create(&loader->thread, NULL, loader_run, loader);
	}
	if (ret < 0) {
		config_free(config);
		return ret;
	}
	loader->busy = true;
	event_add(loader->hurry, &patience);
	return 0;
}

bool list_loader_is_busy(const struct list_loader *loader)
{
	return loader->busy;
}

static void *drop_run(void *lists)
{
	pthread_setname_np(pthread_self(), "lists");
	thread_give_way();
	lists_free(lists);
	return NULL;
}

void list_loader_drop(struct lists *lists)
{
	pthread_t thread;

	if (lists == NULL)
		return;
	if (pthread_create(&thread, NULL, drop_run, lists) != 0)
		lists_free(lists);
	else
		pthread_detach(thread);
}
