/* Files that the configuration names and that are read with it, anew at each reload. */
#include "config_kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config_value.h"

#define NETWORKS_MAX 500000
#define LINE_MAX_LEN 512

/* What a file holds, while it is read. */
struct network_lines {
	struct config_network *networks;
	size_t count, room;
	unsigned line;
};

static int network_keep(struct network_lines *lines, const struct config_network *network)
{
	if (lines->count == NETWORKS_MAX)
		return -E2BIG;
	if (lines->count == lines->room) {
		lines->room = lines->room == 0 ? 256 : lines->room * 2;
		void *grown = realloc(lines->networks, lines->room * sizeof *lines->networks);
		if (grown == NULL)
			return -ENOMEM;
		lines->networks = grown;
	}
	lines->networks[lines->count++] = *network;
	return 0;
}

/* A network or an address, and whatever stands behind a blank, '#' or ';'. Returns 0 or negative errno. */
static int network_line(struct network_lines *lines, char *text)
{
	struct config_network network;
	size_t begin = strspn(text, " \t\r\n\xef\xbb\xbf");
	char *word = text + begin;

	word[strcspn(word, " \t\r\n#;,")] = '\0';
	if (word[0] == '\0')
		return 0;
	int ret = config_network_read(&network, word);
	return ret < 0 ? ret : network_keep(lines, &network);
}

static int network_file(struct network_lines *lines, const char *path)
{
	char text[LINE_MAX_LEN];
	FILE *file = fopen(path, "re");
	int ret = 0;

	if (file == NULL)
		return -errno;
	while (ret == 0 && fgets(text, sizeof text, file) != NULL) {
		lines->line++;
		ret = network_line(lines, text);
	}
	if (ret == 0 && ferror(file))
		ret = -EIO;
	fclose(file);
	return ret;
}

static void network_file_wrong(
        struct config_reader *reader, const struct config_node *node, int error, unsigned line)
{
	if (error == -EINVAL || error == -ERANGE)
		config_wrong(reader, node,
		        "a file with a network such as 10.20.0.0/16 a line, which line %u is not", line);
	else if (error == -E2BIG)
		config_wrong(reader, node, "a file of at most %d networks", NETWORKS_MAX);
	else
		config_wrong(reader, node, "a readable file: %s", strerror(-error));
}

READ(network_file)
{
	struct config_network_file *file = at;
	struct network_lines lines = { 0 };

	if (node->text[0] != '/') {
		config_wrong(reader, node, "an absolute path such as /etc/usher/drop.txt");
		return;
	}
	/* A child that is passed the configuration as text may not open the file, and needs none of it. */
	int ret = reader->from_file ? network_file(&lines, node->text) : 0;
	if (ret < 0) {
		network_file_wrong(reader, node, ret, lines.line);
	} else {
		config_keep_text(reader, node->text, &file->path);
		file->networks = config_reader_alloc(reader, (lines.count + 1) * sizeof *file->networks);
		if (file->networks != NULL && lines.count > 0)
			memcpy(file->networks, lines.networks, lines.count * sizeof *file->networks);
		file->count = file->networks != NULL ? lines.count : 0;
	}
	free(lines.networks);
}

PRINT(network_file)
{
	config_print_scalar(printer->to, ((const struct config_network_file *)at)->path);
}

KIND(network_file, .example = "/etc/usher/drop.txt");
