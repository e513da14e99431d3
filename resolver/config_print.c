/* A configuration as YAML that reads back to the same: the other walk along the option table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_option.h"

#define FLOW_MAX 8 /* items on one line */

static void print_fields(struct config_printer *printer, const struct config_option *options,
        const char *base, unsigned indent);
static void print_option(struct config_printer *printer, const struct config_option *option, const char *base,
        unsigned indent);

void config_print_scalar(FILE *to, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%-";
	static const char *const taken[] = { "true", "false", "yes", "no", "on", "off", "null", NULL };
	bool quote =
	        text[0] == '\0' || strspn(text, plain) != strlen(text) || strchr("@%-.", text[0]) != NULL;

	for (unsigned i = 0; taken[i] != NULL && !quote; i++)
		quote = strcmp(text, taken[i]) == 0;
	if (!quote) {
		fputs(text, to);
		return;
	}
	fputc('"', to);
	for (const char *at = text; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\')
			fputc('\\', to);
		if (*at == '\t')
			fputs("\\t", to);
		else
			fputc(*at, to);
	}
	fputc('"', to);
}

static void print_indent(FILE *to, unsigned indent)
{
	fprintf(to, "%*s", (int)indent, "");
}

static const char *items_of(const struct config_option *option, const char *base, size_t *count)
{
	*count = *(const size_t *)(base + option->count_at);
	return *(const char *const *)(base + option->at);
}

/* What stands behind "key:", with the end of the line. */
static void print_list(
        struct config_printer *printer, const struct config_option *option, const char *base, unsigned indent)
{
	size_t count;
	const char *items = items_of(option, base, &count);

	if (count > FLOW_MAX) {
		for (size_t i = 0; i < count; i++) {
			fputc('\n', printer->to);
			print_indent(printer->to, indent + 2);
			fputs("- ", printer->to);
			option->kind->print(printer, option, items + i * option->size);
		}
	} else {
		fputs(" [", printer->to);
		for (size_t i = 0; i < count; i++) {
			fputs(i > 0 ? ", " : "", printer->to);
			option->kind->print(printer, option, items + i * option->size);
		}
		fputc(']', printer->to);
	}
	fputc('\n', printer->to);
}

static void print_items(
        struct config_printer *printer, const struct config_option *option, const char *base, unsigned indent)
{
	size_t count;
	const char *items = items_of(option, base, &count);

	fputs(count == 0 ? " []\n" : "\n", printer->to);
	for (size_t i = 0; i < count; i++) {
		print_indent(printer->to, indent + 2);
		fputs("- ", printer->to);
		print_option(printer, option->fields, items + i * option->size, indent + 4);
		print_fields(printer, option->fields + 1, items + i * option->size, indent + 4);
	}
}

static void print_named(
        struct config_printer *printer, const struct config_option *option, const char *base, unsigned indent)
{
	size_t count;
	const char *items = items_of(option, base, &count);
	const struct config_option *key = option->fields, *value = option->fields + 1;

	fputs(count == 0 ? " {}\n" : "\n", printer->to);
	for (size_t i = 0; i < count; i++) {
		const char *item = items + i * option->size;
		print_indent(printer->to, indent + 2);
		key->kind->print(printer, key, item + key->at);
		fputc(':', printer->to);
		if (value->key[0] != VALUE_ITSELF[0]) {
			fputc('\n', printer->to);
			print_fields(printer, value, item, indent + 4);
		} else if (value->shape == SHAPE_LIST) {
			print_list(printer, value, item, indent + 2);
		} else {
			fputc(' ', printer->to);
			value->kind->print(printer, value, item + value->at);
			fputc('\n', printer->to);
		}
	}
}

/* indent is that of the key, which is already there. */
static void print_option(
        struct config_printer *printer, const struct config_option *option, const char *base, unsigned indent)
{
	fprintf(printer->to, "%s:", option->key);
	switch (option->shape) {
	case SHAPE_ONE:
		fputc(' ', printer->to);
		option->kind->print(printer, option, base + option->at);
		fputc('\n', printer->to);
		return;
	case SHAPE_LIST:
		print_list(printer, option, base, indent);
		return;
	case SHAPE_ITEMS:
		print_items(printer, option, base, indent);
		return;
	case SHAPE_NAMED:
		print_named(printer, option, base, indent);
		return;
	case SHAPE_SECTION:
		fputc('\n', printer->to);
		print_fields(printer, option->fields, base, indent + 2);
		return;
	case SHAPE_INCLUDE:
		return;
	}
}

static void print_fields(struct config_printer *printer, const struct config_option *options,
        const char *base, unsigned indent)
{
	for (const struct config_option *option = options; option->key != NULL; option++) {
		print_indent(printer->to, indent);
		print_option(printer, option, base, indent);
	}
}

/* A user that no file names may not exist; one that is named must. So it must not become named by being
 * printed. */
static bool is_implied(const struct config *config, const struct config_option *option)
{
	return (strcmp(option->key, "user") == 0 && !config->user_given) ||
	       (strcmp(option->key, "recursor-user") == 0 && !config->recursor_user_given);
}

void config_print(const struct config *config, FILE *to)
{
	struct config_printer printer = { config, to };

	for (const struct config_option *option = config_options; option->key != NULL; option++) {
		if (option->shape == SHAPE_INCLUDE)
			continue;
		fprintf(to, "# %s\n%s", option->doc, is_implied(config, option) ? "# " : "");
		print_option(&printer, option, (const char *)config, 0);
	}
}

void config_print_recursion(const struct config *config, FILE *to)
{
	struct config_printer printer = { config, to };

	for (const struct config_option *option = config_options; option->key != NULL; option++)
		if (option->recursor)
			print_option(&printer, option, (const char *)config, 0);
}

char *config_text(const struct config *config, void (*print)(const struct config *, FILE *), size_t *len)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, len);

	if (to == NULL)
		return NULL;
	print(config, to);
	fclose(to);
	return text;
}
