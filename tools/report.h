/*
 * A report: a title and sections of sentences, tables and bars. Those who fill it (report_day.c,
 * report_term.c, report_person.c) know nothing of formats, and the formats nothing of the log.
 *
 * Texts are copied. All that is shown may come from a pupil's lookup: report_print() makes it safe for its
 * format.
 */
#ifndef USHER_REPORT_H
#define USHER_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum report_format { REPORT_HTML, REPORT_TEXT, REPORT_CSV, REPORT_JSON };

/* How a row or a bar is coloured where there is colour. */
enum report_tone { TONE_PLAIN, TONE_DANGER, TONE_CAUTION, TONE_QUIET };

enum report_kind { REPORT_SENTENCE, REPORT_TABLE, REPORT_BARS };

struct report_line {
	enum report_tone tone;
	uint64_t value; /* of a bar */
	char **cells;   /* of a row, or the bar's label */
};

struct report_block {
	enum report_kind kind;
	char *text; /* a sentence */
	enum report_tone tone;
	size_t columns;
	char **titles;
	struct report_line *lines;
	size_t line_count;
};

struct report_section {
	char *title;
	struct report_block *blocks;
	size_t block_count;
};

struct report {
	char *title, *subtitle;
	struct report_section *sections;
	size_t section_count;
	struct report_block data; /* the rows of the CSV, for spreadsheets */
	json_t *rows;             /* an array, for other programs */
};

/* Ends the program where there is no memory, as all of tools/ does. */
void report_init(struct report *report, const char *title);
void report_clear(struct report *report);
void report_subtitle(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

void report_section(struct report *report, const char *title);

/* What follows goes into the section begun last. */
void report_sentence(struct report *report, enum report_tone tone, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void report_table(struct report *report, const char *const *titles, size_t columns);
void report_row(struct report *report, enum report_tone tone, const char *const *cells);
void report_bars(struct report *report);
void report_bar(struct report *report, enum report_tone tone, const char *label, uint64_t value);

void report_data(struct report *report, const char *const *titles, size_t columns);
void report_data_row(struct report *report, const char *const *cells);

/* The objects that --json prints, one a line. The report holds them too. */
void report_rows(struct report *report, json_t *rows);

/* Prints to stdout. */
void report_print(const struct report *report, enum report_format format);
void report_print_html(const struct report *report);
void report_print_text(const struct report *report);

#endif
