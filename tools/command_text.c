/*
 * Text for people and spreadsheets. What is shown may come from a pupil's lookup, a list or a stranger's DNS
 * server: it must not move the cursor, hide a line, reverse it, or be taken for a formula.
 */
#include "commands.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "resolver/character.h"

/* ---- safe text ---- */

/* line_breaks: line feed and such stay, for CSV, where quotes hold them. */
static char *text_clean(const char *text, bool line_breaks)
{
	char *clean = malloc(strlen(text) + 1), *to = clean;

	if (!clean)
		abort();
	for (const char *p = text; *p != '\0';) {
		uint32_t c;
		unsigned len = character_read(p, &c);
		bool keep = len > 0 && (!character_is_unsafe(c) ||
		                               (line_breaks && (c == '\n' || c == '\r' || c == '\t')));
		if (len == 0)
			len = 1;
		if (keep) {
			memcpy(to, p, len);
			to += len;
		} else {
			*to++ = '?';
		}
		p += len;
	}
	*to = '\0';
	return clean;
}

char *command_safe_text(const char *text)
{
	return text_clean(text, false);
}

void command_say(const char *text)
{
	char *clean = text_clean(text, true), *rest = clean;

	for (char *line; (line = strsep(&rest, "\r\n"));)
		if (*line != '\0')
			fprintf(stderr, "usher: %s\n", line);
	free(clean);
}

/* ---- JSON ---- */

/* Above U+FFFF two surrogates: RFC 8259 7. */
static void json_escape(uint32_t c)
{
	if (c < 0x10000)
		printf("\\u%04X", c);
	else
		printf("\\u%04X\\u%04X", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
}

void command_json_line(const char *json)
{
	const char *plain = json; /* from here on nothing is printed yet */

	for (const char *p = json; *p != '\0';) {
		uint32_t c;
		unsigned len = character_read(p, &c);
		/* Below DEL only what parts tokens can be a control: jansson escapes it in strings. */
		bool keep = len > 0 && (c < 0x7f || !character_is_unsafe(c));
		if (!keep) {
			fwrite(plain, 1, (size_t)(p - plain), stdout);
			json_escape(len > 0 ? c : 0xfffd);
			plain = p + (len > 0 ? len : 1);
		}
		p += len > 0 ? len : 1;
	}
	puts(plain);
}

void command_json(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	command_json_line(text ? text : "");
	free(text);
}

/* ---- tables ---- */

/* Clean text has one column a character: wide and combining ones are not accounted for. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

#define WRAP_LEAST 40 /* columns that a cell that wraps is worth a place beside the others */
#define WRAP_INDENT 4

struct command_table {
	size_t columns;
	bool wraps, csv;
	size_t *width;
	size_t cells, room;
	char **cell; /* row by row, the head first */
};

void *command_grown(void *old, size_t count, size_t size)
{
	void *new = reallocarray(old, count, size);

	if (!new)
		abort();
	return new;
}

struct command_table *command_table_new(const char *const *columns, size_t count)
{
	struct command_table *table = command_grown(NULL, 1, sizeof *table);

	*table = (struct command_table){ .columns = count };
	table->width = command_grown(NULL, count, sizeof *table->width);
	memset(table->width, 0, count * sizeof *table->width);
	command_table_row(table, columns);
	return table;
}

void command_table_row(struct command_table *table, const char *const *cells)
{
	if (table->csv) {
		command_csv(cells, table->columns);
		return;
	}
	if (table->cells + table->columns > table->room) {
		table->room = (table->cells + table->columns) * 2;
		table->cell = command_grown(table->cell, table->room, sizeof *table->cell);
	}
	for (size_t i = 0; i < table->columns; i++) {
		char *cell = command_safe_text(cells[i] ? cells[i] : "");
		size_t width = text_width(cell);
		if (width > table->width[i])
			table->width[i] = width;
		table->cell[table->cells++] = cell;
	}
}

struct command_table *command_rows_new(
        bool csv, const char *const *keys, const char *const *heads, size_t count)
{
	if (!csv)
		return command_table_new(heads, count);
	struct command_table *table = command_grown(NULL, 1, sizeof *table);
	*table = (struct command_table){ .columns = count, .csv = true };
	command_table_row(table, keys);
	return table;
}

void command_table_wraps(struct command_table *table)
{
	table->wraps = true;
}

/* SIZE_MAX where nobody's screen ends. */
static size_t screen_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
		return SIZE_MAX;
	return size.ws_col;
}

/* Prints at most width columns of text; what is cut ends in an ellipsis. Returns the columns printed. */
static size_t print_cut(const char *text, size_t width)
{
	size_t len = text_width(text), printed = 0;

	if (len <= width) {
		fputs(text, stdout);
		return len;
	}
	for (; *text != '\0'; text++) {
		if ((*text & 0xc0) != 0x80 && ++printed >= width)
			break;
		putchar(*text);
	}
	fputs("…", stdout);
	return width;
}

