#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

static char *copied(const char *text)
{
	char *copy = strdup(text ? text : "");

	if (!copy)
		abort();
	return copy;
}

static char **copied_all(const char *const *texts, size_t count)
{
	char **copies = command_grown(NULL, count, sizeof *copies);

	for (size_t i = 0; i < count; i++)
		copies[i] = copied(texts[i]);
	return copies;
}

static char *formatted(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		abort();
	return text;
}

void report_init(struct report *report, const char *title)
{
	*report = (struct report){ .title = copied(title), .subtitle = copied("") };
}

void report_subtitle(struct report *report, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	free(report->subtitle);
	report->subtitle = formatted(format, args);
	va_end(args);
}

void report_section(struct report *report, const char *title)
{
	report->sections =
	        command_grown(report->sections, report->section_count + 1, sizeof *report->sections);
	report->sections[report->section_count++] = (struct report_section){ .title = copied(title) };
}

static struct report_block *block_add(struct report *report, enum report_kind kind)
{
	struct report_section *section = &report->sections[report->section_count - 1];

	section->blocks = command_grown(section->blocks, section->block_count + 1, sizeof *section->blocks);
	struct report_block *block = &section->blocks[section->block_count++];
	*block = (struct report_block){ .kind = kind };
	return block;
}

static struct report_block *block_last(struct report *report)
{
	struct report_section *section = &report->sections[report->section_count - 1];

	return &section->blocks[section->block_count - 1];
}

static struct report_line *line_add(struct report_block *block, enum report_tone tone)
{
	/* One more each time would copy a term's rows a thousand times. */
	if ((block->line_count & (block->line_count - 1)) == 0)
		block->lines = command_grown(block->lines, block->line_count > 0 ? block->line_count * 2 : 1,
		        sizeof *block->lines);
	struct report_line *line = &block->lines[block->line_count++];
	*line = (struct report_line){ .tone = tone };
	return line;
}

void report_sentence(struct report *report, enum report_tone tone, const char *format, ...)
{
	va_list args;
	struct report_block *block = block_add(report, REPORT_SENTENCE);

	va_start(args, format);
	block->text = formatted(format, args);
	block->tone = tone;
	va_end(args);
}

static void block_columns(struct report_block *block, const char *const *titles, size_t columns)
{
	block->columns = columns;
	block->titles = copied_all(titles, columns);
}

void report_table(struct report *report, const char *const *titles, size_t columns)
{
	block_columns(block_add(report, REPORT_TABLE), titles, columns);
}

void report_row(struct report *report, enum report_tone tone, const char *const *cells)
{
	struct report_block *block = block_last(report);

	line_add(block, tone)->cells = copied_all(cells, block->columns);
}

void report_bars(struct report *report)
{
	block_add(report, REPORT_BARS)->columns = 1;
}

void report_bar(struct report *report, enum report_tone tone, const char *label, uint64_t value)
{
	struct report_line *line = line_add(block_last(report), tone);

	line->cells = copied_all(&label, 1);
	line->value = value;
}

void report_data(struct report *report, const char *const *titles, size_t columns)
{
	block_columns(&report->data, titles, columns);
}

void report_data_row(struct report *report, const char *const *cells)
{
	line_add(&report->data, TONE_PLAIN)->cells = copied_all(cells, report->data.columns);
}

void report_rows(struct report *report, json_t *rows)
{
	report->rows = json_incref(rows);
}

static void texts_free(char **texts, size_t count)
{
	for (size_t i = 0; texts && i < count; i++)
		free(texts[i]);
	free(texts);
}

static void block_clear(struct report_block *block)
{
	for (size_t i = 0; i < block->line_count; i++)
		texts_free(block->lines[i].cells, block->columns);
	texts_free(block->titles, block->columns);
	free(block->lines);
	free(block->text);
}

void report_clear(struct report *report)
{
	for (size_t i = 0; i < report->section_count; i++) {
		struct report_section *section = &report->sections[i];
		for (size_t k = 0; k < section->block_count; k++)
			block_clear(&section->blocks[k]);
		free(section->blocks);
		free(section->title);
	}
	block_clear(&report->data);
	json_decref(report->rows);
	free(report->sections);
	free(report->title);
	free(report->subtitle);
}

static void print_csv(const struct report_block *data)
{
	command_csv((const char *const *)data->titles, data->columns);
	for (size_t i = 0; i < data->line_count; i++)
		command_csv((const char *const *)data->lines[i].cells, data->columns);
}

static void print_json(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		command_json(row);
	}
}

void report_print(const struct report *report, enum report_format format)
{
	switch (format) {
	case REPORT_HTML:
		report_print_html(report);
		break;
	case REPORT_TEXT:
		report_print_text(report);
		break;
	case REPORT_CSV:
		print_csv(&report->data);
		break;
	case REPORT_JSON:
		print_json(report->rows);
		break;
	}
}
