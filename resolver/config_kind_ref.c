#include "config_kind.h"

#include "nearest.h"

#define NAMES_TEXT_MAX 300

/* Says that node names nothing we have. names: count of them, stride octets apart, the name first in each. */
static void not_one_of(struct config_reader *reader, const struct config_node *node, const char *what,
        const void *items, size_t count, size_t stride)
{
	struct nearest nearest = { .word = node->type == NODE_SCALAR ? node->text : "" };
	char names[NAMES_TEXT_MAX];
	size_t len = 0, told = 0;

	names[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		const char *name = *(const char *const *)((const char *)items + i * stride);
		if (name == NULL)
			continue;
		nearest_try(&nearest, name);
		if (len + strlen(name) + 8 < sizeof names) {
			len += (size_t)snprintf(
			        names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "", name);
			told++;
		}
	}
	if (nearest.best != NULL)
		config_wrong(reader, node, "%s: did you mean '%s'?", what, nearest.best);
	else if (count == 0)
		config_wrong(reader, node, "%s, of which there is none", what);
	else
		config_wrong(reader, node, "%s: %s%s", what, names, told < count ? ", ..." : "");
}

/* ---- categories ---- */

static int category_place(struct config_reader *reader, const struct config_node *node)
{
	const struct config *config = reader->config;
	int place = node->type == NODE_SCALAR ? config_category(config, node->text) : -1;

	if (place < 0)
		not_one_of(reader, node, "a category", config->categories, config->category_count,
		        sizeof *config->categories);
	return place;
}

READ(category)
{
	if (node->len == 0 && config_may_be_empty(option)) {
		*(int *)at = -1;
		return;
	}
	int place = category_place(reader, node);
	if (place >= 0)
		*(int *)at = place;
}

PRINT(category)
{
	int place = *(const int *)at;
	config_print_scalar(printer->to, place < 0 ? "" : printer->config->categories[place].name);
}

KIND(category, .example = "gambling");

READ(categories)
{
	size_t index = 0;

	if (node->type != NODE_LIST) {
		config_wrong(reader, node, "a list of categories such as [gambling, games]; [] for none");
		return;
	}
	for (const struct config_node *item = node->first; item != NULL; item = item->next) {
		size_t mark = config_path_index(reader, index++);
		int place = category_place(reader, item);
		if (place >= 0)
			*(uint64_t *)at |= UINT64_C(1) << place;
		config_path_pop(reader, mark);
	}
}

PRINT(categories)
{
	uint64_t set = *(const uint64_t *)at;
	const char *gap = "";

	fputc('[', printer->to);
	for (size_t i = 0; i < printer->config->category_count; i++) {
		if ((set >> i & 1) == 0)
			continue;
		fputs(gap, printer->to);
		config_print_scalar(printer->to, printer->config->categories[i].name);
		gap = ", ";
	}
	fputc(']', printer->to);
}

KIND(categories, .takes_lists = true, .example = "gambling");

/* ---- profiles and periods ---- */

READ(profile)
{
	const struct config *config = reader->config;
	int place = config_profile(config, node->text);

	if (place >= 0)
		*(unsigned *)at = (unsigned)place;
	else
		not_one_of(reader, node, "a profile", config->profiles, config->profile_count,
		        sizeof *config->profiles);
}

PRINT(profile)
{
	config_print_scalar(printer->to, printer->config->profiles[*(const unsigned *)at].name);
}

KIND(profile, .example = "pupils");

READ(period)
{
	const struct config *config = reader->config;

	for (size_t i = 0; i < config->period_count; i++)
		if (config->periods[i].name != NULL && strcmp(config->periods[i].name, node->text) == 0) {
			*(unsigned *)at = (unsigned)i;
			return;
		}
	not_one_of(reader, node, "a period", config->periods, config->period_count, sizeof *config->periods);
}

PRINT(period)
{
	config_print_scalar(printer->to, printer->config->periods[*(const unsigned *)at].name);
}

KIND(period, .example = "lunch");