/* The first `count` cells, each but the last of `padded` filled up to its column. */
static void cells_print(
        const struct command_table *table, char *const *cells, size_t count, size_t padded, size_t screen)
{
	size_t column = 0;

	for (size_t i = 0; i < count && column < screen; i++) {
		size_t printed = print_cut(cells[i], screen - column);
		column += printed;
		for (; i + 1 < padded && printed < table->width[i] + 2 && column < screen;
		        printed++, column++)
			putchar(' ');
	}
}

static void row_print(const struct command_table *table, char *const *cells, size_t screen)
{
	size_t last = table->columns;

	while (last > 0 && cells[last - 1][0] == '\0')
		last--;
	cells_print(table, cells, last, last, screen);
	putchar('\n');
}

/* Bytes of the text that are a line of at most so many columns: to a space, or where there is none, all. */
static size_t line_len(const char *text, size_t width)
{
	size_t len = 0, columns = 0, space = 0;

	for (; text[len] != '\0'; len++) {
		if (text[len] == ' ')
			space = len;
		if ((text[len] & 0xc0) != 0x80 && ++columns > width)
			return space > 0 ? space : len;
	}
	return len;
}

static void wrapped_print(const char *text, size_t indent, size_t width)
{
	for (bool first = true; *text != '\0'; first = false) {
		size_t len = line_len(text, width);
		printf("%*s%.*s\n", first ? 0 : (int)indent, "", (int)len, text);
		text += len;
		text += *text == ' ';
	}
}

/* The last cell goes on below itself, or where too little room is left for that, below the row. */
static void row_print_wrapped(const struct command_table *table, char *const *cells, size_t screen)
{
	size_t start = 0, last = table->columns - 1;
	bool alone = true;

	for (size_t i = 0; i < last; i++) {
		start += table->width[i] + 2;
		alone = alone && cells[i][0] == '\0';
	}
	if (cells[last][0] == '\0' || start + text_width(cells[last]) <= screen) {
		row_print(table, cells, screen);
	} else if (start + WRAP_LEAST <= screen) {
		cells_print(table, cells, last, table->columns, screen);
		wrapped_print(cells[last], start, screen - start);
	} else {
		if (!alone) {
			cells_print(table, cells, last, last, screen);
			putchar('\n');
		}
		printf("%*s", WRAP_INDENT, "");
		wrapped_print(cells[last], WRAP_INDENT, screen > WRAP_INDENT ? screen - WRAP_INDENT : 1);
	}
}

void command_table_print(struct command_table *table)
{
	size_t screen = screen_width();

	for (size_t at = 0; at < table->cells; at += table->columns) {
		if (table->wraps && at > 0)
			row_print_wrapped(table, table->cell + at, screen);
		else
			row_print(table, table->cell + at, screen);
	}
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table->width);
	free(table);
}

/* ---- CSV ---- */

static void csv_cell(const char *text)
{
	char *clean = text_clean(text, true);
	/* A spreadsheet runs a cell that begins so; the apostrophe makes it text. */
	bool formula = clean[0] != '\0' && strchr("=+-@\t\r", clean[0]);
	bool quoted = strpbrk(clean, ",\"\r\n") != NULL;

	if (quoted)
		putchar('"');
	if (formula)
		putchar('\'');
	for (const char *p = clean; *p != '\0'; p++) {
		if (*p == '"')
			putchar('"');
		putchar(*p);
	}
	if (quoted)
		putchar('"');
	free(clean);
}

void command_csv(const char *const *cells, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			putchar(',');
		csv_cell(cells[i] ? cells[i] : "");
	}
	fputs("\r\n", stdout);
}

/* Texts of a list, or the names of its objects, parted by spaces. */
static char *joined_text(const json_t *list)
{
	char *text = NULL;
	size_t len, i;
	json_t *item;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort();
	json_array_foreach(list, i, item)
	{
		const char *word =
		        json_string_value(json_is_object(item) ? json_object_get(item, "name") : item);
		fprintf(out, "%s%s", i > 0 ? " " : "", word ? word : "");
	}
	if (fclose(out) != 0)
		abort();
	return text;
}

/* malloc()ed; NULL for null. */
static char *cell_text(const json_t *value)
{
	if (!value || json_is_null(value))
		return NULL;
	if (json_is_array(value))
		return joined_text(value);
	char *text = json_is_string(value) ? strdup(json_string_value(value))
	                                   : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		abort();
	return text;
}

void command_csv_object(const json_t *object, const char *const *keys, size_t count)
{
	char **cells = command_grown(NULL, count, sizeof *cells);

	for (size_t i = 0; i < count; i++)
		cells[i] = cell_text(json_object_get(object, keys[i]));
	command_csv((const char *const *)cells, count);
	for (size_t i = 0; i < count; i++)
		free(cells[i]);
	free(cells);
}
