#include "list_loader.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "thread_class.h"

#define PATIENCE_S 2

struct list_loader {
	list_loader_done done;
	void *arg;
	int fd; /* rings when the thread has finished */
	struct event *finished, *hurry;

	bool busy;
	pthread_t thread;
	/* The thread's while it runs. */
	char dir[PATH_MAX], why[LISTS_WHY_MAX];
	struct config *config; /* references */
	struct rules *rules;
	struct snapshot *snapshot;
	int ret;
};

/* Opens the lists, and makes the snapshot of them. */
static int loader_open(struct list_loader *loader)
{
	const char *names[CONFIG_CATEGORIES_MAX];
	struct lists *lists;

	for (size_t i = 0; i < loader->config->category_count; i++)
		names[i] = loader->config->categories[i].name;
	int ret = lists_open(&lists, loader->dir, NULL, names, loader->config->category_count, loader->why);
	if (ret < 0)
		return ret;
	lists_prepare(lists);
	loader->snapshot = snapshot_new(config_ref(loader->config), lists, rules_ref(loader->rules));
	return loader->snapshot != NULL ? 0 : -ENOMEM;
}

static void *loader_run(void *arg)
{
	struct list_loader *loader = arg;
	uint64_t one = 1;

	pthread_setname_np(pthread_self(), "lists");
	thread_give_way();
	loader->ret = loader_open(loader);
	while (write(loader->fd, &one, sizeof one) < 0 && errno == EINTR)
		;
	return NULL;
}

/* Waits for the thread; the loader is free for another open after it. */
static void loader_join(struct list_loader *loader)
{
	pthread_join(loader->thread, NULL);
	event_del(loader->hurry);
	config_free(loader->config);
	rules_free(loader->rules);
	loader->busy = false;
}

static void loader_finished(evutil_socket_t fd, short what, void *arg)
{
	struct list_loader *loader = arg;
	uint64_t rings;

	if (read(fd, &rings, sizeof rings) < 0)
		return;
	loader_join(loader);
	loader->done(loader->arg, loader->ret, loader->ret == 0 ? loader->snapshot : NULL, loader->why);
}

static void loader_hurry(evutil_socket_t fd, short what, void *arg)
{
	struct list_loader *loader = arg;

	thread_take_share(loader->thread);
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
			snapshot_free(loader->snapshot);
	}
	if (loader->finished != NULL)
		event_free(loader->finished);
	if (loader->hurry != NULL)
		event_free(loader->hurry);
	if (loader->fd >= 0)
		close(loader->fd);
	free(loader);
}

int list_loader_open(struct list_loader *loader, const char *dir, struct config *config, struct rules *rules)
{
	static const struct timeval patience = { .tv_sec = PATIENCE_S };
	int ret = loader->busy ? -EBUSY : 0;

	if (ret == 0 && snprintf(loader->dir, sizeof loader->dir, "%s", dir) >= (int)sizeof loader->dir)
		ret = -ENAMETOOLONG;
	if (ret == 0) {
		loader->config = config;
		loader->rules = rules;
		ret = -pthread_create(&loader->thread, NULL, loader_run, loader);
	}
	if (ret < 0) {
		config_free(config);
		rules_free(rules);
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

static void *drop_run(void *snapshot)
{
	pthread_setname_np(pthread_self(), "lists");
	thread_give_way();
	snapshot_free(snapshot);
	return NULL;
}

void list_loader_drop(struct snapshot *snapshot)
{
	pthread_t thread;

	if (snapshot == NULL)
		return;
	if (pthread_create(&thread, NULL, drop_run, snapshot) != 0)
		snapshot_free(snapshot);
	else
		pthread_detach(thread);
}
