/*
 * A report as one self-contained page: no script, nothing fetched (its own policy forbids it), charts as
 * inline SVG, and a style that prints on paper.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

#define BAR_HEIGHT 22
#define BAR_LABEL 300 /* where the bars begin: as long as the longest category that is shipped */
#define BAR_LENGTH 380
#define BAR_ROOM 90   /* for the number behind */
#define SHORT_CELL 17 /* characters that stay in one line, such as an address */

static const char *const tones[] = {
	[TONE_PLAIN] = "plain", [TONE_DANGER] = "danger", [TONE_CAUTION] = "caution", [TONE_QUIET] = "quiet"
};

static const char head[] =
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<style>\n"
        "body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 60em; margin: 2em auto; "
        "padding: 0 1em }\n"
        "h1 { font-size: 1.6em; margin-bottom: 0 }\n"
        "h2 { font-size: 1.15em; border-bottom: 1px solid #bbb; margin-top: 1.8em }\n"
        ".subtitle { color: #555; margin-top: .2em }\n"
        "table { border-collapse: collapse; width: 100%; margin: .6em 0 }\n"
        "th, td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; border-bottom: 1px "
        "solid #ddd; overflow-wrap: anywhere }\n"
        ".short { white-space: nowrap }\n"
        "th { border-bottom: 2px solid #888 }\n"
        "tr.danger td:first-child, p.danger { border-left: 5px solid #b00020; padding-left: .6em }\n"
        "tr.caution td:first-child, p.caution { border-left: 5px solid #c77700; padding-left: .6em }\n"
        "tr.quiet td, p.quiet { color: #666 }\n"
        "svg text { font: 13px system-ui, sans-serif; fill: #1a1a1a }\n"
        "rect.plain { fill: #3a6ea5 } rect.danger { fill: #b00020 } rect.caution { fill: #c77700 } "
        "rect.quiet { fill: #999 }\n"
        "@media print { body { margin: 0; max-width: none; font-size: 11px } h2, tr, svg { break-inside: "
        "avoid; break-after: auto } thead { display: table-header-group } }\n"
        "</style>\n";

/* Safe text, its markup as text: inside an element or a quoted attribute. */
static void print_escaped(const char *text)
{
	char *safe = command_safe_text(text);

	for (const char *p = safe; *p != '\0'; p++) {
		const char *entity = *p == '<'    ? "&lt;"
		                     : *p == '>'  ? "&gt;"
		                     : *p == '&'  ? "&amp;"
		                     : *p == '"'  ? "&quot;"
		                     : *p == '\'' ? "&#39;"
		                                  : NULL;
		if (entity)
			fputs(entity, stdout);
		else
			putchar(*p);
	}
	free(safe);
}

static void print_element(const char *tag, const char *text)
{
	printf("<%s>", tag);
	print_escaped(text);
	printf("</%s>", tag);
}

static void print_cell(const char *tag, const char *text)
{
	if (strlen(text) > SHORT_CELL) {
		print_element(tag, text);
		return;
	}
	printf("<%s class=\"short\">", tag);
	print_escaped(text);
	printf("</%s>", tag);
}

static void print_sentence(const struct report_block *block)
{
	printf("<p class=\"%s\">", tones[block->tone]);
	print_escaped(block->text);
	puts("</p>");
}

static void print_table(const struct report_block *block)
{
	fputs("<table><thead><tr>", stdout);
	for (size_t i = 0; i < block->columns; i++)
		print_cell("th", block->titles[i]);
	puts("</tr></thead><tbody>");
	for (size_t i = 0; i < block->line_count; i++) {
		printf("<tr class=\"%s\">", tones[block->lines[i].tone]);
		for (size_t k = 0; k < block->columns; k++)
			print_cell("td", block->lines[i].cells[k]);
		puts("</tr>");
	}
	puts("</tbody></table>");
}

static void print_bar(const struct report_line *line, size_t at, uint64_t most)
{
	size_t y = at * BAR_HEIGHT;
	uint64_t length = line->value * BAR_LENGTH / most;

	printf("<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", BAR_LABEL - 8, y + 15);
	print_escaped(line->cells[0]);
	printf("</text><rect class=\"%s\" x=\"%d\" y=\"%zu\" width=\"%" PRIu64 "\" height=\"%d\"/>",
	        tones[line->tone], BAR_LABEL, y + 3, length > 0 || line->value == 0 ? length : 1,
	        BAR_HEIGHT - 6);
	printf("<text x=\"%" PRIu64 "\" y=\"%zu\">%" PRIu64 "</text>\n", BAR_LABEL + length + 6, y + 15,
	        line->value);
}

static void print_bars(const struct report_block *block)
{
	uint64_t most = 1;

	for (size_t i = 0; i < block->line_count; i++)
		most = block->lines[i].value > most ? block->lines[i].value : most;
	printf("<svg role=\"img\" width=\"100%%\" viewBox=\"0 0 %d %zu\" style=\"max-width: %dpx\">\n",
	        BAR_LABEL + BAR_LENGTH + BAR_ROOM, block->line_count * BAR_HEIGHT + 4,
	        BAR_LABEL + BAR_LENGTH + BAR_ROOM);
	for (size_t i = 0; i < block->line_count; i++)
		print_bar(&block->lines[i], i, most);
	puts("</svg>");
}

void report_print_html(const struct report *report)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", stdout);
	fputs(head, stdout);
	print_element("title", report->title);
	fputs("\n</head>\n<body>\n", stdout);
	print_element("h1", report->title);
	fputs("\n<p class=\"subtitle\">", stdout);
	print_escaped(report->subtitle);
	puts("</p>");
	for (size_t i = 0; i < report->section_count; i++) {
		const struct report_section *section = &report->sections[i];
		print_element("h2", section->title);
		putchar('\n');
		for (size_t k = 0; k < section->block_count; k++) {
			const struct report_block *block = &section->blocks[k];
			if (block->kind == REPORT_SENTENCE)
				print_sentence(block);
			else if (block->kind == REPORT_TABLE)
				print_table(block);
			else
				print_bars(block);
		}
	}
	puts("</body>\n</html>");
}
