/* A report for a terminal, a mail or a printer that knows letters only. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

#define LINE_WIDTH 100
#define BAR_WIDTH 40

static size_t text_columns(const char *text)
{
	size_t columns = 0;

	for (; *text != '\0'; text++)
		columns += (*text & 0xc0) != 0x80;
	return columns;
}

static void underlined(const char *text, char line)
{
	char *safe = command_safe_text(text);

	puts(safe);
	for (size_t i = text_columns(safe); i > 0; i--)
		putchar(line);
	putchar('\n');
	free(safe);
}

/* Breaks at spaces; a longer word stands on a line of its own. */
static void print_wrapped(const char *text)
{
	char *safe = command_safe_text(text), *rest = safe;
	size_t column = 0;

	for (char *word; (word = strsep(&rest, " ")) != NULL;) {
		size_t width = text_columns(word);
		if (column > 0 && column + 1 + width > LINE_WIDTH) {
			putchar('\n');
			column = 0;
		}
		printf("%s%s", column > 0 ? " " : "", word);
		column += width + (column > 0);
	}
	putchar('\n');
	free(safe);
}

static void print_table(const struct report_block *block)
{
	struct command_table *table = command_table_new((const char *const *)block->titles, block->columns);

	command_table_wraps(table);
	for (size_t i = 0; i < block->line_count; i++)
		command_table_row(table, (const char *const *)block->lines[i].cells);
	command_table_print(table);
}

static void print_bars(const struct report_block *block)
{
	uint64_t most = 1;
	size_t width = 0;

	for (size_t i = 0; i < block->line_count; i++) {
		size_t columns = text_columns(block->lines[i].cells[0]);
		width = columns > width ? columns : width;
		most = block->lines[i].value > most ? block->lines[i].value : most;
	}
	for (size_t i = 0; i < block->line_count; i++) {
		const struct report_line *line = &block->lines[i];
		char *label = command_safe_text(line->cells[0]);
		printf("%s%*s  ", label, (int)(width - text_columns(label)), "");
		for (uint64_t k = (line->value * BAR_WIDTH + most - 1) / most; k > 0; k--)
			putchar('#');
		printf("%s%" PRIu64 "\n", line->value > 0 ? " " : "", line->value);
		free(label);
	}
}

void report_print_text(const struct report *report)
{
	underlined(report->title, '=');
	if (report->subtitle[0] != '\0')
		print_wrapped(report->subtitle);
	for (size_t i = 0; i < report->section_count; i++) {
		const struct report_section *section = &report->sections[i];
		putchar('\n');
		underlined(section->title, '-');
		for (size_t k = 0; k < section->block_count; k++) {
			const struct report_block *block = &section->blocks[k];
			if (block->kind == REPORT_SENTENCE)
				print_wrapped(block->text);
			else if (block->kind == REPORT_TABLE)
				print_table(block);
			else
				print_bars(block);
		}
	}
}
