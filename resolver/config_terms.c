/* terms.holidays: the days of dates, ranges and iCalendar files, sorted into one array. */
#include <string.h>

#include "calendar.h"
#include "config_option.h"

static void holiday_read(struct config_reader *reader, struct calendar *calendar, const char *text,
        const struct config_node *node, size_t index)
{
	char why[CALENDAR_WHY_MAX];

	if (text[0] != '/') {
		if (calendar_add_dates(calendar, text) < 0)
			reader->tree->no_memory = true; /* the dates themselves were read before */
		return;
	}
	if (reader->from_file && calendar_add_file(calendar, text, why) < 0)
		config_problem(&reader->tree->problems, node->file, node->line,
		        "terms.holidays[%zu]: found '%s', expected an iCalendar file with the holidays as "
		        "events: %s",
		        index, text, why);
}

/* A period that waits for holidays which nobody wrote down. */
static void warn_of_no_holidays(struct config_reader *reader)
{
	const struct config *config = reader->config;
	const struct config_node *periods = config_node_find(reader->tree->root, "periods");
	const struct config_node *node = periods != NULL ? periods->first : NULL;

	for (size_t i = 0; i < config->period_count && node != NULL; i++, node = node->next) {
		if (config->periods[i].when != PERIOD_HOLIDAYS || config->holiday_count > 0)
			continue;
		size_t mark = config_path_push(reader, "periods");
		config_path_push(reader, config->periods[i].name);
		config_warn(reader, node, "it is for holidays, and terms.holidays has none: it never begins");
		config_path_pop(reader, mark);
	}
}

void config_read_holidays(struct config_reader *reader)
{
	struct config *config = reader->config;
	const struct config_node *list =
	        config_node_find(config_node_find(reader->tree->root, "terms"), "holidays");
	const struct config_node *node = list != NULL ? list->first : NULL;
	struct calendar calendar = { 0 };

	for (size_t i = 0; i < config->holiday_count && node != NULL; i++, node = node->next)
		holiday_read(reader, &calendar, config->holidays[i], node, i);
	calendar_finish(&calendar);
	config->holiday_ranges = config_reader_alloc(reader, calendar.count * sizeof *calendar.ranges);
	if (config->holiday_ranges != NULL && calendar.count > 0) {
		memcpy(config->holiday_ranges, calendar.ranges, calendar.count * sizeof *calendar.ranges);
		config->holiday_range_count = calendar.count;
	}
	calendar_clear(&calendar);
	warn_of_no_holidays(reader);
}
