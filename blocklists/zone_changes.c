#include "zone_changes.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct zone_changes {
	void *removed, *added; /* trees of lines, tsearch(3) */
	size_t count;
};

static int line_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Takes the line out. Returns false if it is not in. */
static bool tree_take(void **tree, const char *line)
{
	char *const *found = tfind(line, tree, line_compare);

	if (found == NULL)
		return false;
	char *held = *found;
	tdelete(line, tree, line_compare);
	free(held);
	return true;
}

static int tree_put(void **tree, const char *line)
{
	char *copy = strdup(line);
	char *const *found = copy != NULL ? tsearch(copy, tree, line_compare) : NULL;

	if (found == NULL) {
		free(copy);
		return -ENOMEM;
	}
	if (*found == copy)
		return 0;
	free(copy);
	return -EBADMSG;
}

struct zone_changes *zone_changes_new(void)
{
	return calloc(1, sizeof(struct zone_changes));
}

void zone_changes_free(struct zone_changes *changes)
{
	if (changes == NULL)
		return;
	tdestroy(changes->removed, free);
	tdestroy(changes->added, free);
	free(changes);
}

/* What came and goes again was never there, and the other way. */
static int change(struct zone_changes *changes, void **from, void **to, const char *line)
{
	if (tree_take(from, line)) {
		changes->count--;
		return 0;
	}
	if (changes->count == ZONE_CHANGES_MAX)
		return -E2BIG;
	changes->count++;
	return tree_put(to, line);
}

int zone_changes_remove(struct zone_changes *changes, const char *line)
{
	return change(changes, &changes->added, &changes->removed, line);
}

int zone_changes_add(struct zone_changes *changes, const char *line)
{
	return change(changes, &changes->removed, &changes->added, line);
}

static void line_print(const void *node, VISIT visit, void *to)
{
	if (visit == postorder || visit == leaf)
		fprintf(to, "%s\n", *(char *const *)node);
}

/* Without its end. Returns false at the end of the text. */
static bool line_next(char **line, size_t *room, FILE *text)
{
	ssize_t len = getline(line, room, text);

	if (len > 0 && (*line)[len - 1] == '\n')
		(*line)[len - 1] = '\0';
	return len > 0;
}

int zone_changes_apply(
        struct zone_changes *changes, FILE *held, const char *old_soa, const char *soa, FILE *to)
{
	char *line = NULL;
	size_t room = 0;
	int ret = line_next(&line, &room, held) && strcmp(line, old_soa) == 0 ? 0 : -EBADMSG;

	fprintf(to, "%s\n", soa);
	while (ret == 0 && line_next(&line, &room, held)) {
		if (tree_take(&changes->removed, line))
			continue;
		if (tfind(line, &changes->added, line_compare) != NULL)
			ret = -EBADMSG;
		fprintf(to, "%s\n", line);
	}
	if (ret == 0 && (changes->removed != NULL || ferror(held)))
		ret = -EBADMSG;
	if (ret == 0)
		twalk_r(changes->added, line_print, to);
	free(line);
	return ret == 0 && ferror(to) ? -EIO : ret;
}
